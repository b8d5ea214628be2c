"""Convolutions of a stage on a GPU, forward and backward, in Triton.

Tensors of frames are (batch, channels, length) float32. A kernel's tile is a run of positions, counted through all
frames: position p lies in frame p // length. Nothing is added up by atomics, so results repeat bit for bit.
`triton.jit` reads annotations as objects, so there is no `from __future__ import annotations` here.
"""
# ruff: noqa: ANN001, ANN201

import triton
import triton.language as tl


@triton.jit
def convolve_depthwise(
    x, weight, z, tile_mean, tile_deviation, n_positions, n_tiles,
    CHANNELS: tl.constexpr, IN_LENGTH: tl.constexpr, OUT_LENGTH: tl.constexpr,
    KERNEL_SIZE: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Each channel by itself; and per tile and channel, the mean and the sum of squared deviations from it."""
    tile, channel = tl.program_id(0), tl.program_id(1)
    p = tile * TILE + tl.arange(0, TILE)
    is_position = p < n_positions
    row, position = p // OUT_LENGTH * CHANNELS + channel, p % OUT_LENGTH
    sums = tl.zeros((TILE,), tl.float32)
    for tap in tl.static_range(KERNEL_SIZE):
        at = position * STRIDE + tap - PADDING
        values = tl.load(x + row * IN_LENGTH + at, mask=is_position & (at >= 0) & (at < IN_LENGTH), other=0.0)
        sums += values * tl.load(weight + channel * KERNEL_SIZE + tap)
    tl.store(z + row * OUT_LENGTH + position, sums, mask=is_position)
    count = tl.minimum(n_positions - tile * TILE, TILE)
    mean = tl.sum(sums, 0) / count  # beyond the last position, sums are zero
    deviations = tl.where(is_position, sums - mean, 0.0)
    tl.store(tile_mean + channel * n_tiles + tile, mean)
    tl.store(tile_deviation + channel * n_tiles + tile, tl.sum(deviations * deviations, 0))


@triton.jit
def convolve_dense(
    x, weight, z, tile_mean, tile_deviation, n_positions, n_tiles,
    IN_CHANNELS: tl.constexpr, OUT_CHANNELS: tl.constexpr, IN_LENGTH: tl.constexpr, OUT_LENGTH: tl.constexpr,
    KERNEL_SIZE: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr,
    TILE: tl.constexpr, CHANNEL_TILE: tl.constexpr, TAP_TILE: tl.constexpr,
):  # fmt: skip
    """Over all input channels: weights times windows, (channel, tap) being one index; statistics as above."""
    tile = tl.program_id(0)
    p = tile * TILE + tl.arange(0, TILE)
    channel = tl.program_id(1) * CHANNEL_TILE + tl.arange(0, CHANNEL_TILE)
    is_position, is_channel = p < n_positions, channel < OUT_CHANNELS
    n_taps: tl.constexpr = IN_CHANNELS * KERNEL_SIZE
    sums = tl.zeros((CHANNEL_TILE, TILE), tl.float32)
    for first in range(0, n_taps, TAP_TILE):
        tap = first + tl.arange(0, TAP_TILE)
        at = (p % OUT_LENGTH * STRIDE - PADDING)[None, :] + (tap % KERNEL_SIZE)[:, None]
        row = (p // OUT_LENGTH * IN_CHANNELS)[None, :] + (tap // KERNEL_SIZE)[:, None]
        is_input = (tap < n_taps)[:, None] & is_position[None, :] & (at >= 0) & (at < IN_LENGTH)
        windows = tl.load(x + row * IN_LENGTH + at, mask=is_input, other=0.0)  # (TAP_TILE, TILE)
        is_weight = is_channel[:, None] & (tap < n_taps)[None, :]
        weights = tl.load(weight + channel[:, None] * n_taps + tap[None, :], mask=is_weight, other=0.0)
        sums = tl.dot(weights, windows, sums, input_precision="ieee")
    row = (p // OUT_LENGTH * OUT_CHANNELS)[None, :] + channel[:, None]
    at = row * OUT_LENGTH + (p % OUT_LENGTH)[None, :]
    tl.store(z + at, sums, mask=is_channel[:, None] & is_position[None, :])
    mean = tl.sum(sums, 1) / tl.minimum(n_positions - tile * TILE, TILE)
    deviations = tl.where(is_position[None, :], sums - mean[:, None], 0.0)
    tl.store(tile_mean + channel * n_tiles + tile, mean, mask=is_channel)
    tl.store(tile_deviation + channel * n_tiles + tile, tl.sum(deviations * deviations, 1), mask=is_channel)


@triton.jit
def differentiate_depthwise_input(
    z_gradient, weight, x_gradient, n_positions,
    CHANNELS: tl.constexpr, IN_LENGTH: tl.constexpr, OUT_LENGTH: tl.constexpr,
    KERNEL_SIZE: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(1)
    p = tl.program_id(0) * TILE + tl.arange(0, TILE)  # positions of the input
    row, is_position = p // IN_LENGTH * CHANNELS + channel, p < n_positions
    sums = tl.zeros((TILE,), tl.float32)
    for tap in tl.static_range(KERNEL_SIZE):
        shifted = p % IN_LENGTH + (PADDING - tap)
        at = shifted // STRIDE
        is_read = is_position & (shifted >= 0) & (shifted % STRIDE == 0) & (at < OUT_LENGTH)
        values = tl.load(z_gradient + row * OUT_LENGTH + at, mask=is_read, other=0.0)
        sums += values * tl.load(weight + channel * KERNEL_SIZE + tap)
    tl.store(x_gradient + row * IN_LENGTH + p % IN_LENGTH, sums, mask=is_position)


@triton.jit
def differentiate_depthwise_weight(
    z_gradient, x, partial, n_positions, tiles_per_split,
    CHANNELS: tl.constexpr, IN_LENGTH: tl.constexpr, OUT_LENGTH: tl.constexpr,
    KERNEL_SIZE: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr,
    TILE: tl.constexpr, TAP_TILE: tl.constexpr,
):  # fmt: skip
    """`partial` (splits, channels, taps): the sums over the tiles of each split."""
    split, channel = tl.program_id(0), tl.program_id(1)
    tap = tl.arange(0, TAP_TILE)
    sums = tl.zeros((TAP_TILE, TILE), tl.float32)
    for tile in range(split * tiles_per_split, (split + 1) * tiles_per_split):
        p = tile * TILE + tl.arange(0, TILE)
        row, is_position = p // OUT_LENGTH * CHANNELS + channel, p < n_positions
        gradient = tl.load(z_gradient + row * OUT_LENGTH + p % OUT_LENGTH, mask=is_position, other=0.0)
        at = (p % OUT_LENGTH * STRIDE - PADDING)[None, :] + tap[:, None]
        is_input = (tap < KERNEL_SIZE)[:, None] & is_position[None, :] & (at >= 0) & (at < IN_LENGTH)
        sums += gradient[None, :] * tl.load(x + row[None, :] * IN_LENGTH + at, mask=is_input, other=0.0)
    to = (split * CHANNELS + channel) * KERNEL_SIZE + tap
    tl.store(partial + to, tl.sum(sums, 1), mask=tap < KERNEL_SIZE)


@triton.jit
def differentiate_dense_input(
    z_gradient, weight, x_gradient, n_positions,
    IN_CHANNELS: tl.constexpr, OUT_CHANNELS: tl.constexpr, IN_LENGTH: tl.constexpr, OUT_LENGTH: tl.constexpr,
    KERNEL_SIZE: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr,
    TILE: tl.constexpr, CHANNEL_TILE: tl.constexpr, TAP_TILE: tl.constexpr,
):  # fmt: skip
    p = tl.program_id(0) * TILE + tl.arange(0, TILE)  # positions of the input
    channel = tl.program_id(1) * CHANNEL_TILE + tl.arange(0, CHANNEL_TILE)
    is_position, is_channel = p < n_positions, channel < IN_CHANNELS
    n_taps: tl.constexpr = OUT_CHANNELS * KERNEL_SIZE
    sums = tl.zeros((CHANNEL_TILE, TILE), tl.float32)
    for first in range(0, n_taps, TAP_TILE):
        tap = first + tl.arange(0, TAP_TILE)
        shifted = (p % IN_LENGTH + PADDING)[None, :] - (tap % KERNEL_SIZE)[:, None]
        at = shifted // STRIDE
        row = (p // IN_LENGTH * OUT_CHANNELS)[None, :] + (tap // KERNEL_SIZE)[:, None]
        is_read = (shifted >= 0) & (shifted % STRIDE == 0) & (at < OUT_LENGTH)
        is_read = is_read & (tap < n_taps)[:, None] & is_position[None, :]
        gradients = tl.load(z_gradient + row * OUT_LENGTH + at, mask=is_read, other=0.0)  # (TAP_TILE, TILE)
        weight_at = (tap // KERNEL_SIZE * IN_CHANNELS)[None, :] + channel[:, None]
        weight_at = weight_at * KERNEL_SIZE + (tap % KERNEL_SIZE)[None, :]
        weights = tl.load(weight + weight_at, mask=is_channel[:, None] & (tap < n_taps)[None, :], other=0.0)
        sums = tl.dot(weights, gradients, sums, input_precision="ieee")
    row = (p // IN_LENGTH * IN_CHANNELS)[None, :] + channel[:, None]
    at = row * IN_LENGTH + (p % IN_LENGTH)[None, :]
    tl.store(x_gradient + at, sums, mask=is_channel[:, None] & is_position[None, :])


@triton.jit
def differentiate_dense_weight(
    z_gradient, x, partial, n_positions, tiles_per_split,
    IN_CHANNELS: tl.constexpr, OUT_CHANNELS: tl.constexpr, IN_LENGTH: tl.constexpr, OUT_LENGTH: tl.constexpr,
    KERNEL_SIZE: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr,
    TILE: tl.constexpr, CHANNEL_TILE: tl.constexpr, TAP_TILE: tl.constexpr,
):  # fmt: skip
    """`partial` (splits, out_channels, in_channels * taps): the sums over the tiles of each split."""
    split = tl.program_id(0)
    channel = tl.program_id(1) * CHANNEL_TILE + tl.arange(0, CHANNEL_TILE)
    tap = tl.program_id(2) * TAP_TILE + tl.arange(0, TAP_TILE)
    n_taps: tl.constexpr = IN_CHANNELS * KERNEL_SIZE
    is_channel, is_tap = channel < OUT_CHANNELS, tap < n_taps
    sums = tl.zeros((CHANNEL_TILE, TAP_TILE), tl.float32)
    for tile in range(split * tiles_per_split, (split + 1) * tiles_per_split):
        p = tile * TILE + tl.arange(0, TILE)
        frame, position, is_position = p // OUT_LENGTH, p % OUT_LENGTH, p < n_positions
        row = (frame * OUT_CHANNELS)[None, :] + channel[:, None]
        is_read = is_channel[:, None] & is_position[None, :]
        gradients = tl.load(z_gradient + row * OUT_LENGTH + position[None, :], mask=is_read, other=0.0)
        at = (position * STRIDE - PADDING)[:, None] + (tap % KERNEL_SIZE)[None, :]
        row = (frame * IN_CHANNELS)[:, None] + (tap // KERNEL_SIZE)[None, :]
        is_input = is_position[:, None] & is_tap[None, :] & (at >= 0) & (at < IN_LENGTH)
        windows = tl.load(x + row * IN_LENGTH + at, mask=is_input, other=0.0)  # (TILE, TAP_TILE)
        sums = tl.dot(gradients, windows, sums, input_precision="ieee")
    to = (split * OUT_CHANNELS + channel)[:, None] * n_taps + tap[None, :]
    tl.store(partial + to, sums, mask=is_channel[:, None] & is_tap[None, :])
