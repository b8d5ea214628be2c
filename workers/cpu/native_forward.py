"""The fast execution of a network in native code: each fused layer is one operation."""

from __future__ import annotations

from torch import Tensor

from workers.cpu.blocked_frames import Blocked, Engine, from_blocked, to_blocked
from workers.cpu.native_layers import Activation, CodeRange, Convolution, Residual, fused_layer, max_pool
from workers.functional_quantizers import ActivationQuantizer
from workers.fused_layers import ConvChain, ConvLayer, FusedLayer, InputLayer, LinearLayer, PoolLayer, join_pools


def run_native(layers: tuple[FusedLayer, ...], frames: Tensor | Blocked, engine: Engine) -> Tensor:
    """Class scores (batch, n_classes), with gradients to the parameters.

    `frames` are float32 samples (batch, in_channels, frame_length). In blocks, they are what the input quantizer makes
    of samples.
    """
    x, quantizer = frames, None
    for layer, pool_size in join_pools(layers):
        match layer:
            case InputLayer():
                x, quantizer = x if isinstance(x, Blocked) else layer.quantizer(x), layer.quantizer
            case ConvChain():
                x = _run_chain(layer, _as_blocks(x), quantizer, pool_size, engine)
                quantizer = layer.convolutions[-1].quantizer
            case PoolLayer():
                x = max_pool(_as_blocks(x), layer.size, engine)
            case LinearLayer():
                x = layer(_as_features(x))
    return _as_features(x)


def _as_blocks(x: Tensor | Blocked) -> Blocked:
    return x if isinstance(x, Blocked) else to_blocked(x)


def _as_features(x: Tensor | Blocked) -> Tensor:
    """(batch, features)."""
    return (from_blocked(x) if isinstance(x, Blocked) else x).flatten(1)


def _run_chain(
    chain: ConvChain, x: Blocked, input_quantizer: ActivationQuantizer | None, pool_size: int, engine: Engine
) -> Blocked:
    y = x
    for layer in chain.convolutions[:-1]:
        y = _run_conv(layer, y, Activation(_code_range(layer.quantizer)), engine)
    last = chain.convolutions[-1]
    codes = _code_range(last.quantizer)
    if not chain.is_residual:
        return _run_conv(last, y, Activation(codes, None, pool_size), engine)
    assert input_quantizer is not None
    return _run_conv(last, y, Activation(_code_range(input_quantizer), Residual(x, codes), pool_size), engine)


def _run_conv(layer: ConvLayer, x: Blocked, activation: Activation, engine: Engine) -> Blocked:
    conv = layer.conv
    convolution = Convolution(layer.weight(), conv.stride[0], int(conv.padding[0]), conv.groups > 1)
    return fused_layer(x, convolution, layer.norm, activation, engine)


def _code_range(quantizer: ActivationQuantizer) -> CodeRange:
    return CodeRange() if quantizer.integers is None else CodeRange(quantizer.scale, quantizer.integers.highest)
