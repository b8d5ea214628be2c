"""A network's training forward on a GPU with each convolution and what follows it as Triton kernels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from workers.functional_network import TrainingForward
from workers.functional_quantizers import ActivationQuantizer
from workers.fused_layers import ConvChain, ConvStage, InputStage, LinearStage, PoolStage, Stage, list_stages
from workers.model import QuantizedNetwork
from workers.triton_stages import DeviceCodeRange, DeviceResidual, triton_stage


def make_triton_forward(model: QuantizedNetwork) -> TrainingForward:
    """The same mathematics as `make_exact_forward`, in training alone; its sums take another order.

    Raises NoTwinError, naming the module, where the model has one that has no twin.
    """
    stages = list_stages(model)
    return lambda frames: _run(stages, frames)


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
        y = _run_conv(stage, y, stage.quantizer, None)
    last = chain.stages[-1]
    if not chain.is_residual:
        return _run_conv(last, y, last.quantizer, None)
    assert input_quantizer is not None
    return _run_conv(last, y, input_quantizer, DeviceResidual(x, _code_range(last.quantizer)))


def _run_conv(stage: ConvStage, x: Tensor, quantizer: ActivationQuantizer, residual: DeviceResidual | None) -> Tensor:
    conv = stage.conv
    return triton_stage(
        x,
        stage.weight(),
        stage.norm,
        _code_range(quantizer),
        residual,
        stride=conv.stride[0],
        padding=int(conv.padding[0]),
        is_depthwise=conv.groups > 1,
    )


def _run_linear(stage: LinearStage, x: Tensor) -> Tensor:
    y = F.linear(torch.flatten(x, 1), stage.weight())
    if stage.norm is None or stage.quantizer is None:
        return y
    return stage.quantizer(stage.norm(y))


def _code_range(quantizer: ActivationQuantizer) -> DeviceCodeRange:
    if quantizer.integers is None:
        return DeviceCodeRange()
    return DeviceCodeRange(quantizer.scale, quantizer.integers.highest)
