"""Convolution, batch norm, ReLU and fake quantization as one native operation with gradients, on blocks of 16 frames.

The mathematics is that of `workers.layers` in training and evaluation. Frames are the lanes of SIMD registers, so a
`Blocked` tensor holds (blocks, channels, length, 16 frames).
"""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_float, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from workers.cpu.blocked_frames import FASTEST, LANES, Blocked, Engine, address_of
from workers.cpu.native_library import load_library


@dataclass(frozen=True)
class CodeRange:
    """ReLU, then the integers 0 to `highest` times `scale`; ReLU alone where `scale` is None."""

    scale: Tensor | None = None
    """One number, positive; has a gradient."""
    highest: int = 0


@dataclass(frozen=True)
class Residual:
    """What is added to a stage's quantized values, and the quantizer of the sum."""

    summand: Blocked
    quantizer: CodeRange


def max_pool(x: Blocked, size: int, engine: Engine = FASTEST) -> Blocked:
    """Maximum over `size` neighbouring positions without overlap; the first of equal ones has the gradient."""
    values: Tensor = _MaxPool.apply(x.values, size, engine)  # type: ignore[no-untyped-call]
    return Blocked(values, x.n_frames)


def fused_stage(
    x: Blocked,
    weight: Tensor,
    norm: nn.BatchNorm1d,
    quantizer: CodeRange,
    residual: Residual | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    is_depthwise: bool = False,
    pool_size: int = 1,
    engine: Engine = FASTEST,
) -> Blocked:
    """quantizer(norm(conv(x))) and, with a residual, residual.quantizer(residual.summand + that); then max_pool.

    `weight` is what inference sees, quantized: (out_channels, in_channels, kernel_size), or (channels, 1, kernel_size)
    where depthwise. `norm` works as its `training` says: with the batch's statistics, updating the running ones, or
    with the running ones. Raises ValueError where batch statistics have one value per channel, as torch does.
    """
    _check_tensors(x, weight, norm, is_depthwise)
    stage = _StageArguments()
    _set_geometry(stage, x, weight, stride, padding, is_depthwise)
    stage.n_threads = engine.n_threads
    stage.pool_size = 1 if residual else pool_size
    _set_norm(stage, norm)
    stage.highest = quantizer.highest
    stage.sum_highest = residual.quantizer.highest if residual else 0
    values: Tensor = _Stage.apply(  # type: ignore[no-untyped-call]
        x.values,
        weight,
        norm.weight,
        norm.bias,
        quantizer.scale,
        residual.summand.values if residual else None,
        residual.quantizer.scale if residual else None,
        (norm.running_mean, norm.running_var),
        stage,
        engine,
        torch.is_grad_enabled(),
    )
    out = Blocked(values, x.n_frames)
    return max_pool(out, pool_size, engine) if residual and pool_size > 1 else out


def _check_tensors(x: Blocked, weight: Tensor, norm: nn.BatchNorm1d, is_depthwise: bool) -> None:
    """What the native code is given as addresses must have the types and sizes it reads."""
    if norm.momentum is None or norm.running_mean is None or norm.running_var is None or not norm.affine:
        raise ValueError("the batch norm has no momentum, running statistics or weights; expected all of them")
    tensors = (x.values, weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    if any(tensor.dtype != torch.float32 or tensor.device.type != "cpu" for tensor in tensors):
        raise ValueError("a tensor is not float32 on the CPU; expected all to be")
    n_blocks, in_channels, _, lanes = x.values.shape
    out_channels, weight_channels, _ = weight.shape
    fits = (lanes, n_blocks) == (LANES, -(-x.n_frames // LANES)) and norm.num_features == out_channels
    if is_depthwise:
        fits = fits and (weight_channels, out_channels) == (1, in_channels)
    if not fits or (weight_channels != in_channels and not is_depthwise):
        raise ValueError(
            f"blocks {tuple(x.values.shape)} of {x.n_frames} frames, weights {tuple(weight.shape)} and a batch norm of "
            f"{norm.num_features} channels do not fit together"
        )


class _StageArguments(ctypes.Structure):
    """struct Stage of native/layer.h, field by field."""

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


def _set_geometry(stage: Any, x: Blocked, weight: Tensor, stride: int, padding: int, is_depthwise: bool) -> None:
    _, in_channels, in_length, _ = x.values.shape
    out_channels, _, kernel_size = weight.shape
    if in_length + 2 * padding < kernel_size:
        raise ValueError(f"kernel of {kernel_size} on {in_length} samples padded by {padding}; expected it to fit")
    stage.n_frames, stage.in_channels, stage.out_channels = x.n_frames, in_channels, out_channels
    stage.in_length, stage.out_length = in_length, (in_length + 2 * padding - kernel_size) // stride + 1
    stage.kernel_size, stage.stride, stage.padding, stage.is_depthwise = kernel_size, stride, padding, is_depthwise


def _set_norm(stage: Any, norm: nn.BatchNorm1d) -> None:
    stage.is_training, stage.momentum, stage.epsilon = norm.training, norm.momentum, norm.eps
    if not norm.training:
        return
    if stage.n_frames * stage.out_length == 1:
        raise ValueError("one frame of length 1 has no batch statistics; expected more than 1 value per channel")
    assert norm.num_batches_tracked is not None  # kept wherever running statistics are
    norm.num_batches_tracked.add_(1)


class _Stage(torch.autograd.Function):
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
        stage: Any,
        engine: Engine,
        is_grad_enabled: bool,
    ) -> Tensor:
        x, weight, summand = x.contiguous(), weight.contiguous(), None if summand is None else summand.contiguous()
        shape = x.shape[0], stage.out_channels, stage.out_length, LANES
        assert summand is None or summand.shape == shape
        out = torch.empty(*shape[:2], stage.out_length // stage.pool_size, LANES, dtype=torch.float32)
        is_kept = stage.is_training or is_grad_enabled
        z = torch.empty(shape, dtype=torch.float32) if is_kept or stage.pool_size > 1 else out
        statistics = torch.empty(2, stage.out_channels, dtype=torch.float64)
        stage.scale, stage.sum_scale = (0.0 if s is None else s.item() for s in (scale, sum_scale))
        _point(stage, x=x, weight=weight, gamma=gamma, beta=beta, summand=summand, z=z, out=out)
        _point(stage, running_mean=running[0], running_variance=running[1])
        _point(stage, mean=statistics[0], inverse_deviation=statistics[1])
        _run(load_library(engine.instruction_set).stage_forward, stage)
        ctx.save_for_backward(x, weight, gamma, beta, summand, z, statistics)
        ctx.stage, ctx.engine = stage, engine
        ctx.scale_shapes = [None if s is None else s.shape for s in (scale, sum_scale)]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, out_gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gamma, beta, summand, z, statistics = ctx.saved_tensors
        stage, out_gradient = ctx.stage, out_gradient.contiguous()
        x_gradient = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        summand_gradient = None if summand is None else torch.empty_like(summand)
        parameter_gradients = torch.empty_like(weight), torch.empty_like(gamma), torch.empty_like(beta)
        _point(stage, x=x, weight=weight, gamma=gamma, beta=beta, summand=summand, z=z)
        _point(stage, mean=statistics[0], inverse_deviation=statistics[1])
        _point(stage, out_gradient=out_gradient, x_gradient=x_gradient, summand_gradient=summand_gradient)
        names = ("weight_gradient", "gamma_gradient", "beta_gradient")
        _point(stage, **dict(zip(names, parameter_gradients, strict=True)))
        _run(load_library(ctx.engine.instruction_set).stage_backward, stage)
        scale_gradient, sum_scale_gradient = (
            None if shape is None else torch.full(shape, gradient)
            for shape, gradient in zip(ctx.scale_shapes, (stage.scale_gradient, stage.sum_scale_gradient), strict=True)
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


def _point(stage: Any, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        assert tensor is None or tensor.is_contiguous()
        setattr(stage, name, None if tensor is None else tensor.data_ptr())


def _run(function: Any, arguments: ctypes.Structure, *addresses: c_void_p) -> None:
    if function(ctypes.byref(arguments), *addresses):
        raise MemoryError("a fused stage had no memory, or no threads, left")
