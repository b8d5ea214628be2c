"""Ours against others at equal training time: `python -m search.live_benchmark samplers` or `staged`.

The others are Optuna's samplers, or a staged campaign. Each way has studies of its own, run by `search.run` one after
another, with the same space, data and minutes, one trial at a time. What counts is the hypervolume of the points that
it found. A trial of Optuna's samplers is pruned to one target, and gives one point, as it does there. Ours is pruned to
one target after the other, and gives a point at each. So that it is seen what is due to that alone, TPE is also run
with such trials, and a campaign with the joint search's training. Finished studies are not run again. One that was
stopped begins anew.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from search.optuna_storage import open_optuna_storage
from search.pareto import hypervolume
from search.reports.study_report import StudyReport, load_study_report
from spaces.study_config import load_study_config
from storage.artifacts import write_text_atomically
from storage.child_processes import module_environment
from storage.command_options import parse_count
from storage.commands import make_parser, run_command
from storage.database import Database, open_existing_database

SPACES = Path(__file__).parents[2] / "spaces"

STUDY_NAME = "live"

CORNER = (1 / 24, 0.1)
"""Accuracy of a guess, and an inference cost above that of the networks that count."""

LADDER = (0.02, 0.0118, 0.0083, 0.0059)
"""Cost targets of our trials; a peer's trial draws one between the last and the first of them."""

EPOCHS, STAGE_EPOCHS = 4, 2

JOINT_LADDER = (0.0165, 0.0083, 0.0045, 0.0026)
"""Cost targets against the campaign, whose last rounds of pruning reach the lowest of them."""

OURS, WITHOUT_PARENTS = "ours", "ours, without inheritance"

LADDER_TPE, TPE, NSGA = "Optuna TPE, our targets and points", "Optuna TPE", "Optuna NSGA-II"

STAGED, STAGED_ANEW, JOINT = "staged campaign", "staged campaign, new training and pruning", "joint search"

ROUNDS = ([0.012, 0.02], [0.006, 0.01], [0.0026, 0.005])
"""Ranges of the cost targets in the campaign's rounds of pruning, where these are of the new kind."""

OUR_PARTS: Mapping[str, object] = {
    "study": {"sampler": "tpe", "candidates": 300, "inherits": True},
    "early_stopping": {},
}

SAMPLERS: Mapping[str, Mapping[str, object]] = {
    OURS: OUR_PARTS,
    WITHOUT_PARENTS: {"study": {"sampler": "tpe", "candidates": 300}, "early_stopping": {}},
    LADDER_TPE: {"study": {"sampler": "tpe"}},
    TPE: {"study": {"sampler": "tpe"}},
    NSGA: {"study": {"sampler": "nsga2"}},
}

WAYS: Mapping[str, Sequence[str]] = {"samplers": list(SAMPLERS), "staged": [STAGED, STAGED_ANEW, JOINT]}
"""Of each comparison, in the order in which they are run."""

GIVE_ONE_POINT = (TPE, NSGA)


class BenchmarkError(Exception):
    """A study could not be run; the text has its output."""


@dataclass(frozen=True)
class Run:
    """One study."""

    way: str
    seed: int
    hypervolume: float
    """In accuracy times orders of magnitude of cost; higher is better."""
    n_trials: int
    n_points: int
    """That count: those of all stages, or of the last ones."""
    minutes: float
    """From the start of its first trial to the end of its last one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table. Exit code 1 where a study failed."""
    args = _parse_arguments(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    runs: list[Run] = []
    try:
        for seed in range(1, args.seeds + 1):
            minutes: float | None = None if args.against == "staged" else args.minutes
            for way in WAYS[args.against]:
                runs.append(run_study(way, seed, minutes, args.frames_per_cell, args.folder.resolve()))
                if way == STAGED_ANEW:
                    minutes = max(run.minutes for run in runs if run.seed == seed)
                print(f"{way}, seed {seed}: {runs[-1].hypervolume:.4f}", file=sys.stderr, flush=True)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    print(format_runs(runs))
    return 0


def run_study(way: str, seed: int, minutes: float | None, frames_per_cell: int, folder: Path) -> Run:
    """Runs a study for so many minutes, or to its end, unless that is done already. Raises BenchmarkError."""
    own = folder / f"{way.replace(' ', '-').replace(',', '')}-{seed}"
    text = yaml.safe_dump(make_study(way, seed, frames_per_cell))
    done, what = own / "done.json", {"study": text, "minutes": minutes}
    known = json.loads(done.read_text()) if done.exists() else {}
    if {key: known.get(key) for key in what} != what:
        shutil.rmtree(own, ignore_errors=True)  # of a run that was stopped: it would have more minutes than the others
        own.mkdir(parents=True)
        (own / "study.yaml").write_text(text)
        options = ["--local", "--no-build", "--no-dashboard"]
        options += [] if minutes is None else ["--time-limit", f"{minutes * 60:.0f}s"]
        command = [sys.executable, "-m", "search.run", "study.yaml", *options]
        ended = subprocess.run(command, cwd=own, env=module_environment(), capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise BenchmarkError(f"{way}, seed {seed}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}")
        write_text_atomically(done, json.dumps(what))
    database = open_existing_database(f"sqlite:///{own}/runs/studies.db")
    return measure(way, seed, load_study_report(database, STUDY_NAME), find_minutes(database))


def find_minutes(database: Database, study_name: str = STUDY_NAME) -> float:
    """From the start of a study's first trial to the end of its last one; 0 where none has ended."""
    trials = optuna.load_study(study_name=study_name, storage=open_optuna_storage(database)).get_trials(deepcopy=False)
    starts = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    return (max(ends) - min(starts)).total_seconds() / 60 if ends else 0.0


def make_study(way: str, seed: int, frames_per_cell: int) -> dict[str, object]:
    """The study of a way: a space of ours, and what the way has of its own."""
    study = _load("staged" if way in WAYS["staged"] else "dsc4")
    own = json.loads(json.dumps(SAMPLERS.get(way, OUR_PARTS)))
    stage = {"kind": "cost_aware", "epochs": STAGE_EPOCHS}
    if way in (STAGED, STAGED_ANEW):
        own = {"study": {"sampler": "tpe"}}
        if way == STAGED_ANEW:
            rounds = [
                {"kind": "cost_aware", "epochs": 3, "inference_cost": {"float": one, "log": True}} for one in ROUNDS
            ]
            own |= {"training": _load("dsc4")["training"], "pruning": {"stages": rounds}}
    elif way == JOINT:
        del study["stages"]
        own |= {"training": _load("dsc4")["training"], "budget": {"trials": 1000, "epochs": study["budget"]["epochs"]}}
        own["pruning"] = {"stages": [{**stage, "inference_cost": target} for target in JOINT_LADDER]}
    else:
        one_target = {"float": [LADDER[-1], LADDER[0]], "log": True}
        targets: Sequence[object] = [one_target] if way in GIVE_ONE_POINT else LADDER
        own["pruning"] = {"stages": [{**stage, "inference_cost": target} for target in targets]}
        own["budget"] = {"trials": 1000, "epochs": EPOCHS}
    study |= {**own, "study": {"name": STUDY_NAME, "seed": seed, **own["study"]}, "promotion": {"top": 0}}
    study["dataset"]["twin"]["frames_per_cell"] = frames_per_cell
    return study


def _load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(load_study_config(SPACES / f"{name}.yaml").text)
    return loaded


def measure(way: str, seed: int, report: StudyReport, minutes: float) -> Run:
    """What a study found."""
    points = tuple(trial.last for trial in report.complete_trials) if way in GIVE_ONE_POINT else report.points
    volume = hypervolume(
        [(point.accuracy, math.log10(point.inference_cost)) for point in points if point.inference_cost],
        (CORNER[0], math.log10(CORNER[1])),
        ("maximize", "minimize"),
    )
    return Run(way, seed, volume, report.counts.trained, len(points), minutes)


def format_runs(runs: Sequence[Run]) -> str:
    """A Markdown table: the hypervolume of each seed, their mean, and how many trials were trained."""
    seeds = sorted({run.seed for run in runs})
    lines = [
        f"| way | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | trials | points | minutes |",
        f"|---|{'--:|' * (len(seeds) + 4)}",
    ]
    for way in dict.fromkeys(run.way for run in runs):
        own = sorted((run for run in runs if run.way == way), key=lambda run: run.seed)
        volumes = " | ".join(f"{run.hypervolume:.4f}" for run in own)
        mean = statistics.mean(run.hypervolume for run in own)
        trials, points = (sum(getattr(run, name) for run in own) / len(own) for name in ("n_trials", "n_points"))
        minutes = statistics.mean(run.minutes for run in own)
        lines.append(f"| {way} | {volumes} | {mean:.4f} | {trials:.0f} | {points:.0f} | {minutes:.1f} |")
    return "\n".join(lines)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(
        prog="python -m search.live_benchmark", description="Ours against others at equal training time."
    )
    parser.add_argument("against", nargs="?", choices=list(WAYS), default="samplers", help="default samplers")
    parser.add_argument("--seeds", type=parse_count, default=3, help="default 3")
    parser.add_argument("--minutes", type=float, default=15, help="of each study against samplers; default 15")
    parser.add_argument("--frames-per-cell", type=parse_count, default=48, help="of the twin; default 48")
    parser.add_argument("--folder", type=Path, default=Path("runs/live_benchmark"), help="where the studies lie")
    args = parser.parse_args(arguments)
    if not args.minutes > 0:
        parser.error(f"--minutes is {args.minutes:g}; expected a number above 0")
    return args


if __name__ == "__main__":
    run_command(main)
