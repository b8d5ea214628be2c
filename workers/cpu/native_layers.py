"""Fused layers as one native operation with gradients: convolution, batch norm, ReLU, fake quantization, sum, pool.

It computes what `workers.layers` computes, in training and in evaluation, on blocks of 16 frames. Between two layers
activations are codes, one byte each, wherever they are quantized.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from ctypes import c_double, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from workers.cpu.blocked_frames import LANES, Blocked, Engine, address_of
from workers.cpu.native_library import load_library
from workers.functional_quantizers import IntegerRange


@dataclass(frozen=True)
class CodeRange:
    """ReLU, then the integers 0 to `highest`, at most 255, times a scale; ReLU alone where `range` is None."""

    range: Tensor | None = None
    """One number, whose magnitude `highest` stands for; has a gradient."""
    highest: int = 0


@dataclass(frozen=True)
class Residual:
    """What is added to a layer's quantized values, and the quantizer of the sum."""

    summand: int
    """The number of the layer whose input it is, in the row of layers that are run together."""
    quantizer: CodeRange


@dataclass(frozen=True)
class QuantizedWeight:
    """Weights, and the integers that inference sees; as in `workers.functional_quantizers.WeightQuantizer`."""

    parameter: Tensor
    """(out_channels, in_channels, kernel_size), or (channels, 1, kernel_size) where depthwise; has a gradient."""
    integers: IntegerRange | None = None
    """Both ends of the same magnitude; None: the weights are floats."""


@dataclass(frozen=True)
class Convolution:
    """The weights, and how they move over the frames."""

    weight: QuantizedWeight
    stride: int
    padding: int
    is_depthwise: bool


@dataclass(frozen=True)
class Activation:
    """What follows the batch norm: ReLU and `quantizer`, then the residual sum or a max pool of `pool_size`."""

    quantizer: CodeRange
    residual: Residual | None = None
    pool_size: int = 1


@dataclass(frozen=True)
class NativeLayer:
    """quantizer(norm(conv(x))) and, with a residual, residual.quantizer(summand + that); or its max pool."""

    conv: Convolution
    norm: nn.BatchNorm1d
    activation: Activation


def max_pool(x: Blocked, size: int, engine: Engine) -> Blocked:
    """Maximum over `size` neighbouring positions without overlap; the first of equal ones has the gradient."""
    values: Tensor = _MaxPool.apply(x.values, size, engine)  # type: ignore[no-untyped-call]
    return Blocked(values, x.n_frames)


def run_layers(x: Blocked, layers: Sequence[NativeLayer], engine: Engine) -> Blocked:
    """What the last of the layers puts out; each reads what the one before it does.

    In training batch norms use the batch's statistics and update the running ones; in evaluation they use the running
    ones. If anything on the way is not a finite number, all values are NaN.
    Raises ValueError where tensors do not fit, and where batch statistics have one value per channel, as torch does.
    """
    _check_blocks(x)
    given = (_LayerArguments * len(layers))()
    signals = [(x.values.shape[1], x.values.shape[2])]
    for arguments, layer in zip(given, layers, strict=True):
        _set_geometry(arguments, layer, signals)
        signals.append((arguments.out_channels, arguments.out_length // arguments.pool_size))
    is_training = layers[0].norm.training
    for arguments, layer in zip(given, layers, strict=True):
        _set_norm(arguments, layer.norm, is_training, x.n_frames)
    if is_training:
        counters = (layer.norm.num_batches_tracked for layer in layers)
        torch._foreach_add_([counter for counter in counters if counter is not None], 1)
    tensors = [tensor for layer in layers for tensor in _list_tensors(layer)]
    values: Tensor = _FusedLayers.apply(  # type: ignore[no-untyped-call]
        given, [layer.norm for layer in layers], (x.n_frames, is_training), engine, x.values, *tensors
    )
    return Blocked(values, x.n_frames)


TENSORS_PER_LAYER = 5

FLOAT_BYTES, DOUBLE_BYTES, ALIGNMENT_BYTES = 4, 8, 64


def _list_tensors(layer: NativeLayer) -> tuple[Tensor | None, ...]:
    """Those that have gradients."""
    activation = layer.activation
    sum_range = activation.residual.quantizer.range if activation.residual else None
    return layer.conv.weight.parameter, layer.norm.weight, layer.norm.bias, activation.quantizer.range, sum_range


def _check_blocks(x: Blocked) -> None:
    n_blocks, _, _, lanes = x.values.shape
    if (lanes, n_blocks) != (LANES, -(-x.n_frames // LANES)):
        raise ValueError(f"blocks {tuple(x.values.shape)} are not those of {x.n_frames} frames")
    _check_types(x.values)


def _check_types(*tensors: Tensor | None) -> None:
    """The native code is given addresses alone, so types are checked here."""
    if any(t is not None and (t.dtype != torch.float32 or not t.is_cpu) for t in tensors):
        raise ValueError("a tensor is not float32 on the CPU; expected all to be")


class _LayerArguments(ctypes.Structure):
    """struct FusedLayer of native/layer.h, field by field."""

    _fields_ = (
        *((name, c_int64) for name in ("in_channels", "out_channels", "in_length", "out_length")),
        *((name, c_int64) for name in ("kernel_size", "stride", "padding", "pool_size")),
        *((name, c_int64) for name in ("is_depthwise", "summand", "highest", "sum_highest")),
        *((name, c_int64) for name in ("weight_lowest", "weight_highest")),
        *((name, c_double) for name in ("momentum", "epsilon")),
        *((name, c_void_p) for name in ("range", "sum_range", "weight", "gamma", "beta")),
        *((name, c_void_p) for name in ("running_mean", "running_variance")),
        ("z", c_void_p),
        ("z_unit", c_double),
        ("is_z_short", c_int64),
        *((name, c_void_p) for name in ("floats", "codes", "largest", "mean", "inverse_deviation")),
        *((name, c_void_p) for name in ("weight_gradient", "gamma_gradient", "beta_gradient")),
        *((name, c_void_p) for name in ("range_gradient", "sum_range_gradient")),
    )


class _NetworkArguments(ctypes.Structure):
    """struct Network of native/layer.h."""

    _fields_ = (
        *((name, c_int64) for name in ("n_layers", "n_frames", "is_training", "n_threads")),
        ("layers", ctypes.POINTER(_LayerArguments)),
        *((name, c_void_p) for name in ("x", "out", "out_gradient", "x_gradient")),
    )


def _set_geometry(to: Any, layer: NativeLayer, signals: list[tuple[int, int]]) -> None:
    """`signals`: channels and length of what goes into each layer so far, the last into this one."""
    conv, activation = layer.conv, layer.activation
    in_channels, in_length = signals[-1]
    out_channels, weight_channels, kernel_size = conv.weight.parameter.shape
    expected = (in_channels, 1) if conv.is_depthwise else (out_channels, in_channels)
    if (out_channels, weight_channels) != expected or layer.norm.num_features != out_channels:
        raise ValueError(
            f"weights {tuple(conv.weight.parameter.shape)} and a batch norm of {layer.norm.num_features} channels "
            f"do not fit {in_channels} input channels"
        )
    if in_length + 2 * conv.padding < kernel_size:
        raise ValueError(f"kernel of {kernel_size} on {in_length} samples padded by {conv.padding}; expected it to fit")
    to.in_channels, to.out_channels, to.in_length = in_channels, out_channels, in_length
    to.out_length = (in_length + 2 * conv.padding - kernel_size) // conv.stride + 1
    to.kernel_size, to.stride, to.padding, to.is_depthwise = kernel_size, conv.stride, conv.padding, conv.is_depthwise
    integers = conv.weight.integers
    if integers is not None:
        assert integers.lowest == -integers.highest
        to.weight_lowest, to.weight_highest = integers.lowest, integers.highest
    to.highest, to.pool_size, to.summand = activation.quantizer.highest, activation.pool_size, -1
    residual = activation.residual
    if residual is None:
        return
    if activation.pool_size != 1 or signals[residual.summand] != (out_channels, to.out_length):
        raise ValueError(f"a residual of {signals[residual.summand]} does not fit {(out_channels, to.out_length)}")
    to.summand, to.sum_highest = residual.summand, residual.quantizer.highest


def _set_norm(to: Any, norm: nn.BatchNorm1d, is_training: bool, n_frames: int) -> None:
    if norm.momentum is None or norm.running_mean is None or norm.running_var is None or not norm.affine:
        raise ValueError("the batch norm has no momentum, running statistics or weights; expected all of them")
    if norm.training != is_training:
        raise ValueError("some batch norms are in training and some are not; expected all to be alike")
    _check_types(norm.running_mean, norm.running_var)
    to.momentum, to.epsilon = norm.momentum, norm.eps
    if not is_training:
        return
    if n_frames * to.out_length == 1:
        raise ValueError("one frame of length 1 has no batch statistics; expected more than 1 value per channel")


class _FusedLayers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        layers: Any,
        norms: list[nn.BatchNorm1d],
        batch: tuple[int, bool],
        engine: Engine,
        x: Tensor,
        *tensors: Tensor | None,
    ) -> Tensor:
        _check_types(*tensors)
        x, tensors = x.contiguous(), tuple(None if t is None else t.contiguous() for t in tensors)
        for layer, norm, own in zip(layers, norms, _by_layer(tensors), strict=True):
            layer.running_mean, layer.running_variance = _address(norm.running_mean), _address(norm.running_var)
            layer.weight, layer.gamma, layer.beta, layer.range, layer.sum_range = map(_address, own)
        last = layers[-1]
        out = torch.empty(len(x), last.out_channels, last.out_length // last.pool_size, LANES, dtype=torch.float32)
        memory = _allocate(layers, len(x))
        if not last.codes:
            last.floats = out.data_ptr()
        network = _NetworkArguments(len(layers), *batch, engine.n_threads, layers, x.data_ptr(), out.data_ptr())
        _run(load_library(engine.instruction_set).network_forward, network)
        ctx.save_for_backward(x, *tensors)
        ctx.memory, ctx.network, ctx.layers, ctx.engine = memory, network, layers, engine
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *tensors = ctx.saved_tensors
        out_gradient = out_gradient.contiguous()
        x_gradient = torch.empty_like(x) if ctx.needs_input_grad[4] else None
        gradients = [None if tensor is None else torch.empty_like(tensor) for tensor in tensors]
        for layer, own in zip(ctx.layers, _by_layer(gradients), strict=True):
            layer.weight_gradient, layer.gamma_gradient, layer.beta_gradient, *ranges = map(_address, own)
            layer.range_gradient, layer.sum_range_gradient = ranges
        ctx.network.out_gradient, ctx.network.x_gradient = _address(out_gradient), _address(x_gradient)
        _run(load_library(ctx.engine.instruction_set).network_backward, ctx.network)
        ctx.memory = None
        return None, None, None, None, x_gradient, *gradients


def _by_layer(tensors: Sequence[Tensor | None]) -> Iterator[Sequence[Tensor | None]]:
    return (tensors[first : first + TENSORS_PER_LAYER] for first in range(0, len(tensors), TENSORS_PER_LAYER))


def _allocate(layers: Any, n_blocks: int) -> Tensor:
    """The memory for what the layers compute, kept for the backward; points the layers to it."""
    places: list[tuple[Any, str, int]] = []
    n_bytes = 0
    for layer in layers:
        n_values = n_blocks * layer.out_channels * (layer.out_length // layer.pool_size) * LANES
        is_quantized = (layer.highest if layer.summand < 0 else layer.sum_highest) > 0
        sizes = {
            "z": n_blocks * layer.out_channels * layer.out_length * LANES * FLOAT_BYTES,
            "codes" if is_quantized else "floats": n_values * (1 if is_quantized else FLOAT_BYTES),
            "mean": layer.out_channels * DOUBLE_BYTES,
            "inverse_deviation": layer.out_channels * DOUBLE_BYTES,
        }
        if layer.pool_size > 1:
            sizes["largest"] = n_values * FLOAT_BYTES
        for name, size in sizes.items():
            places.append((layer, name, n_bytes))
            n_bytes += -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    memory = torch.empty(n_bytes, dtype=torch.uint8)  # torch aligns it as the layers need it
    first = memory.data_ptr()
    for layer, name, place in places:
        setattr(layer, name, first + place)
    return memory


class _PoolArguments(ctypes.Structure):
    """struct Pool of native/pool.cpp."""

    _fields_ = tuple((name, c_int64) for name in ("n_rows", "in_length", "size", "n_threads"))


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, engine: Engine) -> Tensor:
        x = x.contiguous()
        n_blocks, channels, length, _ = x.shape
        out = torch.empty(n_blocks, channels, length // size, LANES, dtype=torch.float32)
        pool = _PoolArguments(n_blocks * channels, length, size, engine.n_threads)
        _run(load_library(engine.instruction_set).pool_forward, pool, address_of(x), address_of(out))
        ctx.save_for_backward(x, out)
        ctx.pool, ctx.engine = pool, engine
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor, None, None]:
        x, out = ctx.saved_tensors
        out_gradient, x_gradient = out_gradient.contiguous(), torch.empty_like(x)
        addresses = map(address_of, (x, out, out_gradient, x_gradient))
        _run(load_library(ctx.engine.instruction_set).pool_backward, ctx.pool, *addresses)
        return x_gradient, None, None


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _run(function: Any, arguments: ctypes.Structure, *addresses: c_void_p) -> None:
    if function(ctypes.byref(arguments), *addresses):
        raise MemoryError("a fused layer had no memory, or no threads, left")
