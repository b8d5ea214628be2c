"""The Optuna study: opened or resumed, and each of its trials told exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from search.bounded_gp import BoundedGPSampler
from search.measured_trials import MeasuredTrial, list_told_trials, load_measured_trials
from search.objectives import study_constraints, study_objectives
from search.optuna_storage import open_optuna_storage, open_optuna_study
from search.points_study import add_points, forget_points
from search.study_changes import describe_changes
from search.trial_attributes import (
    BROKEN_ATTEMPTS,
    COPIED_FROM,
    DESIGN,
    ESTIMATE_KEY,
    FAILURE,
    MEASURED,
    PARENT,
    ROUNDS,
    STOPPED,
    TRACEBACK,
    UNBUILDABLE,
    is_stopped,
    read_design,
    set_attributes,
)
from spaces.architecture import ArchitectureError
from spaces.search_space import Design, SearchSpace
from spaces.study_config import StudyConfig, StudyPart, read_as_before
from storage.database import Database
from storage.provenance import collect_provenance
from storage.studies import forget_study, load_study_record, record_study, update_study_text
from workers.inference_cost import LEAST_KEPT, find_least_cost


class StudyError(Exception):
    """The study is missing in the database, or is another than was asked for."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has its design but is not told yet."""

    trial: Trial
    design: Design

    @property
    def number(self) -> int:
        """The trial's number in its study, from 0."""
        return self.trial.number


def open_study(config: StudyConfig, database: Database, provenance: Mapping[str, str]) -> optuna.Study:
    """Creates the study, or opens it to resume it.

    A study that was deleted in Optuna dashboard starts anew. Call with the study's lease, after match_study.
    """
    storage = open_optuna_storage(database)
    if config.study.name not in optuna.study.get_all_study_names(storage):
        forget_points(storage, config.study.name)
        forget_study(database, config.study.name)
    record_study(database, config.study.name, config.text, config.fingerprint, provenance)
    update_study_text(database, config.study.name, config.text)
    study = open_optuna_study(storage, config.study.name, study_objectives(config))
    study.sampler = make_sampler(study, config.study)
    add_points(study, config, load_measured_trials(database, study))  # those that a killed run could not add
    return study


def match_study(config: StudyConfig, database: Database, data: Mapping[str, str]) -> StudyConfig:
    """The config with which the stored study of this name goes on; raises StudyError where none gives its results.

    That is the config itself, or for a study of an earlier version the same file as it was read then. `data` describes
    the data set, as describe_dataset does.
    """
    record = load_study_record(database, config.study.name)
    if record is None:
        return config
    readings = [config] if record.fingerprint == config.fingerprint else read_as_before(config)
    same = next((reading for reading in readings if reading.fingerprint == record.fingerprint), None)
    if same is None:
        raise StudyError(
            f"study.name is {config.study.name}; this study was started on {record.created_at:%Y-%m-%d} otherwise: "
            f"{describe_changes(config, record.text)}; expected a new name, or the file as it was"
        )
    before = record.provenance
    if any(before.get(key) != data[key] for key in ("data_set", "data_frames")):
        raise StudyError(
            f"the data set is {_name_data(data)}; "
            f"expected {_name_data(before)}, on which study {config.study.name} was started"
        )
    return same


def list_differences(database: Database, study_name: str) -> list[str]:
    """In what this machine and code differ from those on which the study was started, a line each."""
    record = load_study_record(database, study_name)
    if record is None:
        return []
    here = collect_provenance()
    names = [name for name in here if name in record.provenance and here[name] != record.provenance[name]]
    return [f"{name} is {here[name]} here; the study was started with {record.provenance[name]}" for name in names]


def ask_trial(
    study: optuna.Study,
    search_space: SearchSpace,
    params: Mapping[str, object] | None = None,
    attributes: Mapping[str, object] | None = None,
) -> RunningTrial | None:
    """The next trial with its design, with these values or the sampler's. It keeps the attributes.

    None where the design cannot be built; the trial is then told.
    """
    if params is not None:
        study.enqueue_trial(dict(params), user_attrs=dict(attributes or {}))
    return _draw_design(study, study.ask(), search_space)


def adopt_trials(study: optuna.Study, search_space: SearchSpace) -> list[RunningTrial]:
    """The trials that an earlier run left RUNNING, to be evaluated under the same numbers.

    A trial with only some of its values keeps them and draws the rest. Call with the study's lease.
    """
    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    adopted = [_adopt_trial(study, frozen, search_space) for frozen in left]
    return [trial for trial in adopted if trial is not None]


def _adopt_trial(study: optuna.Study, frozen: FrozenTrial, search_space: SearchSpace) -> RunningTrial | None:
    trial = Trial(study, frozen._trial_id)
    design = read_design(frozen)
    return _draw_design(study, trial, search_space) if design is None else RunningTrial(trial, design)


def _draw_design(study: optuna.Study, trial: Trial, search_space: SearchSpace) -> RunningTrial | None:
    n_stages = trial.user_attrs.get(ROUNDS)
    try:
        design = (search_space if n_stages is None else search_space.shorten(n_stages)).suggest(trial)
    except ArchitectureError as error:
        tell_unbuildable(study, trial, str(error))
        return None
    parent = trial.user_attrs.get(PARENT)
    if parent is not None:
        first = read_design(study.get_trials(deepcopy=False)[parent])
        assert first is not None  # it was measured
        design = make_child(design, first)
    reason = find_unreachable_target(design)
    if reason is not None:
        tell_unbuildable(study, trial, reason)
        return None
    trial.set_user_attr("architecture_id", design.architecture_id)
    trial.set_user_attr(DESIGN, design.model_dump_json())
    return RunningTrial(trial, design)


def make_child(design: Design, parent: Design) -> Design:
    """The design, to begin with the weights that the parent has before it is pruned, and the parent with its own's."""
    return design.model_copy(update={"parent": parent.model_copy(update={"stages": ()})})


def find_unreachable_target(design: Design) -> str | None:
    """Why no pruning reaches one of the design's cost targets, in one line; None where it does."""
    least = find_least_cost(design.architecture)
    for index, stage in enumerate(design.stages):
        target = getattr(stage, "inference_cost", None)
        if target is not None and target < least:
            place = f"pruning.stages[{index}].inference_cost is {target:.3g}"
            return f"{place}; expected at least {least:.3g}, the cost of {LEAST_KEPT} weights in each layer"
    return None


def tell_measured(study: optuna.Study, trial: Trial, config: StudyConfig, measured: MeasuredTrial) -> bool:
    """Tells COMPLETE with the values of the last stage's network, after it wrote all attributes and constraints.

    Then adds the trial's points. False where somebody finished the trial in Optuna dashboard.
    """
    last = measured.last
    excess = {bound.name: bound.excess(last) for bound in study_constraints(config)}
    if not (set_attributes(trial, _describe(measured)) and _set_constraints(trial, excess)):
        return False
    values = [objective.metric.read(last) for objective in study_objectives(config)]
    told = study.tell(trial.number, values=values, skip_if_finished=True)
    if told.state is not TrialState.COMPLETE:
        return False
    add_points(study, config, [measured])
    return True


def tell_unbuildable(study: optuna.Study, trial: Trial, reason: str) -> bool:
    """Tells PRUNED: the design cannot be built. Samplers learn from PRUNED, but not from FAIL."""
    if not set_attributes(trial, {UNBUILDABLE: reason}):
        return False
    study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
    return True


def tell_stopped(
    study: optuna.Study, trial: Trial, config: StudyConfig, reason: str, measured: MeasuredTrial | None
) -> bool:
    """Tells PRUNED: the trial was worse than others half-way. Adds the points of the stages that it finished."""
    if not set_attributes(trial, {STOPPED: reason}):
        return False
    told = study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
    if told.state is TrialState.PRUNED and measured is not None:
        add_points(study, config, [measured])
    return True


def tell_failure(study: optuna.Study, trial: Trial, kind: str, traceback: str) -> bool:
    """Tells FAIL, with the kind of failure and its traceback."""
    if not set_attributes(trial, {FAILURE: kind, TRACEBACK: traceback}):
        return False
    study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    return True


def count_attempt(trial: Trial) -> int:
    """Counts, in the database, an attempt whose machine failed. Returns how many there were."""
    attempts = int(trial.user_attrs.get(BROKEN_ATTEMPTS, 0)) + 1
    trial.set_user_attr(BROKEN_ATTEMPTS, attempts)
    return attempts


def load_params(database: Database, study_name: str) -> dict[int, dict[str, object]]:
    """The values that each trial drew, by its number and their paths in the study file."""
    study = optuna.load_study(study_name=study_name, storage=open_optuna_storage(database))
    return {trial.number: dict(trial.params) for trial in study.get_trials(deepcopy=False)}


def completed_designs(study: optuna.Study) -> dict[Design, int]:
    """Number of the first complete trial of each design."""
    designs: dict[Design, int] = {}
    for trial in list_told_trials(study):
        if (design := read_design(trial)) is not None:
            designs.setdefault(design, trial.number)
    return designs


def stopped_designs(study: optuna.Study) -> dict[Design, int]:
    """Number of the first trial of each design that was stopped early."""
    designs: dict[Design, int] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)):
        if is_stopped(trial) and (design := read_design(trial)) is not None:
            designs.setdefault(design, trial.number)
    return designs


def _name_data(data: Mapping[str, str]) -> str:
    return f"{data.get('data_file')} ({data.get('data_frames')} frames, hash {data.get('data_set')})"


def _describe(trial: MeasuredTrial) -> dict[str, object]:
    """What Optuna dashboard shows of a complete trial, and where its estimate is."""
    attributes: dict[str, object] = {
        MEASURED: trial.last.cost.bit_ops,
        "weight_bits": trial.last.cost.weight_bits,
        "parameters": trial.last.cost.parameters,
        "epochs": trial.last.evaluation.epochs,
        "training_seconds": sum(evaluation.training_seconds for evaluation in trial.evaluations),
        "stage_accuracies": [evaluation.accuracy for evaluation in trial.evaluations],
        "stage_inference_costs": [evaluation.cost.inference_cost for evaluation in trial.evaluations],
    }
    if trial.copied_from is not None:
        attributes[COPIED_FROM] = trial.copied_from
    if trial.last.hardware is not None:
        keys = trial.estimate_keys
        attributes |= {ESTIMATE_KEY: keys[0] if len(set(keys)) == 1 else keys, **asdict(trial.last.hardware)}
    return attributes


def _set_constraints(trial: Trial, excess: Mapping[str, float]) -> bool:
    """Feasible at 0 and below. A constraint that a killed run has already set is equal, and is left."""
    try:
        for name in excess.keys() - trial.constraints.keys():
            trial.set_constraint(name, excess[name])
    except UpdateFinishedTrialError:
        return False
    return True


def make_sampler(study: optuna.Study, part: StudyPart) -> BaseSampler:
    """The study's sampler. Each run has another seed; else a resumed study would repeat its suggestions."""
    n_trials = len(study.get_trials(deepcopy=False))
    seed = (part.seed + n_trials) % 2**32
    study.set_user_attr(f"sampler_seed_from_trial_{n_trials}", seed)
    match part.sampler:
        case "tpe":
            return TPESampler(seed=seed)
        case "gp":
            return BoundedGPSampler(seed)
        case "nsga2":
            return NSGAIISampler(seed=seed)
        case "random" | "grid":  # a grid's values are all given
            return RandomSampler(seed=seed)
