"""The Optuna study: opened or resumed, and each trial told exactly once what became of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from search.objectives import study_constraints, study_objectives
from spaces.architecture import ArchitectureError
from spaces.search_space import Design, SearchSpace
from spaces.study_config import StudyConfig, StudyPart
from storage.database import Database, configure_sqlite, creation_lock
from storage.hardware_reports import HardwareEstimate
from storage.records import Evaluation
from storage.stored_json import from_json
from storage.studies import forget_study, load_study_record, record_study, update_study_text

DATABASE_TIMEOUT_S = 60


class StudyError(Exception):
    """The study in the database is not the one that was asked for."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has its design and is not told yet."""

    trial: Trial
    design: Design

    @property
    def number(self) -> int:
        """The trial's number in its study, from 0."""
        return self.trial.number


@dataclass(frozen=True)
class Result:
    """What was measured of one trial."""

    evaluations: Sequence[Evaluation]
    """One for each stage, in order."""
    hardware: HardwareEstimate | None = None
    """None where the study asks for no hardware."""
    copied_from: int | None = None
    """An earlier trial of the same design, whose evaluations these are."""

    @property
    def accuracy(self) -> float:
        """After the last stage, of validation frames."""
        return self.evaluations[-1].accuracy

    @property
    def inference_cost(self) -> float:
        """After the last stage."""
        return self.evaluations[-1].cost.inference_cost


def open_study(config: StudyConfig, database: Database, provenance: Mapping[str, str]) -> optuna.Study:
    """Creates the study, or opens it to go on where it stopped.

    A study that was deleted in Optuna dashboard begins from nothing. Only for the holder of the study's lease, and
    after check_is_same_study.
    """
    storage = open_optuna_storage(database)
    if config.study.name not in optuna.study.get_all_study_names(storage):
        forget_study(database, config.study.name)
    record_study(database, config.study.name, config.text, config.fingerprint, provenance)
    update_study_text(database, config.study.name, config.text)
    objectives = study_objectives(config)
    study = optuna.create_study(
        study_name=config.study.name,
        storage=storage,
        directions=[objective.metric.direction for objective in objectives],
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # the names are for the dashboard only
        study.set_metric_names([objective.name for objective in objectives])
    study.sampler = _seeded_sampler(study, config.study)
    return study


def check_is_same_study(config: StudyConfig, database: Database, data: Mapping[str, str]) -> None:
    """Raises StudyError where the database holds a study of this name that would give other results.

    `data` describes the data set as it will be kept in the study's provenance.
    """
    record = load_study_record(database, config.study.name)
    if record is None:
        return
    if record.fingerprint != config.fingerprint:
        raise StudyError(
            f"study.name is {config.study.name}; this study was started on {record.created_at:%Y-%m-%d} with another "
            "space, data set, training, pruning, objectives, constraints, FPGA, seed, sampler or number of epochs; "
            "expected a new name, or those settings as they were"
        )
    before = record.provenance
    if any(before.get(key) != data[key] for key in ("data_set", "data_frames")):
        raise StudyError(
            f"the data set is {_name_data(data)}; "
            f"expected {_name_data(before)}, on which study {config.study.name} was started"
        )


def open_optuna_storage(database: Database) -> BaseStorage:
    """Optuna's tables in our database, set up like ours. Optuna creates them where they are missing."""
    is_sqlite = database.url.startswith("sqlite")
    arguments = {"connect_args": {"timeout": DATABASE_TIMEOUT_S}} if is_sqlite else {}
    with creation_lock(database.engine):
        storage = RDBStorage(database.url, engine_kwargs=arguments)
    if is_sqlite:
        configure_sqlite(storage.engine)
    return optuna.storages.get_storage(storage)


def ask_trial(study: optuna.Study, search_space: SearchSpace) -> RunningTrial | None:
    """The next trial with its design; None where that cannot be built, which the trial is told."""
    return _draw_design(study, study.ask(), search_space)


def adopt_trials(study: optuna.Study, search_space: SearchSpace) -> list[RunningTrial]:
    """The trials that a driver left behind when it ended, ready to be evaluated under the same number.

    One that was still being asked keeps the values it has and is asked for the rest. Only for the holder of the
    study's lease.
    """
    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    adopted = [_adopt_trial(study, frozen, search_space) for frozen in left]
    return [trial for trial in adopted if trial is not None]


def _adopt_trial(study: optuna.Study, frozen: FrozenTrial, search_space: SearchSpace) -> RunningTrial | None:
    trial = Trial(study, frozen._trial_id)
    if "design" not in frozen.user_attrs:
        return _draw_design(study, trial, search_space)
    return RunningTrial(trial, Design.model_validate_json(frozen.user_attrs["design"]))


def _draw_design(study: optuna.Study, trial: Trial, search_space: SearchSpace) -> RunningTrial | None:
    try:
        design = search_space.suggest(trial)
    except ArchitectureError as error:
        tell_unbuildable(study, trial, str(error))
        return None
    trial.set_user_attr("architecture_id", design.architecture_id)
    trial.set_user_attr("design", design.model_dump_json())
    return RunningTrial(trial, design)


def tell_result(study: optuna.Study, trial: Trial, config: StudyConfig, result: Result) -> bool:
    """Tells COMPLETE with the values of the objectives, after all attributes and constraints.

    False where it was finished elsewhere.
    """
    excess = {bound.name: bound.excess(result) for bound in study_constraints(config)}
    if not (_set_attributes(trial, _attributes(result)) and _set_constraints(trial, excess)):
        return False
    values = [objective.metric.read(result) for objective in study_objectives(config)]
    study.tell(trial.number, values=values, skip_if_finished=True)
    return True


def tell_unbuildable(study: optuna.Study, trial: Trial, reason: str) -> bool:
    """Tells PRUNED: the design cannot be built. The sampler learns from it, as it would not from FAIL."""
    if not _set_attributes(trial, {"unbuildable": reason}):
        return False
    study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
    return True


def tell_failure(study: optuna.Study, trial: Trial, kind: str, traceback: str) -> bool:
    """Tells FAIL, with the kind of failure and its traceback."""
    if not _set_attributes(trial, {"failure": kind, "traceback": traceback}):
        return False
    study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    return True


def count_attempt(trial: Trial) -> int:
    """Counts one more start that the infrastructure broke, in the database, and returns how many there were."""
    attempts = int(trial.user_attrs.get("broken_attempts", 0)) + 1
    trial.set_user_attr("broken_attempts", attempts)
    return attempts


def completed_designs(study: optuna.Study) -> dict[Design, int]:
    """Number of the first complete trial of each design."""
    designs: dict[Design, int] = {}
    for trial in completed_trials(study):
        designs.setdefault(Design.model_validate_json(trial.user_attrs["design"]), trial.number)
    return designs


def completed_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials with a result that we told, in the order they were asked."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in trials if "bit_ops" in trial.user_attrs]


def load_hardware(trial: FrozenTrial) -> HardwareEstimate | None:
    """The estimate that a complete trial was told with."""
    names = [field.name for field in fields(HardwareEstimate)]
    if not set(names) <= trial.user_attrs.keys():
        return None
    return from_json(HardwareEstimate, {name: trial.user_attrs[name] for name in names})


def _name_data(data: Mapping[str, str]) -> str:
    return f"{data.get('data_file')} ({data.get('data_frames')} frames, hash {data.get('data_set')})"


def _attributes(result: Result) -> dict[str, object]:
    evaluations, last = result.evaluations, result.evaluations[-1]
    attributes: dict[str, object] = {
        "bit_ops": last.cost.bit_ops,
        "weight_bits": last.cost.weight_bits,
        "parameters": last.cost.parameters,
        "epochs": last.epochs,
        "training_seconds": sum(e.training_seconds for e in evaluations),
        "stage_accuracies": [e.accuracy for e in evaluations],
        "stage_inference_costs": [e.cost.inference_cost for e in evaluations],
    }
    if result.copied_from is not None:
        attributes["copied_from"] = result.copied_from
    if result.hardware is not None:
        attributes |= asdict(result.hardware)
    return attributes


def _set_attributes(trial: Trial, attributes: Mapping[str, object]) -> bool:
    try:
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
    except UpdateFinishedTrialError:  # somebody finished it in Optuna dashboard
        return False
    return True


def _set_constraints(trial: Trial, excess: Mapping[str, float]) -> bool:
    """Feasible at 0 and below. One that is there, from a run that was killed before it told the trial, is the same."""
    try:
        for name in excess.keys() - trial.constraints.keys():
            trial.set_constraint(name, excess[name])
    except UpdateFinishedTrialError:
        return False
    return True


def _seeded_sampler(study: optuna.Study, part: StudyPart) -> BaseSampler:
    """Another seed for each run, or a resumed study would be asked the suggestions it had before."""
    n_trials = len(study.get_trials(deepcopy=False))
    seed = (part.seed + n_trials) % 2**32
    study.set_user_attr(f"sampler_seed_from_trial_{n_trials}", seed)
    match part.sampler:
        case "tpe":
            return TPESampler(seed=seed)
        case "gp":
            return GPSampler(seed=seed)
        case "nsga2":
            return NSGAIISampler(seed=seed)
        case "random":
            return RandomSampler(seed=seed)
