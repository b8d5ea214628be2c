from __future__ import annotations

import pytest
import torch

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Block, Conv, GlobalPool, InputQuantizer, InvertedResidual, Linear, MaxPool
from spaces.pruning_stages import StructuredStage
from tests.workers.conftest import dsc
from workers.channel_pruning import remove_channels
from workers.model import Network, build_model, iterate_mac_modules
from workers.pruning import keep_largest_of_each_layer, list_kept, prune_once

CLASSES = Linear(out_features=4, weight_bit_width=4)


def conv(channels: int) -> Conv:
    return Conv(out_channels=channels, kernel_size=3, weight_bit_width=4, activation_bit_width=4)


def inverted(channels: int) -> InvertedResidual:
    return InvertedResidual(
        out_channels=channels, kernel_size=3, expansion=2, weight_bit_width=4, activation_bit_width=4
    )


NETWORKS: dict[str, tuple[tuple[Block, ...], list[int | None]]] = {
    "convolutions": ((conv(8), MaxPool(kernel_size=4), conv(12)), [6, None, 9]),
    "separable": ((dsc(5, 2, 8, 4, 4), dsc(3, 2, 12, 4, 4)), [6, 9]),
    "residual": ((dsc(5, 2, 8, 4, 4), dsc(3, 1, 8, 4, 4), dsc(3, 1, 8, 4, 4), dsc(3, 1, 12, 4, 4)), [6, 6, 6, 9]),
    "equal by chance": ((dsc(5, 2, 9, 4, 4), dsc(3, 1, 10, 4, 4)), [7, 8]),
    "inverted": ((conv(8), inverted(8), inverted(12)), [6, 6, 9]),
    "hidden linear": ((conv(8), Linear(out_features=16, weight_bit_width=4, activation_bit_width=4)), [6, 12]),
}


def make_network(*blocks: Block) -> Network:
    """Random weights and batch norms; class scores are not all alike."""
    pool = () if isinstance(blocks[-1], Linear) else (GlobalPool(),)
    architecture = ArchitectureConfig(blocks=(InputQuantizer(), *blocks, *pool, CLASSES), frame_length=64, n_classes=4)
    model = build_model(architecture, seed=1)
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data = torch.rand(parameter.shape, generator=generator) + 0.5
    return Network(architecture, model)


@pytest.mark.parametrize("by", ["l1", "l2", "batch_norm"])
@pytest.mark.parametrize(("blocks", "widths"), NETWORKS.values(), ids=NETWORKS.keys())
def test_each_layer_loses_the_fraction_of_its_channels(
    blocks: tuple[Block, ...], widths: list[int | None], by: str
) -> None:
    stage = StructuredStage(fraction=0.25, by=by, epochs=1)  # type: ignore[arg-type]
    smaller = remove_channels(make_network(*blocks), stage)
    found = smaller.architecture.blocks[1 : len(blocks) + 1]
    assert [getattr(b, "out_channels", getattr(b, "out_features", None)) for b in found] == widths
    assert smaller.model(torch.randn(2, 2, 64)).shape == (2, 4)


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_that_nothing_reads_are_removed_without_a_trace(name: str) -> None:
    """The first quarter of each layer's channels has small weights, and nobody reads it."""
    network = make_network(*NETWORKS[name][0])
    modules = [module for _, module in iterate_mac_modules(network.model)]
    for module in modules:
        weight = module.weight.data
        if module is not modules[-1]:
            weight[: len(weight) // 4] *= 0.1
        if weight.shape[1] > 2:  # neither depthwise nor fed by the frames
            weight[:, : weight.shape[1] // 4] = 0.0
    frames = torch.randn(8, 2, 64, generator=torch.Generator().manual_seed(3))
    expected = network.model.eval()(frames)
    smaller = remove_channels(network, StructuredStage(fraction=0.25, epochs=1))
    assert smaller.architecture != network.architecture
    torch.testing.assert_close(smaller.model.eval()(frames), expected)
    assert expected.std() > 0.01


def test_channels_of_the_whole_network_are_compared_and_each_layer_keeps_one() -> None:
    network = make_network(conv(8), conv(12))
    first, second, _ = (module for _, module in iterate_mac_modules(network.model))
    first.weight.data *= 0.01
    smaller = remove_channels(network, StructuredStage(fraction=0.5, scope="network", epochs=1))
    assert [getattr(block, "out_channels", None) for block in smaller.architecture.blocks[1:3]] == [1, 10]
    assert second.weight.shape[0] == 12, "the network that was pruned stays as it was"


def test_masks_of_a_smaller_network_keep_its_zeros() -> None:
    network = make_network(conv(8), conv(12))
    prune_once(network.model, keep_largest_of_each_layer, 0.5)
    smaller = remove_channels(network, StructuredStage(fraction=0.25, epochs=1))
    kept = list_kept(smaller.model)
    assert all(0 < int(mask.sum()) < mask.numel() for mask in kept.values())
