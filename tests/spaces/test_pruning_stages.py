from __future__ import annotations

import json

import optuna
import pytest
import yaml

from spaces.problems import InvalidValueError
from spaces.pruning_stages import CostAwareStage, MagnitudeStage, StructuredStage, ThresholdStage
from spaces.search_space import Design, PruningPart
from spaces.stage_space import draw_stages, parse_stages
from spaces.study_config import ConfigError, parse_study_config

COST_AWARE = {"kind": "cost_aware", "inference_cost": {"float": [0.004, 0.02], "log": True}, "epochs": 2}


def test_each_kind_is_drawn_with_its_defaults() -> None:
    stages = parse_stages(
        [
            {"epsilon": 0.1, "weight_decay": 1e-4, "epochs": 1},
            {"kind": "magnitude", "fraction": 0.2, "epochs": 1},
            COST_AWARE,
            {"kind": "structured", "fraction": 0.25, "by": "batch_norm", "epochs": 3},
        ]
    )
    trial = optuna.create_study().ask()
    threshold, magnitude, cost_aware, structured = draw_stages(stages, trial, "pruning.stages")
    assert threshold == ThresholdStage(epsilon=0.1, weight_decay=1e-4, epochs=1)
    assert magnitude == MagnitudeStage(fraction=0.2, epochs=1)
    assert cost_aware == CostAwareStage(inference_cost=trial.params["pruning.stages[2].inference_cost"], epochs=2)
    assert structured == StructuredStage(fraction=0.25, by="batch_norm", scope="layer", epochs=3)


def test_targets_are_gradual_unless_said_and_fractions_are_not() -> None:
    assert MagnitudeStage(inference_cost=0.01, epochs=1).is_gradual
    assert not MagnitudeStage(inference_cost=0.01, ramp="one_shot", epochs=1).is_gradual
    assert not MagnitudeStage(fraction=0.2, epochs=1).is_gradual
    assert CostAwareStage(inference_cost=0.01, epochs=1).is_gradual


def test_threshold_stage_is_stored_as_when_there_was_no_other_kind() -> None:
    stage = {"epsilon": 0.1, "weight_decay": 1e-4, "epochs": 1}
    assert ThresholdStage(**stage).model_dump() == stage  # type: ignore[arg-type]
    assert PruningPart.model_validate({"stages": [stage]}).model_dump() == {"stages": [stage]}
    assert ThresholdStage(**stage, scope="layer").model_dump() == {**stage, "scope": "layer"}  # type: ignore[arg-type]


def test_stored_stages_are_read_as_the_kind_that_they_were() -> None:
    old = {
        "architecture": {"blocks": [{"type": "linear", "out_features": 24, "weight_bit_width": 4}]},
        "training": {"epochs": 1},
        "stages": [{"epsilon": 0.1, "weight_decay": 0, "epochs": 1}],
    }
    design = Design.model_validate_json(json.dumps(old))
    assert design.stages == (ThresholdStage(epsilon=0.1, weight_decay=0, epochs=1),)
    assert design.training.schedule == "restarts"
    newer = design.model_copy(update={"stages": (CostAwareStage(inference_cost=0.01, epochs=1),)})
    assert Design.model_validate_json(newer.model_dump_json()) == newer


@pytest.mark.parametrize(
    "fields",
    [
        {"fraction": 0.5, "ramp": {"choices": ["one_shot", "gradual"]}},
        {"inference_cost": 0.5, "scope": {"choices": ["network", "layer"]}},
        {"fraction": {"choices": [0.5, None]}},
        {"fraction": {"choices": [None, 0.5]}, "inference_cost": {"choices": [0.1, None]}},
    ],
)
def test_choices_that_do_not_fit_together_are_refused_at_load(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidValueError, match=r"^\[0\]\.(ramp|scope|fraction) is"):
        parse_stages([{"kind": "magnitude", "epochs": 1, **fields}])


def test_default_that_is_written_out_is_the_same_study() -> None:
    stage = {"epsilon": 0.1, "weight_decay": 1e-4, "epochs": 1}
    assert parse_stages([{**stage, "kind": "threshold", "scope": "network"}]) == parse_stages([stage])


def test_targets_must_fall_only_where_they_are_given_as_values() -> None:
    falling = [{"kind": "cost_aware", "inference_cost": cost, "epochs": 1} for cost in (0.02, 0.01)]
    assert len(parse_stages(falling)) == 2
    assert len(parse_stages([*falling, COST_AWARE])) == 3
    with pytest.raises(InvalidValueError, match=r"\[2\].inference_cost is 0.02; expected below the stage before, 0.01"):
        parse_stages([*falling, {**COST_AWARE, "inference_cost": {"float": [0.02, 0.05]}}])
    with pytest.raises(InvalidValueError, match=r"\[2\].inference_cost is 0.01; expected below the stage before, 0.01"):
        parse_stages([*falling, falling[1]])


PLATEAU = {"schedule": "plateau", "stop_at": 0.5}
FIFTH = {"kind": "magnitude", "fraction": 0.2, "epochs": 1}
CHANNELS = {"kind": "structured", "fraction": 0.2, "epochs": 1}
TO_COST = {"kind": "magnitude", "inference_cost": 0.001, "epochs": 2}


@pytest.mark.parametrize(
    ("training", "stages", "problem"),
    [
        (
            PLATEAU,
            [{"kind": "cost_aware", "inference_cost": 0.001, "epochs": 2}],
            "pruning.stages[0].ramp is gradual; expected one_shot with training.stop_at or stop_loss",
        ),
        (
            {"schedule": "plateau", "stop_loss": 0.1},
            [FIFTH, {**TO_COST, "ramp": {"choices": ["gradual", "one_shot"]}}],
            "pruning.stages[1].ramp is gradual; expected one_shot",
        ),
        (
            PLATEAU,
            [CHANNELS, {**FIFTH, "rewind": {"choices": ["nothing", "weights"]}}],
            "pruning.stages[1].rewind is weights",
        ),
        ({"schedule": "hold"}, [{**FIFTH, "rewind": "learning_rate"}], "pruning.stages[0].rewind is \"learning_rate\""),
        (PLATEAU, [{**TO_COST, "ramp": "one_shot"}], None),
        ({"schedule": "plateau"}, [{"kind": "cost_aware", "inference_cost": 0.001, "epochs": 2}], None),
        (PLATEAU, [{**FIFTH, "rewind": "weights"}, CHANNELS, {**FIFTH, "rewind": "learning_rate"}], None),
    ],
)  # fmt: skip
def test_stages_that_do_not_go_with_the_schedule_are_refused(
    training: dict[str, object], stages: list[dict[str, object]], problem: str | None
) -> None:
    tree = {
        "study": {"name": "tiny", "seed": 1},
        "space": {"blocks": [{"type": "input_quantizer"}, {"type": "linear", "out_features": 24}]},
        "training": training,
        "pruning": {"stages": stages},
        "budget": {"trials": 1, "epochs": 1},
    }
    if problem is None:
        parse_study_config(yaml.safe_dump(tree), "tiny.yaml")
        return
    with pytest.raises(ConfigError) as error:
        parse_study_config(yaml.safe_dump(tree), "tiny.yaml")
    assert problem in str(error.value)
