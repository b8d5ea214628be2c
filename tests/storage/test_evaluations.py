"""Evaluations come back from the database as they were recorded."""

from __future__ import annotations

from dataclasses import replace

from storage.database import Database
from storage.evaluations import load_evaluations, load_trial_evaluations, record_evaluation
from storage.records import Cost, Evaluation

EVALUATION = Evaluation(
    study_name="dsc4",
    trial_number=7,
    stage=1,
    accuracy=0.1 + 0.2,  # no short decimal fraction: every bit has to come back
    accuracy_by_snr={-20: 0.04, 0: 0.5, 30: 0.9},
    n_frames=1664,
    cost=Cost(bit_ops=8.23328768e8, weight_bits=1_272_832.0, inference_cost=1 / 3, parameters=159_104),
    density={"blocks.3.pointwise": 0.25, "blocks.1": 1.0, "blocks.2.depthwise": 0.5},
    epochs=12,
    seed=2**40,
    training_seconds=12.25,
    checkpoint="dsc4/trials/00007/stage-1.safetensors",
)


def test_evaluation_comes_back_with_all_fields(database: Database) -> None:
    record_evaluation(database, EVALUATION)

    (loaded,) = load_evaluations(database, "dsc4")

    assert loaded == EVALUATION
    assert list(loaded.density) == list(EVALUATION.density)
    assert isinstance(loaded.cost.bit_ops, float)


def test_evaluation_recorded_again_replaces_the_first(database: Database) -> None:
    record_evaluation(database, EVALUATION)
    better = replace(EVALUATION, accuracy=0.9, cost=replace(EVALUATION.cost, bit_ops=1.0), density={"blocks.1": 0.1})

    record_evaluation(database, better)
    record_evaluation(database, better)

    assert load_evaluations(database, "dsc4") == [better]


def test_evaluations_are_ordered_by_trial_and_stage(database: Database) -> None:
    for trial_number, stage in [(10, 0), (7, 2), (7, 0), (7, 1)]:
        record_evaluation(database, replace(EVALUATION, trial_number=trial_number, stage=stage))

    loaded = load_evaluations(database, "dsc4")

    assert [(e.trial_number, e.stage) for e in loaded] == [(7, 0), (7, 1), (7, 2), (10, 0)]


def test_evaluations_of_other_trials_and_studies_are_left_out(database: Database) -> None:
    record_evaluation(database, EVALUATION)
    record_evaluation(database, replace(EVALUATION, trial_number=8))
    record_evaluation(database, replace(EVALUATION, study_name="vgg10"))

    assert load_trial_evaluations(database, "dsc4", 7) == [EVALUATION]
    assert len(load_evaluations(database, "dsc4")) == 2
    assert load_evaluations(database, "nowhere") == []
