"""The network as plain functions of tensors, on the model's own parameters and buffers: what training runs.

The model of Brevitas layers remains the owner of parameters, state and export. Two executions of one description:
`make_exact_forward` computes its class scores bit for bit, `make_channels_last_forward` the same mathematics in another
order, fast (workers/cpu/channels_last.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.cpu.channels_last import run_channels_last
from workers.functional_quantizers import ActivationQuantizer
from workers.fused_layers import ConvChain, ConvStage, InputStage, LinearStage, PoolStage, Stage, list_stages
from workers.model import QuantizedNetwork

TrainingForward = Callable[[Tensor], Tensor]
"""Frames (batch, in_channels, frame_length) to class scores (batch, n_classes), with gradients to the parameters."""


def make_exact_forward(model: QuantizedNetwork) -> TrainingForward:
    """The model's own class scores, bit for bit, in training and evaluation mode, with its updates of batch norm.

    Raises NoTwinError, naming the module, where the model has one that has no twin.
    """
    stages = list_stages(model)
    return lambda frames: _run(stages, frames)


def make_channels_last_forward(model: QuantizedNetwork) -> TrainingForward:
    """The same mathematics, fast; its sums take another order, so rounding may differ. Frames get no gradient.

    Raises NoTwinError, naming the module, where the model has one that has no twin.
    """
    stages = list_stages(model)
    return lambda frames: run_channels_last(stages, frames)


def _run(stages: tuple[Stage, ...], frames: Tensor) -> Tensor:
    x, quantizer = frames, None
    for stage in stages:
        match stage:
            case InputStage():
                x, quantizer = stage.quantizer(x), stage.quantizer
            case ConvChain():
                x, quantizer = _run_chain(stage, x, quantizer), stage.stages[-1].quantizer
            case PoolStage():
                x = F.max_pool1d(x, stage.size)
            case LinearStage():
                x = _run_linear(stage, x)
    return x


def _run_chain(chain: ConvChain, x: Tensor, input_quantizer: ActivationQuantizer | None) -> Tensor:
    y = x
    for stage in chain.stages[:-1]:
        y = stage.quantizer(_convolve(stage, y))
    y = _convolve(chain.stages[-1], y)
    if chain.is_residual:
        assert input_quantizer is not None
        y = x + input_quantizer(y)
    return chain.stages[-1].quantizer(y)


def _convolve(stage: ConvStage, x: Tensor) -> Tensor:
    conv = stage.conv
    y = F.conv1d(x, stage.weight(), None, conv.stride, conv.padding, conv.dilation, conv.groups)
    return _normalize(stage.norm, y)


def _run_linear(stage: LinearStage, x: Tensor) -> Tensor:
    y = F.linear(torch.flatten(x, 1), stage.weight())
    if stage.norm is None or stage.quantizer is None:
        return y
    return stage.quantizer(_normalize(stage.norm, y))


def _normalize(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    y: Tensor = norm(x)  # torch's own: nothing to gain
    return y
