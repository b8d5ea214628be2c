"""A network begins with the weights of another one, whatever both are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Block, Conv, DepthwiseSeparable, GlobalPool, InputQuantizer, InvertedResidual, Linear, MaxPool
from spaces.pruning_stages import CostAwareStage
from spaces.search_space import Design, TrainingSettings
from tests.workers.conftest import make_request
from workers.checkpoint import weights_file
from workers.evaluation import evaluate_design
from workers.inheritance import inherit_weights
from workers.model import QuantizedNetwork, build_model


def dsc(kernel: int, stride: int, channels: int, bits: int = 6) -> DepthwiseSeparable:
    return DepthwiseSeparable(
        kernel_size=kernel, stride=stride, out_channels=channels, weight_bit_width=bits, activation_bit_width=bits
    )


def network(*blocks: Block, end: tuple[Block, ...] | None = None) -> ArchitectureConfig:
    last = (GlobalPool(), Linear(out_features=24, weight_bit_width=6)) if end is None else end
    return ArchitectureConfig(blocks=(InputQuantizer(), *blocks, *last), frame_length=128)


def trained(architecture: ArchitectureConfig, seed: int = 5) -> QuantizedNetwork:
    """With weights and statistics that differ everywhere."""
    model = build_model(architecture, seed)
    generator = torch.Generator().manual_seed(seed)
    state = {name: t + torch.rand(t.shape, generator=generator) for name, t in model.state_dict().items()}
    model.load_state_dict(state)
    return model.eval()


def inherit(child: ArchitectureConfig, parent: QuantizedNetwork) -> QuantizedNetwork:
    model = build_model(child, seed=9)
    inherit_weights(model, parent.state_dict())
    return model.eval()


FRAMES = torch.randn(4, 2, 128, generator=torch.Generator().manual_seed(1))

BASE = (dsc(9, 2, 8), dsc(5, 1, 8), dsc(5, 2, 12))


def test_same_network_has_the_same_weights() -> None:
    parent = trained(network(*BASE))
    child = inherit(network(*BASE), parent)
    for name, tensor in parent.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(child.state_dict()[name], tensor), name


def test_other_bits_and_strides_have_the_same_weights() -> None:
    parent = trained(network(*BASE))
    child = inherit(network(dsc(9, 4, 8, bits=4), dsc(5, 1, 8), dsc(5, 2, 12, bits=3)), parent)
    weights = [name for name in parent.state_dict() if name.endswith("wise.weight")]
    assert all(torch.equal(child.state_dict()[name], parent.state_dict()[name]) for name in weights)


def test_a_longer_kernel_computes_the_same_and_a_shorter_one_keeps_the_middle() -> None:
    parent = trained(network(*BASE))
    longer = inherit(network(dsc(13, 2, 8), *BASE[1:]), parent)
    torch.testing.assert_close(longer(FRAMES), parent(FRAMES))
    shorter = inherit(network(dsc(5, 2, 8), *BASE[1:]), parent)
    own, theirs = (model.state_dict()["blocks.1.depthwise.weight"] for model in (shorter, parent))
    assert torch.equal(own, theirs[:, :, 2:7])


def test_fewer_channels_are_those_that_matter_most_and_more_keep_all() -> None:
    parent = trained(network(dsc(9, 2, 8), dsc(5, 2, 8), dsc(5, 2, 12)))
    with torch.no_grad():
        parent.get_parameter("blocks.1.pointwise_norm.weight")[[1, 4]] = 1e-6
    state = parent.state_dict()
    child = inherit(network(dsc(9, 2, 6), dsc(5, 2, 10), dsc(5, 2, 12)), parent).state_dict()
    kept = [0, 2, 3, 5, 6, 7]
    assert torch.equal(child["blocks.1.pointwise.weight"], state["blocks.1.pointwise.weight"][kept])
    assert torch.equal(child["blocks.2.depthwise.weight"], state["blocks.2.depthwise.weight"][kept])
    assert torch.equal(child["blocks.2.pointwise.weight"][:8], state["blocks.2.pointwise.weight"][:, kept])
    assert torch.equal(child["blocks.3.depthwise_norm.running_var"][:8], state["blocks.3.depthwise_norm.running_var"])
    assert torch.equal(child["blocks.3.pointwise.weight"][:, :8], state["blocks.3.pointwise.weight"])
    fresh = build_model(network(dsc(9, 2, 6), dsc(5, 2, 10), dsc(5, 2, 12)), seed=9).state_dict()
    assert torch.equal(child["blocks.2.pointwise.weight"][8:], fresh["blocks.2.pointwise.weight"][8:])
    assert torch.equal(child["blocks.5.linear.weight"], state["blocks.5.linear.weight"])


def test_channels_of_a_residual_block_are_those_of_its_input() -> None:
    parent = trained(network(*BASE))
    state = parent.state_dict()
    child = inherit(network(dsc(9, 2, 5), dsc(5, 1, 5), dsc(5, 2, 12)), parent).state_dict()
    first, second = child["blocks.1.pointwise.weight"], child["blocks.2.pointwise_norm.bias"]
    rows = [
        [bool(torch.equal(row, other)) for other in state["blocks.1.pointwise.weight"]].index(True) for row in first
    ]
    assert torch.equal(second, state["blocks.2.pointwise_norm.bias"][rows])


KINDS = st.one_of(
    st.builds(
        dsc, st.sampled_from([3, 5, 9]), st.sampled_from([1, 2]), st.sampled_from([4, 8, 10]), st.sampled_from([3, 6])
    ),
    st.builds(
        lambda kernel, channels: Conv(
            out_channels=channels, kernel_size=kernel, weight_bit_width=4, activation_bit_width=4
        ),
        st.sampled_from([1, 3]),
        st.sampled_from([4, 8]),
    ),
    st.builds(
        lambda expansion, channels: InvertedResidual(
            kernel_size=3,
            stride=1,
            out_channels=channels,
            expansion=expansion,
            weight_bit_width=4,
            activation_bit_width=4,
        ),
        st.sampled_from([1, 2]),
        st.sampled_from([4, 8]),
    ),
    st.just(MaxPool(kernel_size=2)),
)
ENDS = st.sampled_from(
    [
        (GlobalPool(), Linear(out_features=24, weight_bit_width=6)),
        (
            Linear(out_features=16, weight_bit_width=4, activation_bit_width=4),
            Linear(out_features=24, weight_bit_width=6),
        ),
    ]
)
NETWORKS = st.builds(lambda blocks, end: network(*blocks, end=end), st.lists(KINDS, min_size=1, max_size=4), ENDS)


@settings(max_examples=60, deadline=None)
@given(NETWORKS, NETWORKS)
def test_any_network_takes_what_fits_of_any_other(child: ArchitectureConfig, parent: ArchitectureConfig) -> None:
    model = inherit(child, trained(parent))
    assert torch.isfinite(model(FRAMES)).all()


@pytest.mark.parametrize("has_file", [True, False])
def test_a_child_is_trained_from_its_parents_weights_or_trains_the_parent_first(
    has_file: bool, twin_path: Path, tmp_path: Path
) -> None:
    training = TrainingSettings(epochs=2, batch_size=64, learning_rate=0.01, restart_epochs=None, schedule="hold")
    first = Design(architecture=network_of_frames(9, 8), training=training)
    stages = (CostAwareStage(inference_cost=0.0008, epochs=1),)
    parent = first.model_copy(update={"stages": stages})
    child = Design(architecture=network_of_frames(11, 10), training=training, stages=stages, parent=first)
    request = make_request(parent, twin_path, tmp_path)
    theirs = evaluate_design(request)
    heir = dataclasses.replace(request, trial_number=2, design=child)
    path = theirs[0].checkpoint
    found = evaluate_design(dataclasses.replace(heir, parent=path))
    other = dataclasses.replace(heir, trial_number=3, parent=path if has_file else None)
    again = evaluate_design(other)
    assert [e.accuracy for e in again] == [e.accuracy for e in found]
    for stage in (0, 1):
        files = [folder / weights_file(stage) for folder in (heir.folder, other.folder)]
        assert files[0].read_bytes() == files[1].read_bytes()
    orphan = evaluate_design(
        dataclasses.replace(heir, trial_number=4, design=child.model_copy(update={"parent": None}))
    )
    assert [e.accuracy for e in orphan] != [e.accuracy for e in found]


def network_of_frames(kernel: int, channels: int) -> ArchitectureConfig:
    return ArchitectureConfig(blocks=(*network(dsc(kernel, 8, channels), dsc(5, 4, 8)).blocks,))
