// The rows of normalization.h where a max pool follows: only the first of the largest in each window passes on and back.
#pragma once

#include <algorithm>

#include "normalization.h"

// The largest quantized value of a window, and the result of the convolution that it comes from.
struct Largest {
    vec code, z;
};

// SIZE: positions of a window where known when compiling, else 0.
template <bool IS_QUANTIZED, int SIZE>
inline Largest find_largest(const float* z, int64_t size, vec slope, vec shift, const ScaleVectors& q) {
    vec first = load(z);
    prefetch(z);
    Largest largest{to_code<IS_QUANTIZED>(multiply_add(first, slope, shift), q), first};
    for (int64_t k = 1; k < (SIZE ? SIZE : size); ++k) {
        prefetch(z + k * LANES);
        vec next = load(z + k * LANES), code = to_code<IS_QUANTIZED>(multiply_add(next, slope, shift), q);
        int_vec is_larger = (code > largest.code) | (code != code);
        largest = {is_larger ? code : largest.code, is_larger ? next : largest.z};
    }
    return largest;
}

// Calls f.run<IS_QUANTIZED, SIZE>().
template <class F>
inline void for_pooled_activation(const Quantizer& quantizer, int64_t size, F f) {
    bool is_quantized = quantizer.highest > 0;
    if (size == 2) return is_quantized ? f.template run<true, 2>() : f.template run<false, 2>();
    return is_quantized ? f.template run<true, 0>() : f.template run<false, 0>();
}

struct NormalizePooledRow {
    const float* z;
    float* out;
    bool is_streamed;
    int64_t n_windows, size;
    const float* is_frame;
    ChannelNorm norm;
    Quantizer quantizer;

    template <bool IS_QUANTIZED, int SIZE>
    void run() const {
        ScaleVectors q(quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift);
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            for (int64_t w = 0; w < n_windows; ++w) {
                Largest largest = find_largest<IS_QUANTIZED, SIZE>(z + w * size * LANES + lane, size, slope, shift, q);
                vec value = IS_QUANTIZED ? largest.code * q.scale : largest.code;
                store_or_stream(out + w * LANES + lane, value * mask, is_streamed);
            }
        }
    }
};

struct SumPooledGradientRow {
    const float *z, *out_gradient;
    int64_t n_windows, size;
    const float* is_frame;
    ChannelNorm norm;
    Quantizer quantizer;
    ActivationSums& sums;

    template <bool IS_QUANTIZED, int SIZE>
    void run() const {
        ScaleVectors q(quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift);
        vec mean = broadcast(norm.mean), inverse_deviation = broadcast(norm.inverse_deviation);
        vec gradient_sum{}, normalized_sum{}, scale_sum{};
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            for (int64_t w = 0; w < n_windows; ++w) {
                vec input = find_largest<IS_QUANTIZED, SIZE>(z + w * size * LANES + lane, size, slope, shift, q).z;
                vec gradient = load(out_gradient + w * LANES + lane) * mask;
                gradient = quantize_backward<IS_QUANTIZED>(multiply_add(input, slope, shift), gradient, q, scale_sum);
                gradient_sum += gradient;
                normalized_sum = multiply_add(gradient, (input - mean) * inverse_deviation, normalized_sum);
            }
        }
        sums.gradient += sum_lanes(gradient_sum);
        sums.gradient_normalized += sum_lanes(normalized_sum);
        sums.scale += sum_lanes(scale_sum);
    }
};

// Writes positions [first, first + n_positions) of the row; `z` and `out_gradient` are the row's own start.
struct InputPooledGradientRow {
    const float *z, *out_gradient;
    float* z_gradient;
    int64_t first, n_positions, n_windows, size;
    const float* is_frame;
    ChannelNorm norm;
    Quantizer quantizer;
    float of_z, constant;

    template <bool IS_QUANTIZED, int SIZE>
    void run() const {
        ScaleVectors q(quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift);
        vec z_factor = broadcast(of_z), summand = broadcast(constant), unused{};
        int64_t last = first + n_positions;
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            const float* from = z + lane;
            float* to = z_gradient - first * LANES + lane;
            auto write = [&](int64_t position, vec gradient) {
                vec input = load(from + position * LANES);
                store(to + position * LANES,
                      multiply_add(gradient, slope, multiply_add(input, z_factor, summand)) * mask);
            };
            for (int64_t w = first / size; w < n_windows && w * size < last; ++w) {
                Largest largest = find_largest<IS_QUANTIZED, SIZE>(from + w * size * LANES, size, slope, shift, q);
                vec gradient = load(out_gradient + w * LANES + lane);
                gradient = quantize_backward<IS_QUANTIZED>(multiply_add(largest.z, slope, shift), gradient, q, unused);
                for (int64_t k = 0; k < (SIZE ? SIZE : size); ++k) {
                    int64_t position = w * size + k;
                    int_vec is_largest = load(from + position * LANES) == largest.z;
                    if (position >= first && position < last) write(position, is_largest ? gradient : vec{});
                    gradient = is_largest ? vec{} : gradient;
                }
            }
            for (int64_t position = std::max(first, n_windows * size); position < last; ++position)
                write(position, vec{});  // no window holds them
        }
    }
};
