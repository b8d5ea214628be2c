"""The functional network: a model as plain functions of tensors, on its own parameters and buffers.

The Brevitas layers keep parameters, state and export. `make_exact_forward` computes their class scores bit for bit.
`make_channels_last_forward` computes the same mathematics in another order, fast (workers/cpu/channels_last.py).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from workers.cpu.channels_last import run_channels_last
from workers.functional_quantizers import ActivationQuantizer
from workers.fused_layers import (
    ClipLayer,
    ConvChain,
    ConvLayer,
    FusedLayer,
    InputLayer,
    LinearLayer,
    PoolLayer,
    list_fused_layers,
)
from workers.model import QuantizedNetwork

TrainingForward = Callable[[Tensor], Tensor]
"""Frames (batch, in_channels, frame_length) to class scores (batch, n_classes), with gradients to the parameters."""


def make_exact_forward(model: QuantizedNetwork) -> TrainingForward:
    """The model's own class scores, bit for bit, in training and evaluation mode, with its updates of batch norm.

    Raises UnsupportedModuleError, which names a module that the functional network does not know.
    """
    layers = list_fused_layers(model)
    return lambda frames: _run(layers, frames)


def make_channels_last_forward(model: QuantizedNetwork) -> TrainingForward:
    """The same mathematics, fast. Sums are computed in another order, so rounding may differ. Frames get no gradient.

    Raises UnsupportedModuleError, which names a module that the functional network does not know.
    """
    layers = list_fused_layers(model)
    return lambda frames: run_channels_last(layers, frames)


def _run(layers: tuple[FusedLayer, ...], frames: Tensor) -> Tensor:
    x, quantizer = frames, None
    for layer in layers:
        match layer:
            case InputLayer():
                x, quantizer = layer.quantizer(x), layer.quantizer
            case ClipLayer():
                x = layer(x)
            case ConvChain():
                x, quantizer = _run_chain(layer, x, quantizer), layer.convolutions[-1].quantizer
            case PoolLayer():
                x = F.max_pool1d(x, layer.size)
            case LinearLayer():
                x = layer(x)
    return x


def _run_chain(chain: ConvChain, x: Tensor, input_quantizer: ActivationQuantizer | None) -> Tensor:
    y = x
    for layer in chain.convolutions[:-1]:
        y = layer.quantizer(_convolve(layer, y))
    y = _convolve(chain.convolutions[-1], y)
    if chain.is_residual:
        assert input_quantizer is not None
        y = x + input_quantizer(y)
    return chain.convolutions[-1].quantizer(y)


def _convolve(layer: ConvLayer, x: Tensor) -> Tensor:
    conv = layer.conv
    y = F.conv1d(x, layer.weight(), None, conv.stride, conv.padding, conv.dilation, conv.groups)
    normalized: Tensor = layer.norm(y)
    return normalized
