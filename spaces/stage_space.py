"""`pruning.stages` of a study: pruning stages whose fields may be distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from spaces.distributions import Drawable, Scalar, SuggestingTrial, draw, find_smallest
from spaces.drawable_fields import parse_fields
from spaces.problems import InvalidValueError, Problem, format_value, one_of
from spaces.pruning_stages import STAGE_KINDS, PruningStage

_STAGES: TypeAdapter[PruningStage] = TypeAdapter(PruningStage)


@dataclass(frozen=True)
class StageSpace:
    """One stage; each of its fields is a value or a distribution."""

    kind: str
    fields: Mapping[str, Drawable]

    def to_plain(self) -> dict[str, object]:
        """What decides a trial's result. A threshold stage is as it was when there was no other kind."""
        return dict(self.fields) if self.kind == "threshold" else {"kind": self.kind, **self.fields}


def draw_stages(stages: Sequence[StageSpace], trial: SuggestingTrial, path: str) -> tuple[PruningStage, ...]:
    """The stages in order. Each value is drawn under its path, such as `path[1].epsilon`."""
    return tuple(
        _make_stage(
            stage.kind, {name: draw(trial, f"{path}[{i}].{name}", value) for name, value in stage.fields.items()}
        )
        for i, stage in enumerate(stages)
    )


def parse_stages(value: object) -> tuple[StageSpace, ...]:
    """The stages of a study file. Raises InvalidValueError with all problems of all stages."""
    if not isinstance(value, list | tuple):
        raise InvalidValueError([Problem((), format_value(value), "a list of pruning stages, which may be empty")])
    stages: list[StageSpace] = []
    problems: list[Problem] = []
    for index, entry in enumerate(value):
        try:
            stages.append(_parse_stage(entry))
        except InvalidValueError as error:
            problems += [problem.under((index,)) for problem in error.problems]
    if problems:
        raise InvalidValueError(problems)
    _check_targets_fall(stages)
    return tuple(stages)


def _parse_stage(entry: object) -> StageSpace:
    if isinstance(entry, StageSpace):
        return entry
    if not isinstance(entry, dict):
        raise InvalidValueError([Problem((), format_value(entry), "a mapping with kind and its fields")])
    kind = entry.get("kind", "threshold")
    if not isinstance(kind, str) or kind not in STAGE_KINDS:
        raise InvalidValueError([Problem(("kind",), format_value(kind), one_of(list(STAGE_KINDS), kind))])
    stage = StageSpace(kind, parse_fields(entry, STAGE_KINDS[kind], "kind"))
    try:
        _make_stage(kind, {name: find_smallest(drawable) for name, drawable in stage.fields.items()})
    except ValidationError as error:
        causes = [details.get("ctx", {}).get("error") for details in error.errors(include_url=False)]
        raise next(cause for cause in causes if isinstance(cause, InvalidValueError)) from None
    return stage


def _draw_stage(stage: StageSpace, trial: SuggestingTrial, path: str) -> PruningStage:
    return _make_stage(stage.kind, {name: draw(trial, f"{path}.{name}", value) for name, value in stage.fields.items()})


def _make_stage(kind: str, values: Mapping[str, Scalar]) -> PruningStage:
    stage: PruningStage = _STAGES.validate_python({"kind": kind, **values})
    return stage


def _check_targets_fall(stages: Sequence[StageSpace]) -> None:
    """Of targets that are given as values: each below the one before, or its stage has nothing to remove."""
    before: float | None = None
    problems: list[Problem] = []
    for index, stage in enumerate(stages):
        target = stage.fields.get("inference_cost")
        if not isinstance(target, float):
            continue
        if before is not None and target >= before:
            problems.append(
                Problem((index, "inference_cost"), format_value(target), f"below the stage before, {before}")
            )
        before = target
    if problems:
        raise InvalidValueError(problems)
