// The convolution of a stage, forward and backward, block by block of frames.
#pragma once

#include <algorithm>

#include "dense.h"
#include "depthwise.h"
#include "parallel.h"
#include "layer.h"

constexpr int64_t FORWARD_CACHE_VECTORS = 2048;    // of packed input: 128 KB
constexpr int64_t BACKWARD_CACHE_VECTORS = 16384;  // of packed input and gradient: 1 MB, half of a level-2 cache
constexpr int64_t LONGEST_TILE = 96;               // positions; longer ones were slower, measured with 2 to 64 channels

inline OutputRows rows_of_z(const Stage& s, int64_t block, float* statistics) {
    bool is_streamed = s.is_training && s.is_convolution_streamed(s.z_block());
    return {s.z + block * s.z_block(), s.out_length * LANES, LANES, is_streamed, statistics};
}

inline void clear_statistics(const OutputRows& z, int64_t n_rows) {
    if (z.statistics) std::fill_n(z.statistics, n_rows * 2 * LANES, 0.0f);
}

inline void add_statistics(const OutputRows& z, Statistics* of_rows, int64_t n_rows) {
    for (int64_t row = 0; z.statistics && row < n_rows; ++row) {
        of_rows[row].sum += sum_block_lanes(z.statistics + row * 2 * LANES);
        of_rows[row].sum_of_squares += sum_block_lanes(z.statistics + (row * 2 + 1) * LANES);
    }
}

// Adds the statistics of z to those of its channels where they are wanted, that is not null.
inline void convolve_dense(const Stage& s, int64_t block, const float* packed_weight, Statistics* of_channels) {
    thread_local Scratch scratch, statistics_scratch;
    int64_t fitting = FORWARD_CACHE_VECTORS / (s.in_channels * s.stride) / TILE_POSITIONS;
    int64_t tile = TILE_POSITIONS * std::max<int64_t>(4, fitting);
    tile = std::min(tile, round_up(s.out_length, TILE_POSITIONS));
    int64_t row = (tile - 1) * s.stride + s.kernel_size;
    float* packed = scratch.reserve(s.in_channels * row * LANES);
    float* statistics = of_channels ? statistics_scratch.reserve(s.out_channels * 2 * LANES) : nullptr;
    const float* x = s.x + block * s.in_block();
    OutputRows z = rows_of_z(s, block, statistics);
    for (int64_t first = 0; first < s.out_length; first += tile, z.start += tile * LANES) {
        for (int64_t i = 0; i < s.in_channels; ++i)
            copy_positions(packed + i * row * LANES, x + i * s.in_length * LANES, s.in_length,
                           first * s.stride - s.padding, 1, row);
        clear_statistics(z, s.out_channels);
        multiply_rows({packed, row * LANES, s.stride * LANES}, s.in_channels, s.kernel_size, packed_weight, z,
                      s.out_channels, std::min(tile, s.out_length - first));
        add_statistics(z, of_channels, s.out_channels);
    }
}

// Every stride-th position of a channel's row, one row for each phase, zeros around it; sets the phases' x.
inline void pack_phases(const Stage& s, const float* x, float* packed, int64_t row, Phase* phases) {
    for (int64_t r = 0; r < s.stride; ++r) {
        copy_positions(packed + r * row * LANES, x, s.in_length, r - s.padding, s.stride, row);
        phases[r].x = packed + r * row * LANES;
        phases[r].n_taps = s.taps_of_phase(r);
    }
}

inline void convolve_depthwise(const Stage& s, int64_t block, Statistics* of_channels) {
    thread_local Scratch scratch, weight_scratch;
    int64_t longest = s.taps_of_phase(0), row = round_up(s.out_length, 4) + longest;
    float* packed = scratch.reserve(s.stride * row * LANES);
    float* weight = weight_scratch.reserve(s.stride * longest);
    std::vector<Phase> phases(s.stride);
    float statistics[2 * LANES];
    OutputRows z = rows_of_z(s, block, of_channels ? statistics : nullptr);
    for (int64_t c = 0; c < s.in_channels; ++c, z.start += z.row) {
        pack_phases(s, s.x + block * s.in_block() + c * s.in_length * LANES, packed, row, phases.data());
        for (int64_t tap = 0; tap < s.kernel_size; ++tap)
            weight[tap % s.stride * longest + tap / s.stride] = s.weight[c * s.kernel_size + tap];
        for (int64_t r = 0; r < s.stride; ++r) phases[r].weight = weight + r * longest;
        clear_statistics(z, 1);
        filter_row(phases.data(), s.stride, z, s.out_length);
        add_statistics(z, of_channels + c, 1);
    }
}

// Input positions of one phase among steps [first, last), and where their gradients are written.
struct InputSteps {
    int64_t first, last, position;
    InputSteps(const Stage& s, int64_t phase, int64_t from, int64_t to) {
        first = std::max({from, int64_t{0}, floor_divide(s.padding - phase + s.stride - 1, s.stride)});
        last = std::max(first, std::min(to, floor_divide(s.in_length - 1 + s.padding - phase, s.stride) + 1));
        position = first * s.stride + phase - s.padding;
    }
};

// Writes the gradients of z at positions [first, first + n) of a channel, zeros where there are none.
template <class GradientRow>
inline void write_z_gradient(const Stage& s, int64_t first, int64_t n, float* to, GradientRow gradient_row) {
    int64_t begin = std::clamp<int64_t>(first, 0, s.out_length), end = std::clamp<int64_t>(first + n, begin, s.out_length);
    int64_t before = std::min(n, begin - first);
    std::fill_n(to, before * LANES, 0.0f);
    if (end > begin) gradient_row(begin, end - begin, to + before * LANES);
    int64_t done = before + (end - begin);
    std::fill_n(to + done * LANES, (n - done) * LANES, 0.0f);
}

// How the backward of a dense convolution is cut: tiles of one block's steps, or several short blocks at once.
struct DenseTiling {
    int64_t n_steps, tile, n_blocks, halo, x_row, dz_row;
    explicit DenseTiling(const Stage& s) {
        n_steps = std::max(s.n_input_steps(), s.out_length);
        int64_t fitting = BACKWARD_CACHE_VECTORS / (s.in_channels * s.stride + s.out_channels);
        fitting = std::clamp<int64_t>(fitting / TILE_POSITIONS * TILE_POSITIONS, 4 * TILE_POSITIONS, LONGEST_TILE);
        tile = std::min(fitting, round_up(n_steps, TILE_POSITIONS));
        n_blocks = std::clamp<int64_t>(fitting / n_steps, 1, s.n_blocks());
        halo = s.taps_of_phase(0) - 1;
        x_row = (tile - 1) * s.stride + s.kernel_size;
        dz_row = halo + tile + TILE_POSITIONS;
    }
    int64_t n_units(const Stage& s) const { return (s.n_blocks() + n_blocks - 1) / n_blocks; }
};

// Weights for the input gradient: per phase, input and output channels swapped and taps reversed.
inline std::vector<std::vector<float>> pack_backward_weights(const Stage& s) {
    std::vector<std::vector<float>> packed(s.stride);
    for (int64_t phase = 0; phase < s.stride; ++phase) {
        int64_t n_taps = s.taps_of_phase(phase);
        packed[phase].resize(s.in_channels * s.out_channels * n_taps);
        pack_weights(packed[phase].data(), s.in_channels, s.out_channels, n_taps, [&](int64_t i, int64_t o, int64_t m) {
            return s.weight[(o * s.in_channels + i) * s.kernel_size + phase + (n_taps - 1 - m) * s.stride];
        });
    }
    return packed;
}

// One unit: its blocks' input gradients; adds to the weight gradient. gradient_row(block, channel, first, n, to) writes
// gradients of z.
template <class GradientRow>
void convolve_dense_backward(const Stage& s, const DenseTiling& t, int64_t unit,
                             const std::vector<std::vector<float>>& weights, float* weight_gradient,
                             GradientRow gradient_row) {
    thread_local Scratch x_scratch, dz_scratch;
    int64_t x_block = s.in_channels * t.x_row * LANES, dz_block = s.out_channels * t.dz_row * LANES;
    int64_t first_block = unit * t.n_blocks, n_blocks = std::min(t.n_blocks, s.n_blocks() - first_block);
    float *xs = x_scratch.reserve(n_blocks * x_block), *dzs = dz_scratch.reserve(n_blocks * dz_block);
    for (int64_t first = 0; first < t.n_steps; first += t.tile) {
        int64_t last = std::min(first + t.tile, t.n_steps);
        for (int64_t b = 0; b < n_blocks; ++b) {
            int64_t block = first_block + b;
            for (int64_t i = 0; i < s.in_channels; ++i)
                copy_positions(xs + b * x_block + i * t.x_row * LANES, s.x + block * s.in_block() + i * s.in_length * LANES,
                               s.in_length, first * s.stride - s.padding, 1, t.x_row);
            float* dz = dzs + b * dz_block;
            for (int64_t o = 0; o < s.out_channels; ++o)
                write_z_gradient(s, first - t.halo, t.dz_row, dz + o * t.dz_row * LANES,
                                 [&](int64_t from, int64_t n, float* to) { gradient_row(block, o, from, n, to); });
            if (!s.x_gradient) continue;
            for (int64_t phase = 0; phase < s.stride; ++phase) {
                InputSteps steps(s, phase, first, last);
                int64_t n_taps = s.taps_of_phase(phase);
                const float* from = dz + (steps.first - first + t.halo + 1 - n_taps) * LANES;
                multiply_rows({from, t.dz_row * LANES, LANES}, s.out_channels, n_taps, weights[phase].data(),
                              {s.x_gradient + block * s.in_block() + steps.position * LANES, s.in_length * LANES,
                               s.stride * LANES, s.is_convolution_streamed(s.in_block()), nullptr},
                              s.in_channels, steps.last - steps.first);
            }
        }
        int64_t n_positions = std::min(last, s.out_length) - first;
        if (n_positions > 0)
            add_weight_gradient({xs, t.x_row * LANES, s.stride * LANES}, x_block, s.in_channels, s.kernel_size,
                                {dzs + t.halo * LANES, t.dz_row * LANES, LANES}, dz_block, s.out_channels, n_positions,
                                n_blocks, weight_gradient);
    }
}

// One block: its input gradients; adds to the weight gradient.
template <class GradientRow>
void convolve_depthwise_backward(const Stage& s, int64_t block, float* weight_gradient, GradientRow gradient_row) {
    thread_local Scratch x_scratch, dz_scratch, tap_scratch;
    int64_t longest = s.taps_of_phase(0), halo = longest - 1, n_steps = std::max(s.n_input_steps(), s.out_length);
    int64_t x_row = round_up(s.out_length, 4) + longest, dz_row = halo + round_up(n_steps, 4) + 4;
    float *packed = x_scratch.reserve(s.stride * x_row * LANES), *dz = dz_scratch.reserve(dz_row * LANES);
    float *taps = tap_scratch.reserve(longest), *gradients = weight_gradient;
    std::vector<Phase> phases(s.stride);
    for (int64_t c = 0; c < s.in_channels; ++c, gradients += s.kernel_size) {
        write_z_gradient(s, -halo, dz_row, dz,
                         [&](int64_t from, int64_t n, float* to) { gradient_row(block, c, from, n, to); });
        pack_phases(s, s.x + block * s.in_block() + c * s.in_length * LANES, packed, x_row, phases.data());
        for (int64_t r = 0; r < s.stride; ++r) {
            std::fill_n(taps, longest, 0.0f);
            correlate_row(phases[r].x, dz + halo * LANES, s.out_length, phases[r].n_taps, taps);
            for (int64_t m = 0; m < phases[r].n_taps; ++m) gradients[m * s.stride + r] += taps[m];
        }
        if (!s.x_gradient) continue;
        for (int64_t r = 0; r < s.stride; ++r) {
            InputSteps steps(s, r, 0, n_steps);
            int64_t n_taps = phases[r].n_taps;
            for (int64_t m = 0; m < n_taps; ++m)
                taps[m] = s.weight[c * s.kernel_size + r + (n_taps - 1 - m) * s.stride];
            Phase reversed{dz + (steps.first + halo + 1 - n_taps) * LANES, taps, n_taps};
            float* to = s.x_gradient + block * s.in_block() + (c * s.in_length + steps.position) * LANES;
            filter_row(&reversed, 1, {to, 0, s.stride * LANES, s.is_convolution_streamed(s.in_block()), nullptr},
                       steps.last - steps.first);
        }
    }
}
