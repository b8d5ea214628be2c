"""`pruning.stages` of a study: pruning stages whose fields may be distributions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from spaces.distributions import (
    Choices,
    Distribution,
    Drawable,
    FloatRange,
    Scalar,
    Shared,
    SuggestingTrial,
    draw,
    find_smallest,
)
from spaces.drawable_fields import parse_fields
from spaces.problems import InvalidValueError, Problem, format_value, one_of
from spaces.pruning_stages import STAGE_KINDS, PruningStage

_STAGES: TypeAdapter[PruningStage] = TypeAdapter(PruningStage)


@dataclass(frozen=True)
class StageSpace:
    """One stage; each of its fields is a value or a distribution."""

    kind: str
    fields: Mapping[str, Drawable]

    def list_values(self, name: str) -> tuple[Scalar, ...]:
        """All that the field may be: its choices, the value itself, or nothing where it is left out."""
        drawable = self.fields.get(name)
        values = drawable.values if isinstance(drawable, Shared) else drawable
        if isinstance(values, Choices):
            return values.choices
        return () if name not in self.fields or isinstance(values, Distribution) else (values,)

    @property
    def may_be_gradual(self) -> bool:
        """Whether weights may go while the network trains."""
        ramps = self.list_values("ramp")
        if self.kind == "cost_aware":
            return "gradual" in (ramps or ("gradual",))
        return self.fields.get("inference_cost") is not None and set(ramps) != {"one_shot"}

    def to_plain(self) -> dict[str, object]:
        """What decides a trial's result. A threshold stage is as it was when there was no other kind."""
        return dict(self.fields) if self.kind == "threshold" else {"kind": self.kind, **self.fields}


def draw_stages(stages: Sequence[StageSpace], trial: SuggestingTrial, path: str) -> tuple[PruningStage, ...]:
    """The stages in order. Each value is drawn under its path, such as `path[1].epsilon`."""
    return tuple(_draw_stage(stage, trial, f"{path}[{index}]") for index, stage in enumerate(stages))


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
    _check_choices(stage)
    return stage


def _check_choices(stage: StageSpace) -> None:
    """What fields must be together, for all choices. Raises InvalidValueError with the problems of the first."""
    values = [d.choices if isinstance(d, Choices) else (find_smallest(d),) for d in stage.fields.values()]
    for drawn in itertools.islice(itertools.product(*values), _MAX_COMBINATIONS):
        try:
            _make_stage(stage.kind, dict(zip(stage.fields, drawn, strict=True)))
        except ValidationError as error:
            causes = [details.get("ctx", {}).get("error") for details in error.errors(include_url=False)]
            raise next(cause for cause in causes if isinstance(cause, InvalidValueError)) from None


_MAX_COMBINATIONS = 10_000


def _draw_stage(stage: StageSpace, trial: SuggestingTrial, path: str) -> PruningStage:
    return _make_stage(stage.kind, {name: draw(trial, f"{path}.{name}", value) for name, value in stage.fields.items()})


def _make_stage(kind: str, values: Mapping[str, Scalar]) -> PruningStage:
    stage: PruningStage = _STAGES.validate_python({"kind": kind, **values})
    return stage


def _check_targets_fall(stages: Sequence[StageSpace]) -> None:
    """Each cost target can be below the one before, or its stage has nothing to remove."""
    before: float | None = None
    problems: list[Problem] = []
    for index, stage in enumerate(stages):
        target = stage.fields.get("inference_cost")
        if target is None:
            continue
        least = find_smallest(target)
        assert isinstance(least, float), "checked by the rule of inference_cost"
        if before is not None and least >= before:
            expected = f"below the stage before, {before}"
            problems.append(Problem((index, "inference_cost"), format_value(least), expected))
        before = _find_largest(target)
    if problems:
        raise InvalidValueError(problems)


def _find_largest(target: Drawable) -> float:
    match target:
        case Shared(values=values):
            return _find_largest(values)
        case FloatRange():
            return target.high
        case Choices(choices):
            return max(choice for choice in choices if isinstance(choice, float))
    assert isinstance(target, float), "checked by the rule of inference_cost"
    return target
