// The rows of activation.h where a max pool follows: only the first of the largest in each window passes on and back.
#pragma once

#include <algorithm>

#include "activation.h"

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

struct ActivatePooledRow {
    const float* z;
    OutRow out;
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
                const float* window = z + w * size * LANES + lane;
                Largest largest = find_largest<IS_QUANTIZED, SIZE>(window, size, slope, shift, q);
                out.write<IS_QUANTIZED>(w * LANES + lane, largest.code * mask);
            }
        }
    }
};

// As PassGradientRow; all but `z` and `size` are of windows.
struct PassPooledGradientRow {
    const float *z, *out_gradient, *added;
    float* gradient;
    int64_t n_windows, size;
    const float* is_frame;
    ChannelNorm norm;
    Quantizer quantizer;
    ActivationSums& sums;

    template <bool IS_QUANTIZED, int SIZE>
    void run() const {
        ScaleVectors q(quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift), mean = broadcast(norm.mean);
        vec gradient_sum{}, centered_sum{}, scale_sum{};
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            for (int64_t w = 0; w < n_windows; ++w) {
                int64_t at = w * LANES + lane;
                vec input = find_largest<IS_QUANTIZED, SIZE>(z + w * size * LANES + lane, size, slope, shift, q).z;
                vec passed = load(out_gradient + at);
                if (added) passed += load(added + at);
                passed = pass_gradient<IS_QUANTIZED>(multiply_add(input, slope, shift), passed * mask, q, scale_sum);
                store(gradient + at, passed);
                gradient_sum += passed;
                centered_sum = multiply_add(passed, input - mean, centered_sum);
            }
        }
        sums.gradient += sum_lanes(gradient_sum);
        sums.gradient_centered += sum_lanes(centered_sum);
        sums.scale += sum_lanes(scale_sum);
    }
};

// Writes positions [first, first + n_positions) of the row; `z` and `gradient` are the row's own start.
struct ZPooledGradientRow {
    const float *z, *gradient;
    float* z_gradient;
    int64_t first, n_positions, n_windows, size;
    const float* is_frame;
    ChannelNorm norm;
    NormGradient of_norm;
    Quantizer quantizer;

    template <bool IS_QUANTIZED, int SIZE>
    void run() const {
        ScaleVectors q(quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift);
        vec of_z = broadcast(of_norm.of_z), constant = broadcast(of_norm.constant);
        int64_t last = first + n_positions;
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            const float* from = z + lane;
            float* to = z_gradient - first * LANES + lane;
            auto write = [&](int64_t position, vec passed) {
                vec input = load(from + position * LANES);
                store(to + position * LANES,
                      multiply_add(passed, slope, multiply_add(input, of_z, constant)) * mask);
            };
            for (int64_t w = first / size; w < n_windows && w * size < last; ++w) {
                vec largest = find_largest<IS_QUANTIZED, SIZE>(from + w * size * LANES, size, slope, shift, q).z;
                vec passed = load(gradient + w * LANES + lane);
                for (int64_t k = 0; k < (SIZE ? SIZE : size); ++k) {
                    int64_t position = w * size + k;
                    int_vec is_largest = load(from + position * LANES) == largest;
                    if (position >= first && position < last) write(position, is_largest ? passed : vec{});
                    passed = is_largest ? vec{} : passed;
                }
            }
            for (int64_t position = std::max(first, n_windows * size); position < last; ++position)
                write(position, vec{});  // no window holds them
        }
    }
};
