"""The fast execution of a network's stages in native code: each convolution with what follows it, as one operation."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from workers.cpu.blocked_frames import FASTEST, Blocked, Engine, from_blocked, to_blocked
from workers.cpu.native_layers import CodeRange, Residual, fused_stage, max_pool
from workers.functional_quantizers import ActivationQuantizer
from workers.fused_layers import ConvChain, ConvStage, InputStage, LinearStage, PoolStage, Stage


def run_native(stages: tuple[Stage, ...], frames: Tensor | Blocked, engine: Engine = FASTEST) -> Tensor:
    """Class scores (batch, n_classes), with gradients to the parameters.

    `frames` are float32 samples (batch, in_channels, frame_length), or, in blocks, what the input quantizer makes of
    them.
    """
    x, quantizer = frames, None
    for stage, pool_size in _join_pools(stages):
        match stage:
            case InputStage():
                x, quantizer = x if isinstance(x, Blocked) else stage.quantizer(x), stage.quantizer
            case ConvChain():
                x = _run_chain(stage, _as_blocks(x), quantizer, pool_size, engine)
                quantizer = stage.stages[-1].quantizer
            case PoolStage():
                x = max_pool(_as_blocks(x), stage.size, engine)
            case LinearStage():
                x = _run_linear(stage, _as_features(x))
    return _as_features(x)


def _join_pools(stages: tuple[Stage, ...]) -> Iterator[tuple[Stage, int]]:
    """Each stage with the size of the one pool that all pools directly behind a convolution are."""
    remaining = list(stages)
    while remaining:
        stage, pool_size = remaining.pop(0), 1
        while isinstance(stage, ConvChain) and remaining and isinstance(remaining[0], PoolStage):
            pool = remaining.pop(0)
            assert isinstance(pool, PoolStage)
            pool_size *= pool.size
        yield stage, pool_size


def _as_blocks(x: Tensor | Blocked) -> Blocked:
    return x if isinstance(x, Blocked) else to_blocked(x)


def _as_features(x: Tensor | Blocked) -> Tensor:
    """(batch, features)."""
    return (from_blocked(x) if isinstance(x, Blocked) else x).flatten(1)


def _run_chain(
    chain: ConvChain, x: Blocked, input_quantizer: ActivationQuantizer | None, pool_size: int, engine: Engine
) -> Blocked:
    y = x
    for stage in chain.stages[:-1]:
        y = _run_conv(stage, y, stage.quantizer, None, 1, engine)
    last = chain.stages[-1]
    if not chain.is_residual:
        return _run_conv(last, y, last.quantizer, None, pool_size, engine)
    assert input_quantizer is not None
    return _run_conv(last, y, input_quantizer, Residual(x, _code_range(last.quantizer)), pool_size, engine)


def _run_conv(
    stage: ConvStage,
    x: Blocked,
    quantizer: ActivationQuantizer,
    residual: Residual | None,
    pool_size: int,
    engine: Engine,
) -> Blocked:
    conv = stage.conv
    return fused_stage(
        x,
        stage.weight(),
        stage.norm,
        _code_range(quantizer),
        residual,
        stride=conv.stride[0],
        padding=int(conv.padding[0]),
        is_depthwise=conv.groups > 1,
        pool_size=pool_size,
        engine=engine,
    )


def _code_range(quantizer: ActivationQuantizer) -> CodeRange:
    return CodeRange() if quantizer.integers is None else CodeRange(quantizer.scale, quantizer.integers.highest)


def _run_linear(stage: LinearStage, x: Tensor) -> Tensor:
    y = F.linear(x, stage.weight())
    if stage.norm is None or stage.quantizer is None:
        return y
    return stage.quantizer(_normalize(stage.norm, y))


def _normalize(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    y: Tensor = norm(x)
    return y
