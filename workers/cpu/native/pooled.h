// The rows of activation.h where a max pool follows: only the first of the largest in each window passes on and back.
#pragma once

#include <algorithm>

#include "activation.h"

// Calls f.run<SIZE>(): positions of a window where known when compiling, else 0.
template <class F>
inline void for_window(int64_t size, const F& f) {
    size == 2 ? f.template run<2>() : f.template run<0>();
}

template <class ZRow>
struct ActivatePooledRow {
    ZRow z;
    OutRow out;
    float* largest;  // written: the results of the convolution that the largest values of each window come from
    int64_t n_windows, size;
    ChannelNorm norm;
    const Quantizer& quantizer;

    template <int SIZE>
    void run() const {
        quantizer.highest > 0 ? run<true, SIZE>() : run<false, SIZE>();
    }

    template <bool IS_QUANTIZED, int SIZE>
    void run() const {
        ScaleVectors q(quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift);
        for (int lane = 0; lane < LANES; lane += V)
            for (int64_t w = 0; w < n_windows; ++w) {
                int64_t window = w * size * LANES + lane, at = w * LANES + lane;
                vec largest_z = z.at(window), largest_code = to_code<IS_QUANTIZED>(multiply_add(largest_z, slope, shift), q);
                for (int64_t k = 1; k < (SIZE ? SIZE : size); ++k) {
                    vec next = z.at(window + k * LANES), code = to_code<IS_QUANTIZED>(multiply_add(next, slope, shift), q);
                    int_vec is_larger = (code > largest_code) | (code != code);
                    largest_code = is_larger ? code : largest_code;
                    largest_z = is_larger ? next : largest_z;
                }
                out.template write<IS_QUANTIZED>(at, largest_code);
                store(largest + at, largest_z);
            }
    }
};

// Writes positions [first, first + n_positions) of the row; `z`, `largest` and `gradient` are the row's own start.
template <class ZRow>
struct ZPooledGradientRow {
    ZRow z;
    const float *largest, *gradient;
    float* z_gradient;
    int64_t first, n_positions, n_windows, size;
    NormGradient of_norm;

    template <int SIZE>
    void run() const {
        vec of_gradient = broadcast(of_norm.slope), of_z = broadcast(of_norm.of_z), constant = broadcast(of_norm.constant);
        int64_t last = first + n_positions;
        for (int lane = 0; lane < LANES; lane += V) {
            float* to = z_gradient - first * LANES + lane;
            for (int64_t w = first / size; w < n_windows && w * size < last; ++w) {
                vec wanted = load(largest + w * LANES + lane), passed = load(gradient + w * LANES + lane);
                for (int64_t k = 0; k < (SIZE ? SIZE : size); ++k) {
                    int64_t position = w * size + k;
                    vec input = z.at(position * LANES + lane);
                    int_vec is_largest = input == wanted;
                    vec through_norm = multiply_add(input, of_z, constant);
                    if (position >= first && position < last)
                        store(to + position * LANES, multiply_add(is_largest ? passed : vec{}, of_gradient, through_norm));
                    passed = is_largest ? vec{} : passed;
                }
            }
            for (int64_t position = std::max(first, n_windows * size); position < last; ++position)  // in no window
                store(to + position * LANES, multiply_add(z.at(position * LANES + lane), of_z, constant));
        }
    }
};
