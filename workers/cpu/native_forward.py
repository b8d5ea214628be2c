"""The fast execution of a network in native code: all fused layers one after another are one operation."""

from __future__ import annotations

from torch import Tensor

from workers.cpu.blocked_frames import Blocked, Engine, from_blocked, to_blocked
from workers.cpu.native_layers import (
    Activation,
    CodeRange,
    Convolution,
    NativeLayer,
    QuantizedWeight,
    Residual,
    max_pool,
    run_layers,
)
from workers.functional_quantizers import ActivationQuantizer
from workers.fused_layers import (
    ClipLayer,
    ConvChain,
    ConvLayer,
    FusedLayer,
    InputLayer,
    LinearLayer,
    PoolLayer,
    join_pools,
)


def run_native(layers: tuple[FusedLayer, ...], frames: Tensor | Blocked, engine: Engine) -> Tensor:
    """Class scores (batch, n_classes), with gradients to the parameters.

    `frames` are float32 samples (batch, in_channels, frame_length). In blocks, they are what the input quantizer makes
    of samples.
    """
    x, quantizer = frames, None
    waiting: list[NativeLayer] = []
    """Layers one after another that have not been run yet."""

    def run_waiting() -> Tensor | Blocked:
        done = run_layers(_as_blocks(x), waiting, engine) if waiting else x
        waiting.clear()
        return done

    for layer, pool_size in join_pools(layers):
        match layer:
            case InputLayer():
                x, quantizer = x if isinstance(x, Blocked) else layer.quantizer(x), layer.quantizer
            case ClipLayer():
                assert isinstance(x, Tensor), "codes are of an input quantizer, which stands in its place"
                x = layer(x)
            case ConvChain():
                waiting += _list_convolutions(layer, quantizer, len(waiting), 1 if layer.is_residual else pool_size)
                quantizer = layer.convolutions[-1].quantizer
                if layer.is_residual and pool_size > 1:
                    x = max_pool(_as_blocks(run_waiting()), pool_size, engine)
            case PoolLayer():
                x = max_pool(_as_blocks(run_waiting()), layer.size, engine)
            case LinearLayer():
                x = layer(_as_features(run_waiting()))
    return _as_features(run_waiting())


def _as_blocks(x: Tensor | Blocked) -> Blocked:
    return x if isinstance(x, Blocked) else to_blocked(x)


def _as_features(x: Tensor | Blocked) -> Tensor:
    """(batch, features)."""
    return (from_blocked(x) if isinstance(x, Blocked) else x).flatten(1)


def _list_convolutions(
    chain: ConvChain, input_quantizer: ActivationQuantizer | None, first: int, pool_size: int
) -> list[NativeLayer]:
    """`first` is the number of the chain's first layer."""
    *others, last = chain.convolutions
    layers = [_make_layer(layer, Activation(_code_range(layer.quantizer))) for layer in others]
    codes = _code_range(last.quantizer)
    if not chain.is_residual:
        return [*layers, _make_layer(last, Activation(codes, pool_size=pool_size))]
    assert input_quantizer is not None
    return [*layers, _make_layer(last, Activation(_code_range(input_quantizer), Residual(first, codes)))]


def _make_layer(layer: ConvLayer, activation: Activation) -> NativeLayer:
    conv = layer.conv
    weight = QuantizedWeight(layer.weight.parameter, layer.weight.integers)
    convolution = Convolution(weight, conv.stride[0], int(conv.padding[0]), conv.groups > 1)
    return NativeLayer(convolution, layer.norm, activation)


def _code_range(quantizer: ActivationQuantizer) -> CodeRange:
    return CodeRange() if quantizer.integers is None else CodeRange(quantizer.range, quantizer.integers.highest)
