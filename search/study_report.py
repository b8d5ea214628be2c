"""What a study has found so far, as values, as JSON and as tables: `python -m search.report STUDY [--json]`."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console

from search.hardware_estimates import study_target
from search.objectives import (
    DEFAULT_OBJECTIVES,
    Constraint,
    Objective,
    complete_references,
    find_front,
    measure_hypervolume,
    study_constraints,
    study_objectives,
)
from search.report_tables import print_tables
from search.study import StudyError, completed_trials, load_hardware, open_optuna_storage
from spaces.metrics import HARDWARE_METRICS, Source, needs_hardware
from spaces.study_config import ConfigError, StudyConfig, parse_study_config
from storage.builds import load_builds
from storage.command_options import add_storage_option
from storage.database import Database, DatabaseError, open_existing_database
from storage.records import Build, HardwareEstimate
from storage.studies import list_studies, load_study_record

CSV_COLUMNS = (
    "trial",
    "accuracy",
    "inference_cost",
    "bit_ops",
    "weight_bits",
    "parameters",
    "epochs",
    "architecture_id",
)
RESOURCE_KEYS = (*(metric.field_name for metric in HARDWARE_METRICS if metric.source is Source.RESOURCES), "uram")
SPEED_KEYS = tuple(metric.field_name for metric in HARDWARE_METRICS if metric.source is Source.SPEED)


@dataclass(frozen=True)
class TrialCounts:
    """Trials by state."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def total(self) -> int:
        """All trials."""
        return self.complete + self.pruned + self.failed + self.running + self.waiting


@dataclass(frozen=True)
class TrialReport:
    """One complete trial: the values of its last stage."""

    trial_number: int
    accuracy: float
    inference_cost: float
    bit_ops: float
    weight_bits: float
    parameters: int
    epochs: int
    architecture_id: str
    design_json: str
    hardware: HardwareEstimate | None = None
    """None where the study asks for no hardware."""
    is_feasible: bool = True
    """Whether all constraints of the study hold."""


@dataclass(frozen=True)
class StudyReport:
    """A study at one moment."""

    study_name: str
    threshold: float
    """Accuracy that a network must reach to be of use."""
    counts: TrialCounts
    trials: tuple[TrialReport, ...]
    """All complete trials, in the order they were asked."""
    front: tuple[TrialReport, ...]
    """The feasible trials that no other one beats, by the second objective, its best value first."""
    hypervolume: float
    builds: tuple[Build, ...]
    objectives: tuple[Objective, ...] = DEFAULT_OBJECTIVES
    """Accuracy is the first."""
    constraints: tuple[Constraint, ...] = ()
    least_fps: float = 0.0
    """Frames/s: the build of a network that FINN folds to fewer fails."""

    @property
    def asks_for_hardware(self) -> bool:
        """Whether each trial has FINN's estimate."""
        return needs_hardware(goal.metric for goals in (self.objectives, self.constraints) for goal in goals)

    @property
    def best_feasible(self) -> TrialReport | None:
        """The feasible trial that is best in the second objective and reaches the threshold."""
        return next((trial for trial in self.front if trial.accuracy >= self.threshold), None)


def load_study_report(database: Database, study_name: str) -> StudyReport:
    """Reads the study. Raises StudyError where the database has none of this name, or has no trials of it."""
    record = load_study_record(database, study_name)
    if record is None:
        known = ", ".join(list_studies(database)) or "none"
        raise StudyError(f"study is {study_name}; expected one of those in the database: {known}")
    study = _load_study(database, study_name)
    config = parse_study_config(record.text, f"study {study_name}")
    return make_study_report(study, config, load_builds(database, study_name))


def _load_study(database: Database, study_name: str) -> optuna.Study:
    try:
        return optuna.load_study(study_name=study_name, storage=open_optuna_storage(database))
    except KeyError:
        raise StudyError(
            f"study {study_name} has no trials: its run is just starting, or it was deleted in Optuna dashboard; "
            "expected a study that is there: search.run with its study file starts it anew"
        ) from None


def make_study_report(study: optuna.Study, config: StudyConfig, builds: Sequence[Build]) -> StudyReport:
    """The report of a study that is open already."""
    constraints = study_constraints(config)
    trials = tuple(_trial_report(trial, constraints) for trial in completed_trials(study))
    feasible = [trial for trial in trials if trial.is_feasible]
    objectives = complete_references(study_objectives(config), trials)
    return StudyReport(
        study_name=study.study_name,
        threshold=config.objectives.accuracy.threshold,
        counts=count_trials(study),
        trials=trials,
        front=tuple(feasible[index] for index in find_front(objectives, feasible)),
        hypervolume=measure_hypervolume(objectives, feasible),
        builds=tuple(builds),
        objectives=objectives,
        constraints=constraints,
        least_fps=study_target(config).least_fps,
    )


def count_trials(study: optuna.Study) -> TrialCounts:
    """How many trials the study has in each state."""
    states = Counter(trial.state.name for trial in study.get_trials(deepcopy=False))
    return TrialCounts(states["COMPLETE"], states["PRUNED"], states["FAIL"], states["RUNNING"], states["WAITING"])


def report_as_json(report: StudyReport) -> dict[str, object]:
    """The report for programs; its keys are kept stable and described in the README."""
    return {
        "study": report.study_name,
        "threshold": report.threshold,
        "objectives": {objective.name: objective.metric.direction for objective in report.objectives},
        "constraints": {constraint.name: _constraint_as_json(constraint) for constraint in report.constraints},
        "hypervolume": report.hypervolume,
        "trials": vars(report.counts),
        "front": [_trial_as_json(trial) for trial in report.front],
        "builds": [_build_as_json(build) for build in report.builds],
    }


def front_as_csv(report: StudyReport) -> str:
    """The front as comma-separated values with a header line."""
    lines = io.StringIO()
    columns = (*CSV_COLUMNS, *RESOURCE_KEYS, *SPEED_KEYS, "is_feasible") if report.asks_for_hardware else CSV_COLUMNS
    writer = csv.DictWriter(lines, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_trial_as_json(trial) for trial in report.front)
    return lines.getvalue()


def _trial_report(trial: FrozenTrial, constraints: Sequence[Constraint]) -> TrialReport:
    attributes = trial.user_attrs
    report = TrialReport(
        trial_number=trial.number,
        accuracy=trial.values[0],
        inference_cost=attributes["stage_inference_costs"][-1],
        bit_ops=attributes["bit_ops"],
        weight_bits=attributes["weight_bits"],
        parameters=attributes["parameters"],
        epochs=attributes["epochs"],
        architecture_id=attributes["architecture_id"],
        design_json=attributes["design"],
        hardware=load_hardware(trial),
    )
    return replace(report, is_feasible=all(bound.holds(report) for bound in constraints))


def _constraint_as_json(constraint: Constraint) -> dict[str, float]:
    return {"at_most" if constraint.at_least is None else "at_least": constraint.bound}


def _trial_as_json(trial: TrialReport) -> dict[str, object]:
    values: dict[str, object] = {
        "trial": trial.trial_number,
        "accuracy": trial.accuracy,
        "inference_cost": trial.inference_cost,
        "bit_ops": trial.bit_ops,
        "weight_bits": trial.weight_bits,
        "parameters": trial.parameters,
        "epochs": trial.epochs,
        "architecture_id": trial.architecture_id,
    }
    if trial.hardware is not None:
        values |= {name: getattr(trial.hardware, name) for name in (*RESOURCE_KEYS, *SPEED_KEYS)}
        values["is_feasible"] = trial.is_feasible
    return values


def _build_as_json(build: Build) -> dict[str, object]:
    report = build.report
    return {
        "trial": build.trial_number,
        "state": build.state.value,
        "level": build.level and build.level.value,
        "level_note": build.level_note,
        "board": build.target.board,
        "clk_period_ns": build.target.clk_period_ns,
        "target_fps": build.target.target_fps,
        "is_below_threshold": build.is_below_threshold,
        "test_accuracy": build.test_accuracy,
        "message": build.message,
        "connected": report and report.connected and vars(report.connected),
        "lut": report and report.lut,
        "bram_18k": report and report.bram_18k,
        "uram": report and report.uram,
        "dsp": report and report.dsp,
        "throughput_fps": report and report.throughput_fps,
        "latency_us": report and report.latency_us,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report; exit code 2 where the database or the study cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m search.report", description="What a study has found so far.")
    parser.add_argument("study", help="name of the study")
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    add_storage_option(parser)
    args = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        report = load_study_report(open_existing_database(args.storage), args.study)
    except (ConfigError, DatabaseError, StudyError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(report_as_json(report)))
    else:
        print_report(report)
    return 0


def print_report(report: StudyReport) -> None:
    """Counts, front and builds on the terminal."""
    console, counts = Console(), report.counts
    console.print(
        f"{report.study_name}: {counts.complete} trials complete, {counts.running} running, "
        f"{counts.pruned} could not be built, {counts.failed} failed"
    )
    print_tables(report, console)


if __name__ == "__main__":
    sys.exit(main())
