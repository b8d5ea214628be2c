"""How layers begin."""

from __future__ import annotations

import pytest
import torch

from spaces.architecture import ArchitectureConfig
from spaces.blocks import Block, Conv, DepthwiseSeparable, GlobalPool, InputQuantizer, Linear
from workers.layers import DepthwiseSeparableBlock, keep_signs
from workers.model import build_model

FIRST = DepthwiseSeparable(kernel_size=9, stride=2, out_channels=8, weight_bit_width=4, activation_bit_width=4)
CONV = Conv(out_channels=8, kernel_size=3, weight_bit_width=4, activation_bit_width=4)
END = (GlobalPool(), Linear(out_features=24, weight_bit_width=4))


@pytest.mark.parametrize("blocks", [(InputQuantizer(), FIRST, FIRST, *END), (FIRST, FIRST, *END)])
def test_block_that_reads_frames_lets_both_signs_of_both_channels_through(blocks: tuple[Block, ...]) -> None:
    model = build_model(ArchitectureConfig(blocks=blocks), seed=3)
    keep_signs(model.blocks)
    first, second = (block for block in model.blocks if isinstance(block, DepthwiseSeparableBlock))
    filters = first.depthwise.get_parameter("weight")
    assert torch.equal(filters[0], filters[1])
    frames = torch.randn(16, 2, 1024, generator=torch.Generator().manual_seed(1))
    signal = first.depthwise_norm(first.depthwise(frames))
    assert (signal <= 0).float().mean() < 0.05
    assert second.depthwise_norm.bias.count_nonzero() == 0
    others = second.depthwise.get_parameter("weight")
    assert not torch.equal(others[0], others[1])


def test_other_first_blocks_begin_as_drawn() -> None:
    model = build_model(ArchitectureConfig(blocks=(InputQuantizer(), CONV, FIRST, *END)), seed=3)
    keep_signs(model.blocks)
    (later,) = (block for block in model.blocks if isinstance(block, DepthwiseSeparableBlock))
    filters = later.depthwise.get_parameter("weight")
    assert not torch.equal(filters[0], filters[1])
    assert later.depthwise_norm.bias.count_nonzero() == 0
