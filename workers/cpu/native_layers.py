"""Fused layers as one native operation with gradients: convolution, batch norm, ReLU, fake quantization, sum, pool.

It computes what `workers.layers` computes, in training and in evaluation, on blocks of 16 frames. Between two layers
activations are codes, one byte each, wherever they are quantized.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from workers.cpu.blocked_frames import LANES, Blocked, Engine, address_of
from workers.cpu.native_library import load_library


@dataclass(frozen=True)
class CodeRange:
    """ReLU, then the integers 0 to `highest`, at most 255, times `scale`; ReLU alone where `scale` is None."""

    scale: Tensor | None = None
    """One number, positive; has a gradient."""
    highest: int = 0


@dataclass(frozen=True)
class Residual:
    """What is added to a layer's quantized values, and the quantizer of the sum."""

    summand: int
    """The number of the layer whose input it is, in the row of layers that are run together."""
    quantizer: CodeRange


@dataclass(frozen=True)
class Convolution:
    """The weights as inference sees them, quantized, and how they move over the frames."""

    weight: Tensor
    """(out_channels, in_channels, kernel_size), or (channels, 1, kernel_size) where depthwise."""
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
    given, length = [_LayerArguments() for _ in layers], x.values.shape[2]
    signals = [(x.values.shape[1], length)]
    for arguments, layer in zip(given, layers, strict=True):
        _set_geometry(arguments, layer, signals)
        signals.append((arguments.out_channels, arguments.out_length // arguments.pool_size))
    is_training = layers[0].norm.training
    for arguments, layer in zip(given, layers, strict=True):
        _set_norm(arguments, layer.norm, is_training, x.n_frames)
    tensors = [tensor for layer in layers for tensor in _list_tensors(layer)]
    values: Tensor = _FusedLayers.apply(  # type: ignore[no-untyped-call]
        given, [layer.norm for layer in layers], (x.n_frames, is_training), engine, x.values, *tensors
    )
    return Blocked(values, x.n_frames)


TENSORS_PER_LAYER = 5


def _list_tensors(layer: NativeLayer) -> tuple[Tensor | None, ...]:
    """Those that have gradients."""
    activation = layer.activation
    sum_scale = activation.residual.quantizer.scale if activation.residual else None
    return layer.conv.weight, layer.norm.weight, layer.norm.bias, activation.quantizer.scale, sum_scale


def _check_blocks(x: Blocked) -> None:
    n_blocks, _, _, lanes = x.values.shape
    if (lanes, n_blocks) != (LANES, -(-x.n_frames // LANES)):
        raise ValueError(f"blocks {tuple(x.values.shape)} are not those of {x.n_frames} frames")
    _check_types(x.values)


def _check_types(*tensors: Tensor | None) -> None:
    """The native code is given addresses alone, so types are checked here."""
    if any(t is not None and (t.dtype != torch.float32 or t.device.type != "cpu") for t in tensors):
        raise ValueError("a tensor is not float32 on the CPU; expected all to be")


class _LayerArguments(ctypes.Structure):
    """struct FusedLayer of native/layer.h, field by field."""

    _fields_ = (
        *((name, c_int64) for name in ("in_channels", "out_channels", "in_length", "out_length")),
        *((name, c_int64) for name in ("kernel_size", "stride", "padding", "pool_size")),
        *((name, c_int64) for name in ("is_depthwise", "summand", "highest", "sum_highest")),
        *((name, c_double) for name in ("momentum", "epsilon")),
        *((name, c_void_p) for name in ("scale", "sum_scale", "weight", "gamma", "beta")),
        *((name, c_void_p) for name in ("running_mean", "running_variance")),
        *((name, c_void_p) for name in ("z", "floats", "codes", "mean", "inverse_deviation")),
        *((name, c_void_p) for name in ("weight_gradient", "gamma_gradient", "beta_gradient")),
        *((name, c_void_p) for name in ("scale_gradient", "sum_scale_gradient")),
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
    out_channels, weight_channels, kernel_size = conv.weight.shape
    expected = (in_channels, 1) if conv.is_depthwise else (out_channels, in_channels)
    if (out_channels, weight_channels) != expected or layer.norm.num_features != out_channels:
        raise ValueError(
            f"weights {tuple(conv.weight.shape)} and a batch norm of {layer.norm.num_features} channels "
            f"do not fit {in_channels} input channels"
        )
    if in_length + 2 * conv.padding < kernel_size:
        raise ValueError(f"kernel of {kernel_size} on {in_length} samples padded by {conv.padding}; expected it to fit")
    to.in_channels, to.out_channels, to.in_length = in_channels, out_channels, in_length
    to.out_length = (in_length + 2 * conv.padding - kernel_size) // conv.stride + 1
    to.kernel_size, to.stride, to.padding, to.is_depthwise = kernel_size, conv.stride, conv.padding, conv.is_depthwise
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
    assert norm.num_batches_tracked is not None  # kept wherever running statistics are
    norm.num_batches_tracked.add_(1)


class _FusedLayers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        given: list[Any],
        norms: list[nn.BatchNorm1d],
        batch: tuple[int, bool],
        engine: Engine,
        x: Tensor,
        *tensors: Tensor | None,
    ) -> Tensor:
        _check_types(*tensors)
        x, tensors = x.contiguous(), tuple(None if t is None else t.contiguous() for t in tensors)
        layers = (_LayerArguments * len(given))(*given)
        kept: list[Tensor] = []
        for i, (layer, norm) in enumerate(zip(layers, norms, strict=True)):
            _point(layer, running_mean=norm.running_mean, running_variance=norm.running_var)
            names = ("weight", "gamma", "beta", "scale", "sum_scale")
            _point(layer, **dict(zip(names, _tensors_of(tensors, i), strict=True)))
            kept += _allocate(layer, len(x))
        last = layers[-1]
        shape = len(x), last.out_channels, last.out_length // last.pool_size, LANES
        out = torch.empty(shape, dtype=torch.float32) if last.codes else kept[-1].view(shape)
        network = _NetworkArguments(len(given), *batch, engine.n_threads, layers)
        _point(network, x=x, out=out)
        _run(load_library(engine.instruction_set).network_forward, network)
        ctx.save_for_backward(x, *tensors)
        ctx.kept, ctx.network, ctx.layers, ctx.engine = kept, network, layers, engine
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *tensors = ctx.saved_tensors
        out_gradient = out_gradient.contiguous()
        x_gradient = torch.empty_like(x) if ctx.needs_input_grad[4] else None
        gradients = [None if tensor is None else torch.empty_like(tensor) for tensor in tensors]
        for i, layer in enumerate(ctx.layers):
            names = ("weight_gradient", "gamma_gradient", "beta_gradient", "scale_gradient", "sum_scale_gradient")
            _point(layer, **dict(zip(names, _tensors_of(gradients, i), strict=True)))
        _point(ctx.network, out_gradient=out_gradient, x_gradient=x_gradient)
        _run(load_library(ctx.engine.instruction_set).network_backward, ctx.network)
        ctx.kept = None
        return None, None, None, None, x_gradient, *gradients


def _tensors_of(tensors: Sequence[Tensor | None], layer: int) -> Sequence[Tensor | None]:
    return tensors[layer * TENSORS_PER_LAYER : (layer + 1) * TENSORS_PER_LAYER]


def _allocate(layer: Any, n_blocks: int) -> list[Tensor]:
    """The memory for what the layer computes; what it puts out is the last of it."""
    is_quantized = (layer.highest if layer.summand < 0 else layer.sum_highest) > 0
    z = torch.empty(n_blocks * layer.out_channels * layer.out_length * LANES, dtype=torch.float32)
    statistics = torch.empty(2, layer.out_channels, dtype=torch.float64)
    n_values = n_blocks * layer.out_channels * (layer.out_length // layer.pool_size) * LANES
    out = torch.empty(n_values, dtype=torch.uint8 if is_quantized else torch.float32)
    _point(layer, z=z, mean=statistics[0], inverse_deviation=statistics[1])
    _point(layer, **{"codes" if is_quantized else "floats": out})
    return [z, statistics, out]


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


def _point(arguments: Any, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        assert tensor is None or tensor.is_contiguous()
        setattr(arguments, name, None if tensor is None else tensor.data_ptr())


def _run(function: Any, arguments: ctypes.Structure, *addresses: c_void_p) -> None:
    if function(ctypes.byref(arguments), *addresses):
        raise MemoryError("a fused layer had no memory, or no threads, left")
