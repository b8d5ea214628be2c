"""A run on a device trains as the training loop does, alone or beside others; on a CPU, steps are not captured."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from spaces.architecture import ArchitectureConfig
from storage.dataset.frames import Frames
from workers.functional_network import make_exact_forward
from workers.gpu.cuda_graph import WARM_UP_RUNS, warm_up
from workers.gpu.device_frames import MAX_COPIES, DeviceFrames, frames_on_device
from workers.gpu.training import DeviceRun, run_together
from workers.inference_cost import count_cost, list_marginal_costs
from workers.learning_rate import cosine_learning_rate
from workers.model import QuantizedNetwork, build_model
from workers.pruning import Pruner, keep_from_epsilon, keep_most_salient_to_cost, list_kept, prune_once
from workers.training import EpochEnd, Phase, Ramp, Resumption, make_optimizer, plan_epoch, train
from workers.training_path import PathName, TrainingPath
from workers.training_run import EpochPlan, Trainee

CPU = torch.device("cpu")
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICES = [CPU, pytest.param(torch.device("cuda", 0), marks=ON_GPU)]
PHASE = Phase(stage=0, epochs=3, learning_rate=0.01, weight_decay=1e-3, batch_size=48, restart_epochs=2)
"""256 frames: five batches of 48, one of 16."""


@pytest.mark.parametrize("is_captured", [True, False])
@pytest.mark.parametrize("device", DEVICES)
def test_losses_and_weights_are_those_of_the_training_loop(
    tone_architecture: ArchitectureConfig, tone_frames: Frames, device: torch.device, is_captured: bool
) -> None:
    expected, found = (build_model(tone_architecture, seed=2).double() for _ in range(2))
    ends = train_plainly(expected, tone_frames, PHASE)
    run = make_run(found.to(device), tone_frames, is_captured=is_captured)
    losses = [run.run_epoch(plan) for plan in plan_epochs(tone_frames, PHASE)]
    assert len(losses) == 3
    assert losses == pytest.approx([end.loss for end in ends], abs=tolerance(device))
    assert_same_state(found, expected, tolerance(device))


@pytest.mark.parametrize("device", DEVICES)
def test_pruned_weights_stay_at_zero_as_in_the_training_loop(
    tone_architecture: ArchitectureConfig, tone_frames: Frames, device: torch.device
) -> None:
    expected, found = (build_model(tone_architecture, seed=2).double() for _ in range(2))
    train_plainly(expected, tone_frames, PHASE, prune_once(expected, keep_from_epsilon, 0.1))
    pruner = prune_once(found.to(device), keep_from_epsilon, 0.1)
    masks = pruner.masks
    run = make_run(found, tone_frames, pruner)
    for plan in plan_epochs(tone_frames, PHASE):
        run.run_epoch(plan)
    assert 0 < sum(int(mask.sum()) for mask in masks.values()) < sum(mask.numel() for mask in masks.values())
    assert all(not found.get_submodule(name).weight[~mask].any() for name, mask in masks.items())  # type: ignore[index]
    assert_same_state(found, expected, tolerance(device))


@pytest.mark.parametrize("device", DEVICES)
def test_weights_that_go_while_it_trains_are_those_of_the_training_loop(
    tone_architecture: ArchitectureConfig, tone_frames: Frames, device: torch.device
) -> None:
    """And so is the copy of the state when the learning rate begins to fall."""
    dense = count_cost(tone_architecture, {}).inference_cost
    phase = dataclasses.replace(PHASE, restart_epochs=None, ramp=Ramp(dense, dense / 2))
    expected, found = (build_model(tone_architecture, seed=2).double() for _ in range(2))
    costs = list_marginal_costs(tone_architecture)
    pruners = [
        Pruner(model, list_kept(model), keep_most_salient_to_cost, costs) for model in (expected, found.to(device))
    ]
    ends = train_plainly(expected, tone_frames, phase, pruners[0])
    (held,) = (end.held for end in ends if end.held is not None)
    frames = frames_on_device(tone_frames, device)
    forward = partial(forward_as, make_exact_forward(found.train()), torch.float64)
    run = DeviceRun(Trainee(found, make_optimizer(found, phase), pruners[1]), forward, frames, phase.batch_size, True)
    for plan in plan_epochs(tone_frames, phase):
        run.run_epoch(plan)
    assert_same_state(found, expected, tolerance(device))
    removed = {name: int(torch.count_nonzero(~mask)) for name, mask in pruners[0].masks.items()}
    assert max(removed.values()) > 0
    assert all(torch.equal(pruners[1].masks[name].cpu(), mask) for name, mask in pruners[0].masks.items())
    assert run.held is not None
    n_zeros = {name: int((held.model[f"{name}.weight"] == 0).sum()) for name in removed}
    assert 0 < sum(n_zeros.values()) < sum(removed.values()), "some weights are removed by then"
    for name, tensor in held.model.items():
        torch.testing.assert_close(run.held.model[name].cpu(), tensor, atol=tolerance(device), rtol=1e-6)


@pytest.mark.parametrize("resumes_on_device", [True, False])
def test_either_way_goes_on_from_the_other_s_checkpoint(
    tone_architecture: ArchitectureConfig, tone_frames: Frames, resumes_on_device: bool
) -> None:
    expected, broken = (build_model(tone_architecture, seed=2).double() for _ in range(2))
    train_plainly(expected, tone_frames, PHASE)
    plans = plan_epochs(tone_frames, PHASE)
    if resumes_on_device:
        kept = stop_after_two_epochs(broken, tone_frames)
        optimizer = make_optimizer(broken, PHASE)
        optimizer.load_state_dict(kept)
        make_run(broken, tone_frames, optimizer=optimizer).run_epoch(plans[2])
    else:
        run = make_run(broken, tone_frames)
        for plan in plans[:2]:
            run.run_epoch(plan)
        train_plainly(broken, tone_frames, PHASE, resumption=Resumption(2, run.optimizer_state()))
    assert_same_state(broken, expected)


@pytest.mark.parametrize("device", DEVICES)
def test_trials_side_by_side_are_as_if_alone(
    tone_architecture: ArchitectureConfig, tone_frames: Frames, device: torch.device
) -> None:
    small = tone_frames.select(np.arange(0, 256, 3))
    parts = [(1, tone_frames), (2, small), (3, tone_frames)]
    alone = [build_model(tone_architecture, seed).double().to(device) for seed, _ in parts]
    together = [build_model(tone_architecture, seed).double().to(device) for seed, _ in parts]
    plans = [plan_epochs(frames, PHASE)[1] for _, frames in parts]
    expected = [
        make_run(model, frames).run_epoch(plan) for model, (_, frames), plan in zip(alone, parts, plans, strict=True)
    ]
    runs = [make_run(model, frames) for model, (_, frames) in zip(together, parts, strict=True)]
    assert run_together(runs, plans) == pytest.approx(expected, abs=tolerance(device))
    for one, other in zip(alone, together, strict=True):
        assert_same_state(other, one, tolerance(device))


def test_training_results_include_nothing_of_the_warm_up(
    tone_architecture: ArchitectureConfig, tone_frames: Frames
) -> None:
    models = [build_model(tone_architecture, seed=2) for _ in range(2)]
    plan = plan_epochs(tone_frames, PHASE)[0]
    runs = [make_run(model, tone_frames) for model in models]
    runs[1].begin_epoch(plan)
    before = [tensor.clone() for tensor in runs[1].list_state()]
    steps: list[bool] = []
    warm_up(lambda: steps.append(runs[1].step()), runs[1].list_state())
    assert steps == [True] * WARM_UP_RUNS
    assert all(torch.equal(one, other) for one, other in zip(before, runs[1].list_state(), strict=True))
    losses = [run.run_epoch(plan) for run in runs]
    assert losses[0] == losses[1]
    assert all(torch.equal(tensor, models[1].state_dict()[name]) for name, tensor in models[0].state_dict().items())


def test_a_step_changes_nothing_that_is_not_listed(tone_architecture: ArchitectureConfig, tone_frames: Frames) -> None:
    """What `list_state` left out would keep traces of the warm-up."""
    model = build_model(tone_architecture, seed=2)
    run = make_run(model, tone_frames)
    run.begin_epoch(plan_epochs(tone_frames, PHASE)[0])
    listed = {id(tensor) for tensor in run.list_state()}
    assert {id(tensor) for tensor in model.parameters()} <= listed
    assert {id(tensor) for tensor in model.buffers()} <= listed
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run.step()
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert any("running_var" in name for name in changed)
    assert any("scaling_impl" in name for name in changed)


def test_a_step_waits_for_no_value_from_the_device(tone_architecture: ArchitectureConfig) -> None:
    """Tensors of torch's meta device have no values: whatever asked for one would raise, as a capture would."""
    meta = torch.device("meta")
    with pytest.raises(RuntimeError, match="cannot be called on meta tensors"):
        torch.zeros((), device=meta).item()
    model = build_model(tone_architecture, seed=0).train()
    forward = make_exact_forward(model)  # its description of the network is read on the host, once
    model.to(meta)
    stored, labels = (
        torch.zeros(9, 2, 64, dtype=torch.int8, device=meta),
        torch.zeros(9, dtype=torch.int64, device=meta),
    )
    samples, targets = DeviceFrames(stored, labels, 3 / 128).gather(torch.zeros(5, dtype=torch.int64, device=meta))
    torch.nn.functional.cross_entropy(forward(samples), targets).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_learning_rates_are_torch_s(tone_architecture: ArchitectureConfig) -> None:
    optimizer = Adam([torch.zeros(1)], lr=0.02)
    scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=3)
    for step in range(40):
        scheduler.step(step / 4)
        expected = optimizer.param_groups[0]["lr"]
        assert cosine_learning_rate(0.02, 3, step / 4) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [None, np.float32(3 / 128)])
def test_gathered_frames_are_those_of_the_host(tone_frames: Frames, scale: np.float32 | None) -> None:
    frames = tone_frames
    if scale is not None:
        codes = np.clip(np.round(tone_frames.stored / scale), -128, 127).astype(np.int8)
        frames = dataclasses.replace(tone_frames, stored=codes, scale=scale)
    part = frames.select(np.arange(255, 0, -2))
    index = torch.tensor([3, 0, 127, 3])
    samples, labels = frames_on_device(part, CPU).gather(index)
    assert np.array_equal(samples.numpy(), part.gather(index.numpy()))
    assert np.array_equal(labels.numpy(), part.labels[index.numpy()])


def test_all_trials_of_a_process_share_one_copy(tone_frames: Frames) -> None:
    first = frames_on_device(tone_frames, CPU)
    others = [tone_frames.select(np.arange(n)) for n in range(1, MAX_COPIES)]
    copies = [frames_on_device(part, CPU) for part in others]
    assert frames_on_device(tone_frames, CPU) is first
    frames_on_device(tone_frames.select(np.arange(20)), CPU)  # the least recently used makes room
    assert frames_on_device(tone_frames, CPU) is first
    assert frames_on_device(others[0], CPU) is not copies[0]


def test_threads_that_ask_at_once_have_one_copy(tone_frames: Frames) -> None:
    n_threads = 8
    barrier = threading.Barrier(n_threads)

    def ask(_: int) -> DeviceFrames:
        barrier.wait(timeout=30)
        return frames_on_device(tone_frames, CPU)

    with ThreadPoolExecutor(n_threads) as executor:
        copies = list(executor.map(ask, range(n_threads)))
    assert all(copy is copies[0] for copy in copies)


def train_plainly(
    model: QuantizedNetwork,
    frames: Frames,
    phase: Phase,
    pruner: Pruner | None = None,
    resumption: Resumption | None = None,
) -> list[EpochEnd]:
    ends: list[EpochEnd] = []
    path = TrainingPath(PathName.FUNCTIONAL, load_doubles, make_exact_forward(model))
    train(model, frames, phase, 2, pruner, resumption, ends.append, path)
    return ends


def stop_after_two_epochs(model: QuantizedNetwork, frames: Frames) -> dict[str, object]:
    class Killed(Exception):
        pass

    kept: list[dict[str, object]] = []

    def stop(end: EpochEnd) -> None:
        kept.append(end.optimizer_state)
        if end.epoch == 2:
            raise Killed

    path = TrainingPath(PathName.FUNCTIONAL, load_doubles, make_exact_forward(model))
    with pytest.raises(Killed):
        train(model, frames, PHASE, 2, on_epoch=stop, path=path)
    return kept[-1]


def load_doubles(frames: Frames, indices: Tensor) -> Tensor:
    return torch.from_numpy(frames.gather(indices.numpy())).double()


def make_run(
    model: QuantizedNetwork,
    frames: Frames,
    pruner: Pruner | None = None,
    optimizer: Adam | None = None,
    is_captured: bool = True,
) -> DeviceRun:
    parameter = next(model.parameters())
    forward = partial(forward_as, make_exact_forward(model.train()), parameter.dtype)
    optimizer = optimizer or make_optimizer(model, PHASE)
    on_device = frames_on_device(frames, parameter.device)
    return DeviceRun(Trainee(model, optimizer, pruner), forward, on_device, PHASE.batch_size, is_captured)


def forward_as(forward: Any, dtype: torch.dtype, frames: Tensor) -> Tensor:
    scores: Tensor = forward(frames.to(dtype))
    return scores


def plan_epochs(frames: Frames, phase: Phase) -> list[EpochPlan]:
    return [plan_epoch(phase, len(frames), seed=2, epoch=epoch) for epoch in range(phase.epochs)]


def tolerance(device: torch.device) -> float:
    """A GPU's optimizer reads the learning rate as float32."""
    return 1e-9 if device.type == "cpu" else 1e-6


def assert_same_state(found: QuantizedNetwork, expected: QuantizedNetwork, tolerated: float = 1e-9) -> None:
    assert len(expected.state_dict()) > 20
    for name, tensor in expected.state_dict().items():
        at_hand = found.state_dict()[name].to(tensor.device)
        torch.testing.assert_close(at_hand, tensor, rtol=tolerated, atol=tolerated, msg=name)
