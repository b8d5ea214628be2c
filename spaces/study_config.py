"""All that a study file says: its parts, their limits, and its one reader, which reports all problems at once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, ValidationError, model_validator

from spaces.block_space import has_parallel
from spaces.campaign_stages import CampaignStagePart, find_stage_problems
from spaces.distributions import Choices, Shared
from spaces.goals import ConstraintsPart, ObjectivesPart
from spaces.grid import find_grid_problem
from spaces.known_designs import KNOWN_ARCHITECTURES, Mismatch, find_params
from spaces.metrics import METRICS, needs_hardware
from spaces.papers import PAPER_TABLES
from spaces.problems import InvalidValueError, Problem, format_value, list_problems, one_of
from spaces.search_space import Part, PruningPart, SearchSpace, SpacePart, TrainingPart
from spaces.shared_values import find_conflict
from spaces.yaml_text import YamlError, parse_yaml


class ConfigError(Exception):
    """A study file cannot be used. `problems` has one line for each reason; the message has all."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ValueError("expected 1 to 64 letters, digits, _ . or -, a letter or digit first")
    return name


def _check_path(path: str) -> str:
    if not path.strip():
        raise ValueError("expected the path of a file, or null to use the twin")
    return path


def _check_paper(name: str) -> str:
    if name not in PAPER_TABLES:
        raise ValueError(f"expected {one_of(list(PAPER_TABLES), name)}")
    return name


Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
FramesPerCell = Annotated[int, Field(ge=8, le=4096)]
"""Frames of one modulation at one SNR."""


class StudyPart(Part):
    """The study's name, and how it chooses the next trial."""

    name: Annotated[str, AfterValidator(_check_name)]
    seed: Seed
    sampler: Literal["tpe", "gp", "nsga2", "random", "grid"] = "tpe"
    replicates: Annotated[int, Field(ge=1, le=100)] = 1
    """Of the sampler grid: how often each combination is trained, each time with another seed."""
    candidates: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Of so many draws the most promising one is trained; 0: the sampler's own suggestion is."""
    inherits: bool = False
    """Whether a draw near a trial of the front begins with that trial's weights."""

    @model_validator(mode="after")
    def _check_grid(self) -> StudyPart:
        if self.sampler != "grid" and self.replicates > 1:
            raise InvalidValueError([Problem(("replicates",), str(self.replicates), "1 for all samplers but grid")])
        if self.sampler == "grid" and self.candidates:
            raise InvalidValueError([Problem(("candidates",), str(self.candidates), "0 with the sampler grid")])
        return self

    @model_validator(mode="after")
    def _check_inherits(self) -> StudyPart:
        if self.inherits and not self.candidates:
            raise InvalidValueError(
                [Problem(("inherits",), "true", "false where candidates is 0: no draw has parents")]
            )
        return self


class TwinPart(Part):
    """The synthetic stand-in for RadioML 2018.01A, or another synthetic signal set."""

    profile: Literal["deepsig-2018", "paper", "rothe-9", "matlab-11"] = "deepsig-2018"
    frames_per_cell: FramesPerCell = 64
    seed: Seed = 2018


class DatasetPart(Part):
    """Which frames the study trains on and measures with."""

    path: Annotated[str, AfterValidator(_check_path)] | None = None
    """The real HDF5 file; null uses the twin."""
    twin: TwinPart = TwinPart()
    frames_per_cell: FramesPerCell | None = None
    """Use only so many frames of each cell; null uses all."""
    min_training_snr_db: Annotated[int, Field(ge=-20, le=30)] = -6
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1

    @model_validator(mode="after")
    def _check_frames_per_cell(self) -> DatasetPart:
        available = self.twin.frames_per_cell
        if self.path is None and self.frames_per_cell is not None and self.frames_per_cell > available:
            expected = f"at most dataset.twin.frames_per_cell, {available}, for dataset.path is not set"
            raise InvalidValueError([Problem(("frames_per_cell",), str(self.frames_per_cell), expected)])
        return self


class BudgetPart(Part):
    """When the study ends, and how long each trial trains before pruning."""

    trials: Annotated[int, Field(ge=1)]
    wall_clock_minutes: Annotated[float, Field(gt=0)] | None = None
    epochs: Annotated[int, Field(ge=1)]


class EarlyStoppingPart(Part):
    """Trials that are worse than others half-way are stopped: successive halving."""

    first_rung: Annotated[float, Field(gt=0, lt=1)] = 1 / 3
    """Fraction of a trial's epochs, fine-tuning included, after which it is first compared."""
    kept: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Fraction of the trials that goes on from a rung. The next rung comes 1 / kept times as late."""


def _parse_known_designs(value: object) -> tuple[str, ...]:
    names = tuple(KNOWN_ARCHITECTURES)
    if not isinstance(value, list | tuple):
        raise InvalidValueError([Problem((), format_value(value), f"a list of names: {', '.join(names)}")])
    unknown = [(index, name) for index, name in enumerate(value) if name not in names]
    if unknown:
        raise InvalidValueError([Problem((index,), format_value(name), one_of(names, name)) for index, name in unknown])
    return tuple(value)


class WarmStartPart(Part):
    """What a new study tries first."""

    designs: Annotated[tuple[str, ...], PlainValidator(_parse_known_designs), PlainSerializer(list)] = ()
    """Networks found by hand, by name; the study's space must have them. Bit widths that it lacks are drawn."""
    study: Annotated[str, AfterValidator(_check_name)] | None = None
    """Another study in the same database, whose front is tried; values that the space lacks are drawn."""


class WorkersPart(Part):
    """What one trial occupies, and how many attempts it has when machines fail."""

    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0)] = 0.0
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    max_attempts: Annotated[int, Field(ge=1)] = 3


class PromotionPart(Part):
    """How many of the best designs go to hardware by themselves, and what they have to show before."""

    top: Annotated[int, Field(ge=0)] = 1
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Trainings that a network is judged by: its own, and others of the same design with other seeds."""
    rule: Literal["lower_bound", "mean"] = "lower_bound"
    """What has to reach the threshold: the lower end of the 95 % interval of their mean accuracy, or the mean."""


Board = Literal[
    "Ultra96", "Ultra96-V2", "Pynq-Z1", "Pynq-Z2", "ZCU102", "ZCU104", "ZCU111", "RFSoC2x2", "RFSoC4x2", "KV260_SOM",
    "AUP-ZU3_8GB", "U50", "U200", "U250", "U280", "U55C", "VEK280", "VCK190", "V80",
]  # fmt: skip
"""The boards that FINN+ 1.6.1 knows."""


class FpgaPart(Part):
    """The hardware of builds, and of the estimates where the study asks for hardware metrics."""

    board: Board = "ZCU111"
    clk_period_ns: Annotated[float, Field(gt=0)] = 5.0
    target_fps: Annotated[int, Field(ge=1, le=10**9)] = 100_000
    timeout_s: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 1800
    output: Literal["class", "scores"] = "class"
    """What the FPGA gives: the class, or the integer scores of all classes, which the host scales."""
    estimate_processes: Annotated[int, Field(ge=1, le=256)] = 2
    """How many of FINN's estimates run at once beside the training."""


class StudyFile(Part):
    """All parts of a study file."""

    study: StudyPart
    objectives: ObjectivesPart = ObjectivesPart()
    constraints: ConstraintsPart = ConstraintsPart()
    dataset: DatasetPart = DatasetPart()
    space: SpacePart
    training: Annotated[TrainingPart, Field(default_factory=lambda: TrainingPart.model_validate({}))]
    pruning: PruningPart = PruningPart()
    budget: BudgetPart
    early_stopping: EarlyStoppingPart | None = None
    """Empty: each trial is trained to its end."""
    warm_start: WarmStartPart = WarmStartPart()
    stages: Annotated[tuple[CampaignStagePart, ...], Field(strict=False, description="a list of stages")] = ()
    """Of a staged campaign; empty: all values are drawn together."""
    workers: WorkersPart = WorkersPart()
    promotion: PromotionPart = PromotionPart()
    paper: Annotated[str, AfterValidator(_check_paper)] | None = None
    """A published table that the report sets beside the study's own results."""
    fpga: FpgaPart = FpgaPart()

    @model_validator(mode="after")
    def _check_trials_are_compared_by_cost(self) -> Self:
        names = (*self.objectives.names, *self.constraints.names)
        hardware = next((name for name in names if METRICS[name].is_hardware), None)
        reason = f"left out in a study of {hardware}, for it compares trials by accuracy and inference cost alone"
        given = {("study", "candidates"): self.study.candidates or None, ("early_stopping",): self.early_stopping}
        problems = [Problem(path, "set", reason) for path, value in given.items() if value is not None]
        if hardware is not None and problems:
            raise InvalidValueError(problems)
        return self

    @model_validator(mode="after")
    def _check_nothing_follows_post_training(self) -> Self:
        kind = self.training.kind.values if isinstance(self.training.kind, Shared) else self.training.kind
        kinds = kind.choices if isinstance(kind, Choices) else (kind,)
        if "post_training" not in kinds:
            return self
        reason = "left out with training.kind post_training, which trains nothing once the network is quantized"
        given = {
            ("pruning", "stages"): bool(self.pruning.stages),
            ("early_stopping",): self.early_stopping is not None,
            ("study", "inherits"): self.study.inherits,
            ("stages",): bool(self.stages),
        }
        problems = [Problem(path, "set", reason) for path, is_set in given.items() if is_set]
        if problems:
            raise InvalidValueError(problems)
        return self

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        schedule, problems = self.training.schedule, []
        if schedule == "plateau" and self.early_stopping is not None:
            expected = "left out with the schedule plateau, whose trials have no epochs in common"
            problems.append(Problem(("early_stopping",), "set", expected))
        has_goal = self.training.stop_at is not None or self.training.stop_loss is not None
        is_smaller = False
        for index, stage in enumerate(self.pruning.stages):
            place = ("pruning", "stages", index)
            if has_goal and stage.may_be_gradual:
                expected = "one_shot with training.stop_at or stop_loss, which may end a stage before all is removed"
                problems.append(Problem((*place, "ramp"), "gradual", expected))
            if is_smaller and "weights" in stage.list_values("rewind"):
                expected = "nothing or learning_rate after a structured stage, which removed channels of these weights"
                problems.append(Problem((*place, "rewind"), "weights", expected))
            is_smaller |= stage.kind == "structured"
            if schedule == "hold" and "rewind" in stage.fields:
                expected = "left out with the schedule hold, which goes on from the rate that it held"
                given = format_value(stage.fields["rewind"])
                problems.append(Problem((*place, "rewind"), given, expected))
        if problems:
            raise InvalidValueError(problems)
        return self

    @model_validator(mode="after")
    def _check_channels_can_be_removed(self) -> Self:
        structured = [index for index, stage in enumerate(self.pruning.stages) if stage.kind == "structured"]
        if structured and has_parallel(self.space.blocks):
            expected = "another kind in a space with parallel blocks, whose channels cannot be removed"
            raise InvalidValueError([Problem(("pruning", "stages", structured[0], "kind"), "structured", expected)])
        return self

    @model_validator(mode="after")
    def _check_shared_values_and_grid(self) -> Self:
        space = SearchSpace(self.space, self.training, self.pruning, self.budget.epochs)
        conflict = find_conflict(space)
        if conflict is not None:
            raise InvalidValueError(
                [Problem(("space",), f"a space with two ranges of the name {conflict}", "one range of this name")]
            )
        problem = find_grid_problem(space) if self.study.sampler == "grid" else None
        if problem is not None:
            raise InvalidValueError([Problem(("study", "sampler"), "grid", problem)])
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        if not self.stages:
            return self
        reason = "left out in a study with stages, which choose by accuracy and inference cost, from its first trial on"
        beside = {
            ("study", "candidates"): self.study.candidates > 0,
            ("early_stopping",): self.early_stopping is not None,
            ("warm_start",): self.warm_start != WarmStartPart(),
            ("study", "sampler"): self.study.sampler == "grid",
        }
        problems = [Problem(path, "set", reason) for path, is_set in beside.items() if is_set]
        names = (*self.objectives.names, *self.constraints.names)
        if hardware := next((name for name in names if METRICS[name].is_hardware), None):
            problems.append(Problem(("stages",), "set", f"left out in a study of {hardware}"))
        space = SearchSpace(self.space, self.training, self.pruning, self.budget.epochs)
        problems += find_stage_problems(self.stages, space, self.budget.trials)
        if problems:
            raise InvalidValueError(problems)
        return self

    @model_validator(mode="after")
    def _check_other_study_is_another(self) -> Self:
        if self.warm_start.study == self.study.name:
            raise InvalidValueError([Problem(("warm_start", "study"), self.study.name, "the name of another study")])
        return self

    @model_validator(mode="after")
    def _check_known_designs_are_in_the_space(self) -> Self:
        found = {name: find_params(self.space.blocks, KNOWN_ARCHITECTURES[name]) for name in self.warm_start.designs}
        problems = [
            Problem(
                ("warm_start", "designs", index),
                name,
                f"a design of the space: {mismatch.path} is {mismatch.given}, it needs {mismatch.expected}",
            )
            for index, (name, mismatch) in enumerate(found.items())
            if isinstance(mismatch, Mismatch)
        ]
        if problems:
            raise InvalidValueError(problems)
        return self


class StudyConfig(StudyFile):
    """All that one study file says, and its text."""

    text: str
    path: Path

    @property
    def search_space(self) -> SearchSpace:
        """All designs of this study."""
        return SearchSpace(self.space, self.training, self.pruning, self.budget.epochs)

    @property
    def asks_for_hardware(self) -> bool:
        """Whether each trial needs FINN's estimate."""
        return needs_hardware((*self.objectives.metrics, *self.constraints.metrics))

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digits that change with everything that affects a trial's results."""
        text = json.dumps(self.deciding_content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def deciding_content(self) -> dict[str, object]:
        """Everything that affects a trial's results, as plain values."""
        parts = {"objectives", "dataset", "space", "training", "pruning"}
        content = self.model_dump(mode="json", include=parts)
        content["objectives"] = self.objectives.model_dump(mode="json", include=set(self.objectives.names))
        if self.constraints.names:
            content["constraints"] = self.constraints.model_dump(mode="json", exclude_none=True)
        if self.asks_for_hardware:
            target = {"board", "clk_period_ns", "target_fps", "output"}
            content["fpga"] = self.fpga.model_dump(mode="json", include=target)
        content["space"] = self.space.model_dump(mode="json", exclude_defaults=True, exclude={"quantization"})
        if self.study.candidates:
            content["candidates"] = self.study.candidates
        if self.study.inherits:
            content["inherits"] = True
        if self.stages:
            content["stages"] = self.model_dump(mode="json", include={"stages"})["stages"]
        if self.early_stopping is not None:
            content["early_stopping"] = self.early_stopping.model_dump(mode="json")
        return content | {"epochs": self.budget.epochs, "seed": self.study.seed, "sampler": self.study.sampler}


def load_study_config(path: Path) -> StudyConfig:
    """The study in a YAML file. Raises ConfigError with all problems: unreadable file, bad YAML, bad values."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError((f"{path} is missing; expected a study file such as spaces/dsc4.yaml",)) from None
    except IsADirectoryError:
        raise ConfigError((f"{path} is a folder; expected a study file such as spaces/dsc4.yaml",)) from None
    except UnicodeDecodeError as error:
        raise ConfigError((f"{path} is not text ({error}); expected YAML in UTF-8",)) from None
    except OSError as error:
        raise ConfigError((f"{path} is unreadable ({error.strerror}); expected a readable study file",)) from None
    return parse_study_config(text, str(path))


EARLIER_DEFAULTS: tuple[Mapping[str, object], ...] = ({"schedule": "restarts"}, {"learning_rate": 0.02})
"""What `training` had in earlier versions where a file gives nothing."""


def read_as_before(config: StudyConfig) -> tuple[StudyConfig, ...]:
    """The study in the same file as earlier versions read it."""
    content = parse_yaml(config.text, str(config.path))
    assert isinstance(content, dict)
    given = content.get("training")
    own = given if isinstance(given, dict) else {}
    readings = []
    for defaults in EARLIER_DEFAULTS:
        parts = StudyFile.model_validate({**content, "training": {**defaults, **own}})
        readings.append(StudyConfig.model_construct(**dict(parts), text=config.text, path=config.path))
    return tuple(readings)


def parse_study_config(text: str, source: str) -> StudyConfig:
    """The study in YAML text; `source` names it in errors. Raises ConfigError with all problems."""
    try:
        parts = StudyFile.model_validate(parse_yaml(text, source))
    except YamlError as error:
        raise ConfigError(tuple(str(error).splitlines())) from None
    except ValidationError as error:
        raise ConfigError(tuple(map(str, list_problems(error, StudyFile)))) from None
    return StudyConfig.model_construct(**dict(parts), text=text, path=Path(source))
