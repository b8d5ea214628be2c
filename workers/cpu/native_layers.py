"""A fused layer as one native operation with gradients: convolution, batch norm, ReLU, fake quantization, pool.

It computes what `workers.layers` computes, in training and in evaluation, on blocks of 16 frames.
"""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_float, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from workers.cpu.blocked_frames import LANES, Blocked, Engine, address_of
from workers.cpu.native_library import load_library


@dataclass(frozen=True)
class CodeRange:
    """ReLU, then the integers 0 to `highest` times `scale`; ReLU alone where `scale` is None."""

    scale: Tensor | None = None
    """One number, positive; has a gradient."""
    highest: int = 0


@dataclass(frozen=True)
class Residual:
    """What is added to a layer's quantized values, and the quantizer of the sum."""

    summand: Blocked
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
    """What follows the batch norm: ReLU and `quantizer`, then the residual sum, then a max pool of `pool_size`."""

    quantizer: CodeRange
    residual: Residual | None = None
    pool_size: int = 1


def max_pool(x: Blocked, size: int, engine: Engine) -> Blocked:
    """Maximum over `size` neighbouring positions without overlap; the first of equal ones has the gradient."""
    values: Tensor = _MaxPool.apply(x.values, size, engine)  # type: ignore[no-untyped-call]
    return Blocked(values, x.n_frames)


def fused_layer(x: Blocked, conv: Convolution, norm: nn.BatchNorm1d, activation: Activation, engine: Engine) -> Blocked:
    """quantizer(norm(conv(x))) and, with a residual, residual.quantizer(residual.summand + that); then max_pool.

    In training `norm` uses the batch's statistics and updates the running ones; in evaluation it uses the running ones.
    Raises ValueError where batch statistics have one value per channel, as torch does.
    """
    _check_tensors(x, conv, norm)
    residual = activation.residual
    layer = _LayerArguments(n_threads=engine.n_threads, pool_size=1 if residual else activation.pool_size)
    _set_geometry(layer, x, conv)
    _set_norm(layer, norm)
    layer.highest = activation.quantizer.highest
    layer.sum_highest = residual.quantizer.highest if residual else 0
    values: Tensor = _FusedLayer.apply(  # type: ignore[no-untyped-call]
        x.values,
        conv.weight,
        norm.weight,
        norm.bias,
        activation.quantizer.scale,
        residual.summand.values if residual else None,
        residual.quantizer.scale if residual else None,
        (norm.running_mean, norm.running_var),
        layer,
        engine,
        torch.is_grad_enabled(),
    )
    out = Blocked(values, x.n_frames)
    return max_pool(out, activation.pool_size, engine) if residual and activation.pool_size > 1 else out


def _check_tensors(x: Blocked, conv: Convolution, norm: nn.BatchNorm1d) -> None:
    """The native code is given addresses alone, so types and sizes are checked here."""
    if norm.momentum is None or norm.running_mean is None or norm.running_var is None or not norm.affine:
        raise ValueError("the batch norm has no momentum, running statistics or weights; expected all of them")
    tensors = (x.values, conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    if any(tensor.dtype != torch.float32 or tensor.device.type != "cpu" for tensor in tensors):
        raise ValueError("a tensor is not float32 on the CPU; expected all to be")
    n_blocks, in_channels, _, lanes = x.values.shape
    out_channels, weight_channels, _ = conv.weight.shape
    fits = (lanes, n_blocks) == (LANES, -(-x.n_frames // LANES)) and norm.num_features == out_channels
    if conv.is_depthwise:
        fits = fits and (weight_channels, out_channels) == (1, in_channels)
    if not fits or (weight_channels != in_channels and not conv.is_depthwise):
        raise ValueError(
            f"blocks {tuple(x.values.shape)} of {x.n_frames} frames, weights {tuple(conv.weight.shape)} "
            f"and a batch norm of {norm.num_features} channels do not fit together"
        )


class _LayerArguments(ctypes.Structure):
    """struct FusedLayer of native/layer.h, field by field."""

    _fields_ = (
        *((name, c_int64) for name in ("n_frames", "in_channels", "out_channels", "in_length", "out_length")),
        *((name, c_int64) for name in ("kernel_size", "stride", "padding", "pool_size")),
        *((name, c_int64) for name in ("is_depthwise", "is_training", "n_threads")),
        *((name, c_double) for name in ("momentum", "epsilon")),
        *((name, c_float) for name in ("scale", "highest", "sum_scale", "sum_highest")),
        *((name, c_void_p) for name in ("weight", "gamma", "beta", "running_mean", "running_variance")),
        *((name, c_void_p) for name in ("x", "summand", "z", "out", "mean", "inverse_deviation")),
        *((name, c_void_p) for name in ("out_gradient", "x_gradient", "summand_gradient")),
        *((name, c_void_p) for name in ("weight_gradient", "gamma_gradient", "beta_gradient")),
        *((name, c_double) for name in ("scale_gradient", "sum_scale_gradient")),
    )


def _set_geometry(layer: Any, x: Blocked, conv: Convolution) -> None:
    _, in_channels, in_length, _ = x.values.shape
    out_channels, _, kernel_size = conv.weight.shape
    stride, padding = conv.stride, conv.padding
    if in_length + 2 * padding < kernel_size:
        raise ValueError(f"kernel of {kernel_size} on {in_length} samples padded by {padding}; expected it to fit")
    layer.n_frames, layer.in_channels, layer.out_channels = x.n_frames, in_channels, out_channels
    layer.in_length, layer.out_length = in_length, (in_length + 2 * padding - kernel_size) // stride + 1
    layer.kernel_size, layer.stride, layer.padding = kernel_size, stride, padding
    layer.is_depthwise = conv.is_depthwise


def _set_norm(layer: Any, norm: nn.BatchNorm1d) -> None:
    layer.is_training, layer.momentum, layer.epsilon = norm.training, norm.momentum, norm.eps
    if not norm.training:
        return
    if layer.n_frames * layer.out_length == 1:
        raise ValueError("one frame of length 1 has no batch statistics; expected more than 1 value per channel")
    assert norm.num_batches_tracked is not None  # kept wherever running statistics are
    norm.num_batches_tracked.add_(1)


class _FusedLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        scale: Tensor | None,
        summand: Tensor | None,
        sum_scale: Tensor | None,
        running: tuple[Tensor, Tensor],
        layer: Any,
        engine: Engine,
        is_grad_enabled: bool,
    ) -> Tensor:
        x, weight, summand = x.contiguous(), weight.contiguous(), None if summand is None else summand.contiguous()
        shape = x.shape[0], layer.out_channels, layer.out_length, LANES
        assert summand is None or summand.shape == shape
        out = torch.empty(*shape[:2], layer.out_length // layer.pool_size, LANES, dtype=torch.float32)
        is_kept = layer.is_training or is_grad_enabled
        z = torch.empty(shape, dtype=torch.float32) if is_kept or layer.pool_size > 1 else out
        statistics = torch.empty(2, layer.out_channels, dtype=torch.float64)
        layer.scale, layer.sum_scale = (0.0 if s is None else s.item() for s in (scale, sum_scale))
        _point(layer, x=x, weight=weight, gamma=gamma, beta=beta, summand=summand, z=z, out=out)
        _point(layer, running_mean=running[0], running_variance=running[1])
        _point(layer, mean=statistics[0], inverse_deviation=statistics[1])
        _run(load_library(engine.instruction_set).layer_forward, layer)
        ctx.save_for_backward(x, weight, gamma, beta, summand, z, statistics)
        ctx.layer, ctx.engine = layer, engine
        ctx.scale_shapes = [None if s is None else s.shape for s in (scale, sum_scale)]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gamma, beta, summand, z, statistics = ctx.saved_tensors
        layer, out_gradient = ctx.layer, out_gradient.contiguous()
        x_gradient = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        summand_gradient = None if summand is None else torch.empty_like(summand)
        parameter_gradients = torch.empty_like(weight), torch.empty_like(gamma), torch.empty_like(beta)
        _point(layer, x=x, weight=weight, gamma=gamma, beta=beta, summand=summand, z=z)
        _point(layer, mean=statistics[0], inverse_deviation=statistics[1])
        _point(layer, out_gradient=out_gradient, x_gradient=x_gradient, summand_gradient=summand_gradient)
        names = ("weight_gradient", "gamma_gradient", "beta_gradient")
        _point(layer, **dict(zip(names, parameter_gradients, strict=True)))
        _run(load_library(ctx.engine.instruction_set).layer_backward, layer)
        scale_gradient, sum_scale_gradient = (
            None if shape is None else torch.full(shape, gradient)
            for shape, gradient in zip(ctx.scale_shapes, (layer.scale_gradient, layer.sum_scale_gradient), strict=True)
        )
        return x_gradient, *parameter_gradients, scale_gradient, summand_gradient, sum_scale_gradient, *[None] * 4


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


def _point(layer: Any, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        assert tensor is None or tensor.is_contiguous()
        setattr(layer, name, None if tensor is None else tensor.data_ptr())


def _run(function: Any, arguments: ctypes.Structure, *addresses: c_void_p) -> None:
    if function(ctypes.byref(arguments), *addresses):
        raise MemoryError("a fused layer had no memory, or no threads, left")
