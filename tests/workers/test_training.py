"""The training loop and what pruning leaves to it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from spaces.architecture import ArchitectureConfig
from storage.dataset.frames import Frames
from workers.accuracy import evaluate_accuracy
from workers.inference_cost import count_cost, list_marginal_costs
from workers.model import build_model, iterate_mac_modules, measure_density
from workers.pruning import Pruner, Pruning, keep_from_epsilon, keep_most_salient_to_cost, list_kept, prune_once
from workers.training import EpochEnd, Phase, Ramp, Resumption, TrainingDivergedError, train
from workers.training_path import PathName, make_training_path

PHASE = Phase(stage=0, epochs=4, learning_rate=0.01, weight_decay=1e-4, batch_size=32, restart_epochs=5)


def test_training_learns_separable_classes(tone_architecture: ArchitectureConfig, tone_frames: Frames) -> None:
    model = build_model(tone_architecture, seed=0)
    losses: list[float] = []
    train(model, tone_frames, dataclasses.replace(PHASE, epochs=10), seed=0, on_epoch=lambda e: losses.append(e.loss))
    assert losses[-1] < 0.5 * losses[0]
    assert evaluate_accuracy(model, tone_frames).overall > 0.8


def test_resumed_training_equals_unbroken_training(tone_architecture: ArchitectureConfig, tone_frames: Frames) -> None:
    unbroken = build_model(tone_architecture, seed=3)
    train(unbroken, tone_frames, PHASE, seed=3)

    class Killed(Exception):
        pass

    kept: list[tuple[EpochEnd, dict[str, torch.Tensor]]] = []

    def keep_and_die(end: EpochEnd) -> None:
        kept.append((end, {name: t.clone() for name, t in broken.state_dict().items()}))
        if end.epoch == 2:
            raise Killed

    broken = build_model(tone_architecture, seed=3)
    with pytest.raises(Killed):
        train(broken, tone_frames, PHASE, seed=3, on_epoch=keep_and_die)
    end, state = kept[-1]
    resumed = build_model(tone_architecture, seed=99)
    resumed.load_state_dict(state)
    train(resumed, tone_frames, PHASE, seed=3, resumption=Resumption(end.epoch, end.optimizer_state))

    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_weight_decay_does_not_touch_quantizer_scales(
    tone_architecture: ArchitectureConfig, tone_frames: Frames
) -> None:
    """Adam normalises a decayed zero gradient to full steps: scales under decay would fall by 0.01 a step."""
    sizes = []
    for weight_decay in (0.0, 0.1):
        model = build_model(tone_architecture, seed=0)
        train(model, tone_frames, dataclasses.replace(PHASE, epochs=12, weight_decay=weight_decay), seed=0)
        scales = [p.item() for name, p in model.named_parameters() if "scaling_impl" in name]
        assert len(scales) == 4
        assert min(scales) > 2.0
        sizes.append(sum(module.weight.detach().abs().sum().item() for _, module in iterate_mac_modules(model)))
    assert sizes[1] < 0.7 * sizes[0]


def test_pruned_weights_stay_at_zero(tone_architecture: ArchitectureConfig, tone_frames: Frames) -> None:
    model = build_model(tone_architecture, seed=0)
    train(model, tone_frames, PHASE, seed=0)
    pruner = prune_once(model, keep_from_epsilon, 0.2)
    masks = pruner.masks
    n_alive = {name: int(mask.sum()) for name, mask in masks.items()}
    train(model, tone_frames, dataclasses.replace(PHASE, stage=1), seed=0, pruner=pruner)
    for name, module in iterate_mac_modules(model):
        assert 0 < n_alive[name] < module.weight.numel()
        assert torch.count_nonzero(module.weight) <= n_alive[name]
        assert not module.weight[~masks[name]].any()
    assert max(measure_density(model).values()) < 1.0


@pytest.mark.parametrize("path", list(PathName))
def test_every_path_removes_weights_down_to_a_target_while_it_trains(
    tone_architecture: ArchitectureConfig, tone_frames: Frames, path: PathName
) -> None:
    dense = count_cost(tone_architecture, {}).inference_cost
    model, target = build_model(tone_architecture, seed=0), dense / 2
    pruner = Pruner(model, list_kept(model), keep_most_salient_to_cost, list_marginal_costs(tone_architecture))
    phase = dataclasses.replace(PHASE, epochs=8, learning_rate=0.03, restart_epochs=None, ramp=Ramp(dense, target))
    ends: list[EpochEnd] = []
    train(model, tone_frames, phase, 0, pruner, None, ends.append, make_training_path(model, path))
    pruner.fill_up(target)

    cost = count_cost(tone_architecture, measure_density(model)).inference_cost
    assert 0.98 * target <= cost <= target, "one weight of so small a network is 2 % of its cost"
    assert ends[-1].loss < 0.7 * ends[0].loss
    held = [end.held for end in ends]
    assert [end is not None for end in held] == [False, False, False, True, False, False, False, False]
    assert held[3] is not None
    for name, module in iterate_mac_modules(model):
        assert not module.weight[~pruner.masks[name]].any()
        assert not (pruner.masks[name] & (held[3].model[f"{name}.weight"] == 0)).any(), "none comes back"


@pytest.mark.parametrize("n_steps", [1, 2, 3, 19, 20, 1000])
def test_the_last_pruning_of_a_phase_is_at_its_target(n_steps: int) -> None:
    prunings = Ramp(first=1.0, last=0.1).list_prunings(n_steps)
    amounts = [prunings[step].amount for step in sorted(prunings)]
    assert prunings[max(prunings)] == Pruning(0.1, is_last=True)
    assert max(prunings) <= 0.75 * n_steps
    assert amounts == sorted(amounts, reverse=True)
    assert len(amounts) <= 20


def test_pruning_again_keeps_earlier_zeros(tone_architecture: ArchitectureConfig) -> None:
    model = build_model(tone_architecture, seed=0)
    first, second = (prune_once(model, keep_from_epsilon, epsilon).masks for epsilon in (0.1, 0.0))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_accuracy_is_counted_per_snr(tone_architecture: ArchitectureConfig, tone_frames: Frames) -> None:
    accuracy = evaluate_accuracy(build_model(tone_architecture, seed=0), tone_frames)
    assert set(accuracy.by_snr) == {0, 10}
    assert accuracy.overall == pytest.approx(np.mean(list(accuracy.by_snr.values())))
    assert accuracy.n_frames == 256


def test_diverged_training_is_an_error(tone_architecture: ArchitectureConfig, tone_frames: Frames) -> None:
    iq = tone_frames.gather(slice(None))
    iq[0, 0, 0] = np.nan
    with pytest.raises(TrainingDivergedError, match="the loss is nan in epoch 1 of stage 0"):
        train(build_model(tone_architecture, seed=0), dataclasses.replace(tone_frames, stored=iq), PHASE, seed=0)
