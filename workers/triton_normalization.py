"""What happens to each value of a stage behind its convolution on a GPU, forward and backward, in Triton.

Batch norm, ReLU, fake quantization and the residual sum; tensors and tiles as in `workers.triton_convolutions`.
"""
# ruff: noqa: ANN001, ANN201, ANN202

import triton
import triton.language as tl


@triton.jit
def finish_statistics(
    tile_mean, tile_deviation, mean, inverse_deviation, running_mean, running_variance,
    n_positions, n_tiles, momentum, epsilon, TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """From the tiles' statistics those of the batch, in double precision; moves the running ones.

    T. Chan, G. Golub, R. LeVeque, "Algorithms for computing the sample variance", The American Statistician 37, 1983.
    """
    channel = tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float64)
    for first in range(0, n_tiles, BLOCK):
        tile = first + tl.arange(0, BLOCK)
        count = tl.minimum(n_positions - tile * TILE, TILE)
        of_tile = tl.load(tile_mean + channel * n_tiles + tile, mask=tile < n_tiles, other=0.0).to(tl.float64)
        total += tl.where(tile < n_tiles, of_tile * count, 0.0)
    n = n_positions.to(tl.float64)
    batch_mean = tl.sum(total, 0) / n
    squares = tl.zeros((BLOCK,), tl.float64)
    for first in range(0, n_tiles, BLOCK):
        tile = first + tl.arange(0, BLOCK)
        count = tl.minimum(n_positions - tile * TILE, TILE)
        of_tile = tl.load(tile_mean + channel * n_tiles + tile, mask=tile < n_tiles, other=0.0).to(tl.float64)
        within = tl.load(tile_deviation + channel * n_tiles + tile, mask=tile < n_tiles, other=0.0).to(tl.float64)
        between = (of_tile - batch_mean) * (of_tile - batch_mean) * count
        squares += tl.where(tile < n_tiles, within + between, 0.0)
    variance = tl.sum(squares, 0) / n
    tl.store(mean + channel, batch_mean)
    tl.store(inverse_deviation + channel, 1.0 / tl.sqrt(variance + epsilon))
    old_mean, old_variance = tl.load(running_mean + channel), tl.load(running_variance + channel)
    tl.store(running_mean + channel, (old_mean + momentum * (batch_mean - old_mean)).to(tl.float32))
    unbiased = variance * n / (n - 1.0)
    tl.store(running_variance + channel, (old_variance + momentum * (unbiased - old_variance)).to(tl.float32))


@triton.jit
def normalize_and_quantize(
    z, summand, out, gamma, beta, mean, inverse_deviation, scale, sum_scale, highest, sum_highest, n_positions,
    CHANNELS: tl.constexpr, LENGTH: tl.constexpr, IS_QUANTIZED: tl.constexpr, HAS_SUMMAND: tl.constexpr,
    IS_SUM_QUANTIZED: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Batch norm and quantizer, then the sum with `summand` and its quantizer."""
    channel = tl.program_id(1)
    p = tl.program_id(0) * TILE + tl.arange(0, TILE)
    at, is_position = (p // LENGTH * CHANNELS + channel) * LENGTH + p % LENGTH, p < n_positions
    slope, shift = _load_norm(gamma, beta, mean, inverse_deviation, channel)
    normalized = tl.load(z + at, mask=is_position, other=0.0) * slope + shift
    values = _quantize(normalized, scale, highest, IS_QUANTIZED)
    if HAS_SUMMAND:
        total = tl.load(summand + at, mask=is_position, other=0.0) + values
        values = _quantize(total, sum_scale, sum_highest, IS_SUM_QUANTIZED)
    tl.store(out + at, values, mask=is_position)


@triton.jit
def sum_gradients(
    z, summand, out_gradient, summand_gradient, sums, gamma, beta, mean, inverse_deviation,
    scale, sum_scale, highest, sum_highest, n_positions, n_tiles,
    CHANNELS: tl.constexpr, LENGTH: tl.constexpr, IS_QUANTIZED: tl.constexpr, HAS_SUMMAND: tl.constexpr,
    IS_SUM_QUANTIZED: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """What the gradients of beta, gamma and both scales are sums of, per tile: `sums` (4, channels, tiles); and the
    summand's gradient."""
    tile, channel = tl.program_id(0), tl.program_id(1)
    p = tile * TILE + tl.arange(0, TILE)
    at, is_position = (p // LENGTH * CHANNELS + channel) * LENGTH + p % LENGTH, p < n_positions
    slope, shift = _load_norm(gamma, beta, mean, inverse_deviation, channel)
    inputs = tl.load(z + at, mask=is_position, other=0.0)
    gradient = tl.load(out_gradient + at, mask=is_position, other=0.0)
    normalized = inputs * slope + shift
    to = channel * n_tiles + tile
    step: tl.constexpr = CHANNELS
    if HAS_SUMMAND:
        values = _quantize(normalized, scale, highest, IS_QUANTIZED)
        total = tl.load(summand + at, mask=is_position, other=0.0) + values
        gradient, of_sum_scale = _quantize_backward(total, gradient, sum_scale, sum_highest, IS_SUM_QUANTIZED)
        tl.store(summand_gradient + at, gradient, mask=is_position)
        tl.store(sums + 3 * step * n_tiles + to, tl.sum(of_sum_scale, 0))
    gradient, of_scale = _quantize_backward(normalized, gradient, scale, highest, IS_QUANTIZED)
    centered = (inputs - tl.load(mean + channel).to(tl.float32)) * tl.load(inverse_deviation + channel).to(tl.float32)
    tl.store(sums + to, tl.sum(gradient, 0))
    tl.store(sums + step * n_tiles + to, tl.sum(gradient * centered, 0))
    tl.store(sums + 2 * step * n_tiles + to, tl.sum(of_scale, 0))


@triton.jit
def differentiate_norm(
    z, gradient, z_gradient, totals, gamma, beta, mean, inverse_deviation, scale, highest, n_positions,
    CHANNELS: tl.constexpr, LENGTH: tl.constexpr, IS_QUANTIZED: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The gradient of z from that of the quantized values; `totals` (4, channels) are the tiles' sums, added up.

    Written to memory: each value is read by as many taps and channels as the convolution has.
    """
    channel = tl.program_id(1)
    p = tl.program_id(0) * TILE + tl.arange(0, TILE)
    at, is_position = (p // LENGTH * CHANNELS + channel) * LENGTH + p % LENGTH, p < n_positions
    slope, shift = _load_norm(gamma, beta, mean, inverse_deviation, channel)
    inputs = tl.load(z + at, mask=is_position, other=0.0)
    incoming = tl.load(gradient + at, mask=is_position, other=0.0)
    passed, _ = _quantize_backward(inputs * slope + shift, incoming, scale, highest, IS_QUANTIZED)
    factor = tl.load(gamma + channel) * tl.load(inverse_deviation + channel) / n_positions  # double precision
    of_z = -factor * tl.load(inverse_deviation + channel) * tl.load(totals + CHANNELS + channel)
    constant = -factor * tl.load(totals + channel) - of_z * tl.load(mean + channel)
    values = passed * slope + (inputs * of_z.to(tl.float32) + constant.to(tl.float32))
    tl.store(z_gradient + at, values, mask=is_position)


@triton.jit
def _load_norm(gamma, beta, mean, inverse_deviation, channel):
    """The batch norm of a channel as slope and shift; computed in double precision."""
    slope = tl.load(gamma + channel) * tl.load(inverse_deviation + channel)
    shift = tl.load(beta + channel) - tl.load(mean + channel) * slope
    return slope.to(tl.float32), shift.to(tl.float32)


@triton.jit
def _quantize(a, scale, highest, IS_QUANTIZED: tl.constexpr):
    """ReLU, then min(round_half_even(a / scale), highest) * scale; `scale` points to one number."""
    values = tl.where(a < 0.0, 0.0, a)
    if IS_QUANTIZED:
        step = tl.load(scale)
        values = _minimum(_round_half_even(tl.div_rn(values, step), highest), highest) * step
    return values


@triton.jit
def _quantize_backward(a, gradient, scale, highest, IS_QUANTIZED: tl.constexpr):
    """The gradients of `a` and, element by element, of the scale: rounding passes them, the clamp stops them."""
    of_scale = tl.zeros_like(gradient)
    is_stopped = a <= 0.0
    if IS_QUANTIZED:
        steps = tl.div_rn(tl.where(a < 0.0, 0.0, a), tl.load(scale))
        code = _round_half_even(steps, highest)
        of_scale = gradient * tl.where(code > highest, highest, code - steps)
        is_stopped = is_stopped | (code > highest)
    return tl.where(is_stopped, 0.0, gradient), of_scale


@triton.jit
def _round_half_even(a, highest):
    """Of 0 <= a, as far as highest + 1: adding 1.5 * 2**23 leaves no bits for a fraction."""
    return (_minimum(a, highest + 1.0) + 12582912.0) - 12582912.0


@triton.jit
def _minimum(a, b):
    """What is no number stays so, that a diverged training is seen."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)
