"""A trial from design to evaluations, also when it is killed in the middle."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from safetensors.torch import load_file

import workers.evaluation
import workers.training
from spaces.architecture import ArchitectureConfig
from spaces.blocks import FEATURE_CHANNELS, Conv, Features, GlobalPool, InputQuantizer, Linear
from spaces.pruning_stages import CostAwareStage, MagnitudeStage, StructuredStage, ThresholdStage
from spaces.search_space import Design, TrainingSettings
from storage.dataset.frames import Frames, load_validation_frames, load_validation_sample
from storage.dataset.radioml import DatasetError, inspect_radioml
from storage.dataset.split import prescribed_split
from storage.records import Evaluation, Rung
from storage.training_history import EpochRecord, add_epoch, read_history
from storage.twin.cached_twin import ensure_twin
from tests.workers.conftest import dsc, make_request
from workers.accuracy import evaluate_accuracy
from workers.checkpoint import EARLY_FILE, CheckpointError, load_weights, weights_file
from workers.evaluation import evaluate_design, load_frames, run_design
from workers.gpu.device_frames import frames_on_device
from workers.gpu.training import DeviceRun
from workers.inference_cost import score_qonnx_file
from workers.model import QuantizedNetwork, build_model, measure_density
from workers.qonnx_export import export_evaluation, write_qonnx
from workers.requests import DatasetRequest, EvaluationRequest
from workers.training import Phase
from workers.training_path import PathName, TrainingPath, make_training_path
from workers.training_run import EpochPlan, Trainee

DESIGN = Design(
    architecture=ArchitectureConfig(
        blocks=(
            InputQuantizer(),
            Conv(out_channels=4, kernel_size=9, stride=16, weight_bit_width=6, activation_bit_width=4),
            GlobalPool(),
            Linear(out_features=24, weight_bit_width=5),
        )
    ),
    training=TrainingSettings(epochs=3, batch_size=256),
    stages=(
        ThresholdStage(epsilon=0.1, weight_decay=1e-4, epochs=2),
        ThresholdStage(epsilon=0.2, weight_decay=0, epochs=0),
    ),
)

HELD = Design(
    architecture=ArchitectureConfig(
        blocks=(
            InputQuantizer(),
            dsc(9, 8, 8, 4, 4),
            dsc(5, 1, 8, 4, 4),
            dsc(5, 2, 12, 6, 4),
            GlobalPool(),
            Linear(out_features=24, weight_bit_width=4),
        )
    ),
    training=TrainingSettings(epochs=2, batch_size=64, learning_rate=0.02, restart_epochs=None, schedule="hold"),
    stages=(
        CostAwareStage(inference_cost=0.0012, epochs=2),
        MagnitudeStage(inference_cost=0.001, ramp="one_shot", epochs=1),
        StructuredStage(fraction=0.25, epochs=1),
        CostAwareStage(inference_cost=0.0006, epochs=1),
    ),
)
"""With the schedule that holds the rate, and each kind of pruning that the other design has not."""


AT_ONCE = HELD.model_copy(
    update={
        "stages": (
            CostAwareStage(inference_cost=0.0012, ramp="one_shot", epochs=0),
            CostAwareStage(inference_cost=0.0006, epochs=1),
        )
    }
)
"""Its first round of pruning trains nothing, and judges the weights by what the optimizer knows from before."""


PLATEAU = DESIGN.model_copy(
    update={
        "training": TrainingSettings(
            epochs=4, batch_size=256, restart_epochs=None, schedule="plateau", patience=0, factor=0.5
        ),
        "stages": (
            MagnitudeStage(fraction=0.2, epochs=2),
            MagnitudeStage(fraction=0.2, epochs=2, rewind="weights"),
            MagnitudeStage(fraction=0.2, epochs=1, rewind="learning_rate"),
        ),
    }
)
"""The rate depends on the accuracies before, and stages go on from other places."""


@pytest.fixture
def request_(twin_path: Path, tmp_path: Path) -> EvaluationRequest:
    return make_request(DESIGN, twin_path, tmp_path)


def without_time(evaluations: tuple[Evaluation, ...]) -> list[Evaluation]:
    return [dataclasses.replace(evaluation, training_seconds=0.0) for evaluation in evaluations]


def test_how_it_was_trained_and_measured_is_recorded(request_: EvaluationRequest) -> None:
    evaluations = evaluate_design(request_)
    assert {(evaluation.training_path, evaluation.is_exact) for evaluation in evaluations} == {("native", True)}


def test_each_stage_is_measured(request_: EvaluationRequest) -> None:
    evaluations = evaluate_design(request_)

    assert [e.stage for e in evaluations] == [0, 1, 2]
    assert [e.epochs for e in evaluations] == [3, 5, 5]
    costs = [e.cost.inference_cost for e in evaluations]
    assert costs[0] > costs[1] > costs[2] > 0
    assert all(set(e.accuracy_by_snr) == set(range(-20, 32, 2)) for e in evaluations)
    assert all(0 < e.accuracy < 1 and e.n_frames == 24 * 26 * 2 for e in evaluations)
    progress = json.loads((request_.folder / "progress.json").read_text())
    assert (progress["epoch"], progress["epochs"], progress["stage"]) == (5, 5, 1)


def test_weights_on_disk_are_those_measured(request_: EvaluationRequest, tmp_path: Path) -> None:
    evaluations = evaluate_design(request_)
    model = build_model(DESIGN.architecture, seed=0)
    load_weights(tmp_path / "artifacts" / evaluations[-1].checkpoint, model)
    assert measure_density(model) == evaluations[-1].density
    with pytest.raises(CheckpointError, match="is not the weights of this network"):
        load_weights(tmp_path / "none.safetensors", model)


@pytest.mark.parametrize(
    ("design", "killed_at"),
    [
        *((DESIGN, n) for n in (1, 2, 4, 5)),
        *((HELD, n) for n in (1, 2, 3, 4, 5, 6, 7)),
        *((PLATEAU, n) for n in (1, 3, 5, 6, 8, 9)),
    ],
)
def test_a_killed_trial_ends_as_an_unbroken_one(
    request_: EvaluationRequest, design: Design, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_ = dataclasses.replace(request_, design=design)
    other = dataclasses.replace(request_, trial_number=4)
    unbroken = evaluate_design(other)

    class Killed(BaseException):
        pass

    epochs_trained: list[tuple[int, int]] = []
    write_progress = workers.evaluation._write_progress

    def count_and_die(*args: object) -> None:
        write_progress(*args)  # type: ignore[arg-type]
        phase, end = args[2], args[3]
        epochs_trained.append((phase.stage, end.epoch))  # type: ignore[attr-defined]
        if len(epochs_trained) == killed_at:
            raise Killed

    monkeypatch.setattr(workers.evaluation, "_write_progress", count_and_die)
    with pytest.raises(Killed):
        evaluate_design(request_)
    resumed = evaluate_design(request_)

    assert without_time(resumed) == without_time(
        tuple(
            dataclasses.replace(e, trial_number=3, checkpoint=e.checkpoint.replace("00004", "00003")) for e in unbroken
        )
    )
    epochs = [design.training.epochs, *(stage.epochs for stage in design.stages)]
    once = [(stage, epoch + 1) for stage, n_epochs in enumerate(epochs) for epoch in range(n_epochs)]
    assert epochs_trained == once, "no epoch is trained twice"
    for stage in range(len(design.stages) + 1):
        files = [folder / weights_file(stage) for folder in (request_.folder, other.folder)]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("design", [DESIGN, HELD])
def test_a_trial_that_pauses_at_each_epoch_ends_as_an_unbroken_one(request_: EvaluationRequest, design: Design) -> None:
    request_ = dataclasses.replace(request_, design=design)
    unbroken = evaluate_design(request_)
    other = dataclasses.replace(request_, trial_number=4)
    n_epochs = design.training.epochs + sum(stage.epochs for stage in design.stages)
    rungs = []
    for epoch in range(1, n_epochs):
        evaluations, rung = run_design(dataclasses.replace(other, until=Rung(epoch - 1, epoch)))
        assert rung is not None
        assert rung == run_design(dataclasses.replace(other, until=Rung(epoch - 1, epoch)))[1], (
            "also where it was there before"
        )
        rungs.append(rung)
        assert [e.stage for e in evaluations] == [e.stage for e in unbroken if e.epochs <= epoch][: len(evaluations)]
    finished, rung = run_design(dataclasses.replace(other, until=Rung(n_epochs, n_epochs + 1)))
    assert rung is None
    assert [rung.epoch for rung in rungs] == list(range(1, n_epochs))
    measured = {e.epochs: (e.accuracy, e.cost.inference_cost) for e in reversed(unbroken)}
    assert all((r.accuracy, r.inference_cost) == measured[r.epoch] for r in rungs if r.epoch in measured)
    assert [(e.accuracy, e.cost) for e in finished] == [(e.accuracy, e.cost) for e in unbroken]
    for stage in range(len(design.stages) + 1):
        files = [folder / weights_file(stage) for folder in (request_.folder, other.folder)]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("design", "n_taken"),
    [
        *((DESIGN, n) for n in (0, 1)),
        *((HELD, n) for n in (0, 1, 2, 3)),
        *((AT_ONCE, n) for n in (0, 1)),
        *((PLATEAU, n) for n in (0, 2)),
    ],
)
def test_a_trial_that_takes_over_the_stages_of_another_ends_as_one_that_trained_them(
    request_: EvaluationRequest, design: Design, n_taken: int
) -> None:
    unbroken = evaluate_design(dataclasses.replace(request_, design=design))
    whole = dataclasses.replace(request_, design=design).folder
    first = design.model_copy(update={"stages": design.stages[:n_taken]})
    base = dataclasses.replace(request_, design=first, trial_number=4, goes_on=True)
    evaluate_design(base)
    folder = str(base.folder.relative_to(Path(request_.artifacts).resolve()))
    other = dataclasses.replace(request_, design=design, trial_number=5, base=folder)
    evaluations = evaluate_design(other)
    assert [(e.accuracy, e.cost, e.epochs) for e in evaluations] == [(e.accuracy, e.cost, e.epochs) for e in unbroken]
    assert {e.trial_number for e in evaluations} == {5}
    assert [e.training_seconds == 0.0 for e in evaluations[: n_taken + 1]] == [True] * (n_taken + 1)
    assert evaluations[-1].training_seconds > 0.0
    for stage in range(len(design.stages) + 1):
        files = [folder / weights_file(stage) for folder in (whole, other.folder)]
        assert files[0].read_bytes() == files[1].read_bytes()
        assert (Path(request_.artifacts) / evaluations[stage].checkpoint) == other.folder / weights_file(stage)


def test_a_trial_whose_base_is_gone_trains_its_stages_itself(request_: EvaluationRequest) -> None:
    unbroken = evaluate_design(request_)
    other = dataclasses.replace(request_, trial_number=5, base="tones/trials/00099-00000000")
    assert [e.accuracy for e in evaluate_design(other)] == [e.accuracy for e in unbroken]


def test_rung_of_a_trial_that_went_on_is_read_back(request_: EvaluationRequest) -> None:
    paused = dataclasses.replace(request_, until=Rung(0, 2))
    _, rung = run_design(paused)
    evaluate_design(request_)
    assert run_design(paused)[1] == rung
    with pytest.raises(ValueError, match="is 5 epochs on; expected at most 4, where to pause"):
        run_design(dataclasses.replace(request_, until=Rung(1, 4)))


@pytest.mark.parametrize("features", ["magnitude_phase", "phase_difference", "power"])
def test_a_network_of_other_features_is_trained_and_exported(
    request_: EvaluationRequest, features: Features, tmp_path: Path
) -> None:
    blocks = (InputQuantizer(clip=3.2, features=features), *DESIGN.architecture.blocks[1:])
    architecture = ArchitectureConfig(blocks=blocks)
    training = DESIGN.training.model_copy(update={"epochs": 1})
    design = Design(architecture=architecture, training=training)
    (evaluation,) = evaluate_design(dataclasses.replace(request_, design=design))
    assert (evaluation.training_path, evaluation.is_exact) == ("native", True)
    n_channels = FEATURE_CHANNELS[features]
    assert evaluation.cost.parameters == 4 * n_channels * 9 + 4 * 24
    file = inspect_radioml(Path(request_.dataset.path))
    split = prescribed_split(file.n_classes, len(file.snrs_db), file.frames_per_cell, 0.1, None)
    sample = load_validation_sample(file, split, 60, features)
    weights = tmp_path / "artifacts" / evaluation.checkpoint
    model_path, _ = export_evaluation(architecture, weights, sample, tmp_path)
    model = ModelWrapper(str(model_path))
    assert model.get_metadata_prop("features") == features
    assert model.get_tensor_shape(model.graph.input[0].name) == [1, n_channels, 1024]
    assert score_qonnx_file(model_path)["inference_cost"] == pytest.approx(evaluation.cost.inference_cost)
    network = build_model(architecture, seed=0)
    load_weights(weights, network)
    codes = load_validation_frames(file, split, architecture.blocks[0])  # type: ignore[arg-type]
    samples = load_validation_sample(file, split, len(codes), features)
    assert evaluate_accuracy(network, codes).overall == evaluate_accuracy(network, samples).overall


def test_a_learning_curve_is_kept_and_changes_nothing(
    request_: EvaluationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    unwatched = evaluate_design(request_)
    short = read_history(request_.folder)
    monkeypatch.setattr(workers.evaluation, "SHORT_EPOCH_S", 0.0)
    other = dataclasses.replace(request_, trial_number=4)
    watched = evaluate_design(other)
    curve = read_history(other.folder)
    assert [(e.accuracy, e.cost) for e in watched] == [(e.accuracy, e.cost) for e in unwatched]
    assert [(record.stage, record.epoch) for record in curve] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]
    assert [record.loss for record in curve] == [record.loss for record in short]
    assert all(record.accuracy is not None and 0 <= record.accuracy < 1 for record in curve)
    assert curve[0].seconds < curve[1].seconds < curve[2].seconds


def test_a_learning_curve_goes_on_where_a_killed_attempt_wrote_more_than_it_kept(request_: EvaluationRequest) -> None:
    for stage, epoch in ((0, 1), (0, 2), (1, 1)):
        add_epoch(request_.folder, EpochRecord(stage, epoch, 9.0, None, 1.0))
    add_epoch(request_.folder, EpochRecord(0, 2, 3.0, 0.5, 1.0))
    assert [(r.stage, r.epoch, r.loss) for r in read_history(request_.folder)] == [(0, 1, 9.0), (0, 2, 3.0)]
    (request_.folder / "history.json").write_text("[{")
    assert read_history(request_.folder) == ()


def watch_rates(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """Stage and learning rate of each epoch that is trained from here on."""
    rates: list[tuple[int, float]] = []
    plan_epoch = workers.training.plan_epoch

    def watch(phase: Phase, *args: object) -> EpochPlan:
        plan = plan_epoch(phase, *args)  # type: ignore[arg-type]
        rates.append((phase.stage, plan.learning_rates[0]))
        return plan

    monkeypatch.setattr(workers.training, "plan_epoch", watch)
    return rates


def start_device_run(trainee: Trainee, path: TrainingPath, frames: Frames, batch_size: int) -> DeviceRun:
    made = make_training_path(trainee.model, PathName.FUNCTIONAL)
    device = next(trainee.model.parameters()).device
    return DeviceRun(trainee, made.forward, frames_on_device(frames, device), batch_size, is_captured=False)


@pytest.mark.parametrize("run", ["host", "device"])
def test_the_rate_falls_on_a_plateau_and_stays_there_unless_it_is_rewound(
    request_: EvaluationRequest, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    if run == "device":  # as on a GPU, whose optimizer does not keep the rate of its last step
        monkeypatch.setattr(workers.training, "_start_run", start_device_run)
    accuracies = iter([0.3, 0.3, 0.4, 0.4, 0.1, 0.1, 0.2, 0.2, 0.3])
    monkeypatch.setattr(workers.evaluation, "_measure_copy", lambda *_: next(accuracies))
    rates = watch_rates(monkeypatch)
    evaluations = evaluate_design(dataclasses.replace(request_, design=PLATEAU))
    first = [(0, 0.01), (0, 0.01), (0, 0.005), (0, 0.005)]
    assert rates == [*first, (1, 0.005), (1, 0.005), (2, 0.01), (2, 0.01), (3, 0.01)]
    assert [e.epochs for e in evaluations] == [4, 6, 8, 9]


def test_a_phase_ends_with_the_epoch_that_reaches_its_goal(
    request_: EvaluationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.3, 0.5, 0.4, 0.4, 0.6, 0.4])
    monkeypatch.setattr(workers.evaluation, "_measure_copy", lambda *_: next(accuracies))
    training = PLATEAU.training.model_copy(update={"stop_at": 0.5})
    design = PLATEAU.model_copy(update={"training": training})
    evaluations = evaluate_design(dataclasses.replace(request_, design=design))
    assert [e.epochs for e in evaluations] == [2, 4, 5, 6]
    training = PLATEAU.training.model_copy(update={"stop_loss": 9.0})
    design = PLATEAU.model_copy(update={"training": training})
    monkeypatch.setattr(workers.evaluation, "_measure_copy", lambda *_: 0.1)
    assert [e.epochs for e in evaluate_design(dataclasses.replace(request_, design=design))] == [1, 2, 3, 4]


def test_a_phase_that_reached_its_goal_is_not_trained_on_when_it_is_resumed(
    request_: EvaluationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = PLATEAU.training.model_copy(update={"stop_loss": 9.0})
    request_ = dataclasses.replace(request_, design=PLATEAU.model_copy(update={"training": training}))
    write_stage = workers.evaluation._write_stage

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workers.evaluation, "_write_stage", die)
    with pytest.raises(KeyboardInterrupt):
        evaluate_design(request_)
    monkeypatch.setattr(workers.evaluation, "_write_stage", write_stage)
    rates = watch_rates(monkeypatch)
    evaluate_design(request_)
    assert [stage for stage, _ in rates] == [1, 2, 3]


def test_weights_go_back_to_those_after_the_first_epoch(
    request_: EvaluationRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: dict[int, dict[str, torch.Tensor]] = {}
    train = workers.training.train

    def watch(model: QuantizedNetwork, frames: Frames, phase: Phase, *args: Any) -> None:
        begun[phase.stage] = {name: t.clone() for name, t in model.state_dict().items()}
        train(model, frames, phase, *args)

    monkeypatch.setattr(workers.evaluation, "train", watch)
    request_ = dataclasses.replace(request_, design=PLATEAU)
    evaluate_design(request_)
    early, dense = load_file(request_.folder / EARLY_FILE), load_file(request_.folder / weights_file(0))
    name = "blocks.1.conv.weight"
    kept = begun[2][name] != 0
    assert 0 < kept.sum() < kept.numel()
    assert torch.equal(begun[2][name], early[name] * kept)
    assert not torch.equal(early[name], dense[name])
    is_left = begun[1][name] != 0
    assert torch.equal(begun[1][name], dense[name] * is_left), "without rewinding they go on from where they are"


def test_targets_are_met_from_below_and_channels_are_gone(request_: EvaluationRequest) -> None:
    evaluations = evaluate_design(dataclasses.replace(request_, design=HELD))
    costs = [evaluation.cost.inference_cost for evaluation in evaluations]
    for stage, target in ((1, 0.0012), (2, 0.001), (4, 0.0006)):
        assert 0.995 * target <= costs[stage] <= target
    smaller = [evaluation.architecture for evaluation in evaluations]
    assert smaller[:3] == [None, None, None]
    assert smaller[3] is not None
    assert smaller[3] == smaller[4]
    assert [getattr(block, "out_channels", None) for block in smaller[3].blocks] == [None, 6, 6, 9, None, None]


@pytest.mark.parametrize("schedule", ["hold", "restarts"])
def test_one_shot_targets_are_met_too(request_: EvaluationRequest, schedule: str) -> None:
    training = HELD.training
    if schedule == "restarts":
        training = TrainingSettings(epochs=2, batch_size=64)
    costs = (0.0013, 0.0009)
    stages = tuple(CostAwareStage(inference_cost=cost, ramp="one_shot", epochs=2) for cost in costs)
    design = HELD.model_copy(update={"training": training, "stages": stages})
    evaluations = evaluate_design(dataclasses.replace(request_, design=design))
    for evaluation, target in zip(evaluations[1:], costs, strict=True):
        assert 0.995 * target <= evaluation.cost.inference_cost <= target


def test_stage_without_training_is_passed_on_to_the_next(request_: EvaluationRequest) -> None:
    """What it removed stays removed."""
    stages = (MagnitudeStage(fraction=0.3, epochs=0), CostAwareStage(inference_cost=0.0009, epochs=1))
    request_ = dataclasses.replace(request_, design=HELD.model_copy(update={"stages": stages}))
    evaluations = evaluate_design(request_)
    assert [evaluation.epochs for evaluation in evaluations] == [2, 2, 3]
    removed, last = (load_file(request_.folder / weights_file(stage)) for stage in (1, 2))
    names = [name for name in removed if name.endswith("wise.weight")]
    assert names
    for name in names:
        assert not last[name][removed[name] == 0].any()


def test_counted_cost_of_each_stage_is_that_of_its_qonnx_file(request_: EvaluationRequest, tmp_path: Path) -> None:
    for evaluation in evaluate_design(dataclasses.replace(request_, design=HELD)):
        architecture = evaluation.architecture or HELD.architecture
        model = build_model(architecture, seed=0)
        load_weights(tmp_path / "artifacts" / evaluation.checkpoint, model)
        write_qonnx(model, architecture, tmp_path / "model.onnx")
        score = score_qonnx_file(tmp_path / "model.onnx")
        assert evaluation.cost.inference_cost == pytest.approx(score["inference_cost"], rel=1e-12)


def test_no_state_is_left_that_a_stage_would_go_on_from(request_: EvaluationRequest) -> None:
    request_ = dataclasses.replace(request_, design=HELD)
    evaluate_design(request_)
    assert list(request_.folder.glob("held-*")) == []


def test_a_finished_trial_is_read_back(request_: EvaluationRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations = evaluate_design(request_)
    monkeypatch.setattr(workers.evaluation, "train", None)
    assert evaluate_design(request_) == evaluations
    assert (request_.folder / weights_file(2)).exists()


def test_two_processes_never_train_one_trial_at_once(request_: EvaluationRequest) -> None:
    """A worker of a killed run lives on for seconds: the next run's worker waits for it, then reads its result."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        first, second = pool.map(evaluate_design, [request_, request_])
    assert first == second, "not even the training time differs: the second only read"


@pytest.mark.parametrize(
    "change",
    [
        {"design": DESIGN.model_copy(update={"stages": ()})},
        {"seed": 12},
        {"dataset": DatasetRequest("data.hdf5", 8, min_training_snr_db=-6, validation_fraction=0.2)},
        {"study_started": "2026-01-02"},
    ],
    ids=["design", "seed", "frames", "study"],
)
def test_another_design_of_the_same_number_has_another_folder(
    request_: EvaluationRequest, change: dict[str, object]
) -> None:
    """As trial 3 of a deleted study, or of the same study in another database."""
    other = dataclasses.replace(request_, **change)  # type: ignore[arg-type]
    assert other.folder != request_.folder
    moved = dataclasses.replace(request_, dataset=dataclasses.replace(request_.dataset, path="elsewhere.hdf5"))
    assert moved.folder == request_.folder, "the same frames at another place"


def test_data_file_that_was_replaced_is_read_again(twin_path: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(twin_path, tmp_path / "data.hdf5"))
    dataset = DatasetRequest(str(path), None, min_training_snr_db=-6, validation_fraction=0.2)
    before, _ = load_frames(dataset, None)
    again, _ = load_frames(dataset, None)
    other = ensure_twin(frames_per_cell=8, seed=2, folder=tmp_path)
    shutil.copystat(path, other)
    other.replace(path)
    after, _ = load_frames(dataset, None)
    assert again is before
    assert not np.array_equal(after.gather(slice(None)), before.gather(slice(None)))


def test_data_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset file .*none\.hdf5 does not exist; expected a RadioML 2018\.01A"):
        load_frames(DatasetRequest(str(tmp_path / "none.hdf5"), None, -6, 0.2), None)


def test_truncated_weights_are_told_plainly(request_: EvaluationRequest, tmp_path: Path) -> None:
    evaluations = evaluate_design(request_)
    path = tmp_path / "artifacts" / evaluations[-1].checkpoint
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="is not the weights of this network"):
        load_weights(path, build_model(DESIGN.architecture, seed=0))
