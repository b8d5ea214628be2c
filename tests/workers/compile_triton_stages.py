"""Compiles the kernels of a stage for a GPU that need not be there; prints each kernel's name and shared memory.

A script: Triton decides when it is imported whether kernels are compiled or interpreted.
Usage: python -m tests.workers.compile_triton_stages COMPUTE_CAPABILITY, as 90.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import triton
from torch import nn
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from workers.triton_stages import DeviceCodeRange, DeviceResidual, triton_stage

TYPES = {torch.float32: "*fp32", torch.float64: "*fp64", int: "i32", float: "fp32"}


def main() -> None:
    target = GPUTarget("cuda", int(sys.argv[1]), 32)
    JITFunction.run = lambda kernel, *args, grid, warmup, **constants: compile_kernel(kernel, args, constants, target)
    for kernel_size, stride, has_residual, is_depthwise in (
        (21, 2, False, True),
        (9, 1, True, True),
        (1, 1, True, False),
        (3, 1, False, False),
    ):
        run_stage(kernel_size, stride, has_residual, is_depthwise)


def run_stage(kernel_size: int, stride: int, has_residual: bool, is_depthwise: bool) -> None:
    """Forward and backward; tensors of the meta device have no values, so nothing can have waited for one."""
    torch.set_default_device("meta")
    x = torch.zeros(4, 24, 64, requires_grad=True)
    weight = torch.zeros(24, 1 if is_depthwise else 24, kernel_size, requires_grad=True)
    quantizer = DeviceCodeRange(torch.tensor(0.1, requires_grad=True), 63)
    residual = DeviceResidual(torch.zeros(4, 24, 64, requires_grad=True), quantizer) if has_residual else None
    out = triton_stage(
        x,
        weight,
        nn.BatchNorm1d(24),
        quantizer,
        residual,
        stride=stride,
        padding=kernel_size // 2,
        is_depthwise=is_depthwise,
    )
    torch.autograd.backward(out, torch.zeros_like(out))


def compile_kernel(kernel: Any, args: tuple[Any, ...], constants: dict[str, Any], target: GPUTarget) -> None:
    given = dict(zip(kernel.arg_names, args, strict=False)) | constants
    assert given.keys() == set(kernel.arg_names), "a launch gives every argument"
    kinds = {name: "constexpr" if is_constant(kernel, name, value) else kind_of(value) for name, value in given.items()}
    constexprs = {(kernel.arg_names.index(name),): given[name] for name in given if kinds[name] == "constexpr"}
    compiled = triton.compile(ASTSource(kernel, kinds, constexprs), target=target)
    print(kernel.__name__, compiled.metadata.shared)


def is_constant(kernel: Any, name: str, value: Any) -> bool:
    """As at a launch: what is declared constant, and integers that are 1."""
    return kernel.params[kernel.arg_names.index(name)].is_constexpr or (type(value) is int and value == 1)


def kind_of(value: Any) -> str:
    return TYPES[value.dtype if isinstance(value, torch.Tensor) else type(value)]


if __name__ == "__main__":
    main()
