// The convolution of a fused layer, forward and backward, block by block of frames.
#pragma once

#include <algorithm>

#include "codes.h"
#include "dense.h"
#include "depthwise.h"
#include "parallel.h"
#include "weights.h"

constexpr int64_t FORWARD_CACHE_VECTORS = 2048;    // of packed input: 128 KB
constexpr int64_t BACKWARD_CACHE_VECTORS = 16384;  // of packed input and gradient: 1 MB, half of a level-2 cache
constexpr int64_t LONGEST_TILE = 96;               // positions; longer ones were slower, measured with 2 to 64 channels

// A layer's convolution: what it reads, its weights, and whether its result is too large for the caches.
struct Convolution {
    const FusedLayer& layer;
    Signal x;
    Weights weights;
    double largest_sum;  // of products of codes
    bool is_integer;     // whether the results are sums of products of codes, exact in floats
    bool is_streamed = false;

    Convolution(const FusedLayer& layer, const Signal& x)
        : layer(layer),
          x(x),
          weights(layer),
          largest_sum(weights.largest_sum(static_cast<double>(x.highest))),
          is_integer(x.codes && weights.is_quantized() && largest_sum <= 1 << 24) {}


    // What the forward multiplies x with: codes or steps of its scale.
    float forward_weight(int64_t i) const { return is_integer ? weights.codes[i] : weights.value(i) * x.scale; }
    OutputRows z(int64_t block, float* statistics) const {
        OutputRows rows{static_cast<float*>(layer.z), nullptr, layer.out_length * LANES, LANES, is_streamed, statistics};
        if (layer.is_z_short) rows.shorts = static_cast<int16_t*>(layer.z);
        rows.skip(block * layer.z_block());
        return rows;
    }
};

inline void clear_statistics(const OutputRows& z, int64_t n_rows) {
    std::fill_n(z.statistics, n_rows * 2 * LANES, 0.0f);
}

inline void add_statistics(const OutputRows& z, Statistics* of_rows, int64_t n_rows) {
    for (int64_t row = 0; row < n_rows; ++row) {
        of_rows[row].sum += sum_block_lanes(z.statistics + row * 2 * LANES);
        of_rows[row].sum_of_squares += sum_block_lanes(z.statistics + (row * 2 + 1) * LANES);
    }
}

// A dense layer's weights as the forward reads them.
struct ForwardWeights {
    std::vector<int32_t> codes;  // of multiply_codes, or none
    std::vector<float> floats;   // of multiply_rows

    explicit ForwardWeights(const Convolution& c) {
        const FusedLayer& layer = c.layer;
        auto weight = [&](int64_t o, int64_t i, int64_t tap) {
            return c.forward_weight((o * layer.in_channels + i) * layer.kernel_size + tap);
        };
        if (c.is_integer) codes = pack_code_weights(layer.out_channels, layer.in_channels, layer.kernel_size, weight);
        if (!codes.empty()) return;
        floats.resize(layer.n_weights());
        pack_weights(floats.data(), layer.out_channels, layer.in_channels, layer.kernel_size, weight);
    }
};

// Adds the statistics of z to those of its channels.
inline void convolve_dense(const Convolution& c, int64_t block, const ForwardWeights& weights, Statistics* of_channels) {
    thread_local Scratch scratch, statistics_scratch;
    const FusedLayer& layer = c.layer;
    int64_t fitting = FORWARD_CACHE_VECTORS / (layer.in_channels * layer.stride) / TILE_POSITIONS;
    int64_t tile = TILE_POSITIONS * std::max<int64_t>(4, fitting);
    tile = std::min(tile, round_up(layer.out_length, TILE_POSITIONS));
    int64_t row = (tile - 1) * layer.stride + layer.kernel_size;
    float* packed = scratch.reserve(layer.in_channels * row * LANES);
    OutputRows z = c.z(block, statistics_scratch.reserve(layer.out_channels * 2 * LANES));
    for (int64_t first = 0; first < layer.out_length; first += tile, z.skip(tile * LANES)) {
        int64_t n = std::min(tile, layer.out_length - first), position = first * layer.stride - layer.padding;
        clear_statistics(z, layer.out_channels);
        if (!weights.codes.empty()) {
            multiply_codes(c.x, block, position, row, layer.stride, layer.kernel_size, weights.codes, z,
                           layer.out_channels, n);
        } else {
            for (int64_t i = 0; i < layer.in_channels; ++i)
                copy_positions(packed + i * row * LANES, c.x, block, i, position, 1, row);
            multiply_rows({packed, row * LANES, layer.stride * LANES}, layer.in_channels, layer.kernel_size,
                          weights.floats.data(), z, layer.out_channels, n);
        }
        add_statistics(z, of_channels, layer.out_channels);
    }
}

// Every stride-th position of a channel's row, one row for each phase, zeros around it; sets the phases' x.
inline void pack_phases(
    const Convolution& c, int64_t block, int64_t channel, float* packed, int64_t row, Phase* phases) {
    int64_t stride = c.layer.stride;
    for (int64_t r = 0; r < stride; ++r) {
        copy_positions(packed + r * row * LANES, c.x, block, channel, r - c.layer.padding, stride, row);
        phases[r].x = packed + r * row * LANES;
        phases[r].n_taps = c.layer.taps_of_phase(r);
    }
}

inline void convolve_depthwise(const Convolution& c, int64_t block, Statistics* of_channels) {
    thread_local Scratch scratch, weight_scratch;
    const FusedLayer& layer = c.layer;
    int64_t longest = layer.taps_of_phase(0), row = round_up(layer.out_length, 4) + longest;
    float* packed = scratch.reserve(layer.stride * row * LANES);
    float* weight = weight_scratch.reserve(layer.stride * longest);
    std::vector<Phase> phases(layer.stride);
    float statistics[2 * LANES];
    OutputRows z = c.z(block, statistics);
    for (int64_t channel = 0; channel < layer.in_channels; ++channel, z.skip(z.row)) {
        pack_phases(c, block, channel, packed, row, phases.data());
        for (int64_t tap = 0; tap < layer.kernel_size; ++tap)
            weight[tap % layer.stride * longest + tap / layer.stride] =
                c.forward_weight(channel * layer.kernel_size + tap);
        for (int64_t r = 0; r < layer.stride; ++r) phases[r].weight = weight + r * longest;
        clear_statistics(z, 1);
        filter_row(phases.data(), layer.stride, z, layer.out_length);
        add_statistics(z, of_channels + channel, 1);
    }
}

// Input positions of one phase among steps [first, last), and where their gradients are written.
struct InputSteps {
    int64_t first, last, position;
    InputSteps(const FusedLayer& layer, int64_t phase, int64_t from, int64_t to) {
        first = std::max({from, int64_t{0}, floor_divide(layer.padding - phase + layer.stride - 1, layer.stride)});
        int64_t beyond_input = floor_divide(layer.in_length - 1 + layer.padding - phase, layer.stride) + 1;
        last = std::max(first, std::min(to, beyond_input));
        position = first * layer.stride + phase - layer.padding;
    }
};

// Writes the gradients of z at positions [first, first + n) of a channel, zeros where there are none.
template <class GradientRow>
inline void write_z_gradient(const FusedLayer& layer, int64_t first, int64_t n, float* to, GradientRow gradient_row) {
    int64_t begin = std::clamp<int64_t>(first, 0, layer.out_length);
    int64_t end = std::clamp<int64_t>(first + n, begin, layer.out_length);
    int64_t before = std::min(n, begin - first);
    std::fill_n(to, before * LANES, 0.0f);
    if (end > begin) gradient_row(begin, end - begin, to + before * LANES);
    int64_t done = before + (end - begin);
    std::fill_n(to + done * LANES, (n - done) * LANES, 0.0f);
}

// How the backward of a dense convolution is cut: tiles of one block's steps, or several short blocks at once.
struct DenseTiling {
    int64_t n_steps, tile, n_blocks, halo, x_row, dz_row;
    DenseTiling(const FusedLayer& layer, int64_t all_blocks) {
        n_steps = std::max(layer.n_input_steps(), layer.out_length);
        int64_t fitting = BACKWARD_CACHE_VECTORS / (2 * layer.in_channels * layer.stride + layer.out_channels);
        fitting = std::clamp<int64_t>(fitting / TILE_POSITIONS * TILE_POSITIONS, 4 * TILE_POSITIONS, LONGEST_TILE);
        tile = std::min(fitting, round_up(n_steps, TILE_POSITIONS));
        n_blocks = std::clamp<int64_t>(fitting / n_steps, 1, all_blocks);
        halo = layer.taps_of_phase(0) - 1;
        x_row = (tile - 1) * layer.stride + layer.kernel_size;
        dz_row = halo + tile + TILE_POSITIONS;
    }
};

// Weights for the input gradient: per phase, input and output channels swapped and taps reversed.
inline std::vector<std::vector<float>> pack_backward_weights(const Convolution& c) {
    const FusedLayer& layer = c.layer;
    std::vector<std::vector<float>> packed(layer.stride);
    for (int64_t phase = 0; phase < layer.stride; ++phase) {
        int64_t n_taps = layer.taps_of_phase(phase);
        packed[phase].resize(layer.in_channels * layer.out_channels * n_taps);
        pack_weights(packed[phase].data(), layer.in_channels, layer.out_channels, n_taps,
                     [&](int64_t i, int64_t o, int64_t m) {
                         int64_t tap = phase + (n_taps - 1 - m) * layer.stride;
                         return c.weights.value((o * layer.in_channels + i) * layer.kernel_size + tap);
                     });
    }
    return packed;
}

// The input gradients of a tile's steps [first, last), all channels; use_x_gradient(channel, position, n, from) reads them.
template <class UseXGradient>
void multiply_gradients(const FusedLayer& layer, const DenseTiling& t, const float* dz, int64_t first, int64_t last,
                        const std::vector<std::vector<float>>& weights, UseXGradient use_x_gradient) {
    thread_local Scratch scratch;
    int64_t begin = std::max<int64_t>(0, first * layer.stride - layer.padding);
    int64_t end = std::min(layer.in_length, last * layer.stride - layer.padding);
    if (begin >= end) return;
    int64_t row = (end - begin) * LANES;
    float* x_gradient = scratch.reserve(layer.in_channels * row);
    for (int64_t phase = 0; phase < layer.stride; ++phase) {
        InputSteps steps(layer, phase, first, last);
        int64_t n_taps = layer.taps_of_phase(phase);
        OutputRows out{x_gradient + (steps.position - begin) * LANES, nullptr, row, layer.stride * LANES, false, nullptr};
        multiply_rows({dz + (steps.first - first + t.halo + 1 - n_taps) * LANES, t.dz_row * LANES, LANES},
                      layer.out_channels, n_taps, weights[phase].data(), out, layer.in_channels,
                      steps.last - steps.first);
    }
    for (int64_t i = 0; i < layer.in_channels; ++i) use_x_gradient(i, begin, end - begin, x_gradient + i * row);
}

// What the outputs [first, first + t.tile) of some blocks read, all channels: in place where nothing is padded.
template <class Number>
RowsOf<Number> gather_inputs(const Convolution& c, const DenseTiling& t, const Number* x, int64_t first_block,
                             int64_t n_blocks, int64_t first, int64_t& block_size) {
    thread_local std::vector<Number> scratch;
    const FusedLayer& layer = c.layer;
    int64_t step = layer.stride * LANES, position = first * layer.stride - layer.padding;
    if (layer.kernel_size == 1 && layer.padding == 0) {
        block_size = layer.in_block();
        return {x + first_block * block_size + position * LANES, layer.in_length * LANES, step};
    }
    int64_t row = t.x_row * LANES;
    block_size = layer.in_channels * row;
    scratch.resize(std::max<size_t>(scratch.size(), n_blocks * block_size));
    for (int64_t b = 0; b < n_blocks; ++b)
        for (int64_t i = 0; i < layer.in_channels; ++i)
            copy_stretch(scratch.data() + b * block_size + i * row, x + c.x.at(first_block + b, i), layer.in_length,
                         position, t.x_row);
    return {scratch.data(), row, step};
}

// Adds the weight gradient of outputs [first, first + n) of some blocks; dz as add_weight_gradient reads it.
template <class Number>
void add_dense_gradient(const Convolution& c, const DenseTiling& t, const Number* x, int64_t first_block,
                        int64_t n_blocks, int64_t first, int64_t n, Rows dz, float* weight_gradient) {
    const FusedLayer& layer = c.layer;
    int64_t x_block;
    RowsOf<Number> xs = gather_inputs(c, t, x, first_block, n_blocks, first, x_block);
    add_weight_gradient(xs, x_block, layer.in_channels, layer.kernel_size, dz, layer.out_channels * dz.row,
                        layer.out_channels, n, n_blocks, weight_gradient);
}

// One unit of blocks: adds to the weight gradient, per step of x. write_z_gradients(block, channel, first, n, to) gives
// gradients of z; use_x_gradients(block, channel, first, n, from) takes those of x, unless they are not wanted.
template <class WriteZGradients, class UseXGradients>
void convolve_dense_backward(const Convolution& c, const DenseTiling& t, int64_t first_block, int64_t n_blocks,
                             const std::vector<std::vector<float>>& weights, float* weight_gradient,
                             WriteZGradients write_z_gradients, bool is_x_wanted, UseXGradients use_x_gradients) {
    thread_local Scratch dz_scratch;
    const FusedLayer& layer = c.layer;
    int64_t dz_block = layer.out_channels * t.dz_row * LANES;
    float* dzs = dz_scratch.reserve(n_blocks * dz_block);
    for (int64_t first = 0; first < t.n_steps; first += t.tile) {
        int64_t last = std::min(first + t.tile, t.n_steps);
        for (int64_t b = 0; b < n_blocks; ++b) {
            int64_t block = first_block + b;
            float* dz = dzs + b * dz_block;
            for (int64_t o = 0; o < layer.out_channels; ++o)
                write_z_gradient(layer, first - t.halo, t.dz_row, dz + o * t.dz_row * LANES,
                                 [&](int64_t from, int64_t n, float* to) { write_z_gradients(block, o, from, n, to); });
            if (is_x_wanted)
                multiply_gradients(layer, t, dz, first, last, weights,
                                   [&](int64_t i, int64_t position, int64_t n, const float* from) {
                                       use_x_gradients(block, i, position, n, from);
                                   });
        }
        int64_t n_positions = std::min(last, layer.out_length) - first;
        if (n_positions <= 0) continue;
        Rows dz{dzs + t.halo * LANES, t.dz_row * LANES, LANES};
        if (c.x.codes)
            add_dense_gradient(c, t, c.x.codes, first_block, n_blocks, first, n_positions, dz, weight_gradient);
        else
            add_dense_gradient(c, t, c.x.floats, first_block, n_blocks, first, n_positions, dz, weight_gradient);
    }
}

// One block, as above.
template <class WriteZGradients, class UseXGradients>
void convolve_depthwise_backward(const Convolution& c, int64_t block, float* weight_gradient,
                                 WriteZGradients write_z_gradients, bool is_x_wanted, UseXGradients use_x_gradients) {
    thread_local Scratch x_scratch, dz_scratch, dx_scratch, tap_scratch;
    const FusedLayer& layer = c.layer;
    int64_t longest = layer.taps_of_phase(0), halo = longest - 1;
    int64_t n_steps = std::max(layer.n_input_steps(), layer.out_length);
    int64_t x_row = round_up(layer.out_length, 4) + longest, dz_row = halo + round_up(n_steps, 4) + 4;
    float *packed = x_scratch.reserve(layer.stride * x_row * LANES), *dz = dz_scratch.reserve(dz_row * LANES);
    float *x_gradient = dx_scratch.reserve(layer.in_length * LANES), *taps = tap_scratch.reserve(longest);
    std::vector<Phase> phases(layer.stride);
    for (int64_t channel = 0; channel < layer.in_channels; ++channel, weight_gradient += layer.kernel_size) {
        write_z_gradient(layer, -halo, dz_row, dz,
                         [&](int64_t from, int64_t n, float* to) { write_z_gradients(block, channel, from, n, to); });
        pack_phases(c, block, channel, packed, x_row, phases.data());
        for (int64_t r = 0; r < layer.stride; ++r) {
            std::fill_n(taps, longest, 0.0f);
            correlate_row(phases[r].x, dz + halo * LANES, layer.out_length, phases[r].n_taps, taps);
            for (int64_t m = 0; m < phases[r].n_taps; ++m) weight_gradient[m * layer.stride + r] += taps[m];
        }
        if (!is_x_wanted) continue;
        for (int64_t r = 0; r < layer.stride; ++r) {
            InputSteps steps(layer, r, 0, n_steps);
            int64_t n_taps = phases[r].n_taps;
            for (int64_t m = 0; m < n_taps; ++m)
                taps[m] = c.weights.value(channel * layer.kernel_size + r + (n_taps - 1 - m) * layer.stride);
            Phase reversed{dz + (steps.first + halo + 1 - n_taps) * LANES, taps, n_taps};
            OutputRows out{x_gradient + steps.position * LANES, nullptr, 0, layer.stride * LANES, false, nullptr};
            filter_row(&reversed, 1, out, steps.last - steps.first);
        }
        use_x_gradients(block, channel, 0, layer.in_length, x_gradient);
    }
}
