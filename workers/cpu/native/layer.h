// A fused layer: the arguments of its forward and backward. workers/cpu/native_layers.py has the same fields.
#pragma once

#include "normalization.h"

// What is larger is written past the caches: it would not be there any more when it is read.
// The results of dense convolutions already are when they are smaller: their tiles write a little of many rows in turn,
// and no hardware guesses where. Both sizes are measured.
constexpr int64_t STREAMED_BYTES = 16 << 20;
constexpr int64_t STREAMED_DENSE_BYTES = 4 << 20;

struct Statistics {
    double sum = 0, sum_of_squares = 0;
};

// All tensors of frames are (blocks, channels, length, LANES); the lanes beyond n_frames are zero in and zero out.
struct FusedLayer {
    int64_t n_frames, in_channels, out_channels, in_length, out_length, kernel_size, stride, padding;
    int64_t pool_size;  // positions of a max pool's window behind the activation, or 1; above 1 without summand
    int64_t is_depthwise, is_training, n_threads;
    double momentum, epsilon;
    Activation activation;
    const float *weight;  // (out_channels, in_channels or 1, kernel_size)
    const float *gamma, *beta;
    float *running_mean, *running_variance;
    const float *x, *summand;  // summand: null, or what is added to the quantized values
    float *z;                  // result of the convolution, out_length positions
    float *out;                // out_length / pool_size positions; may be the memory of `z` if unpooled and not trained
    double *mean, *inverse_deviation;  // what the batch norm normalized with, per channel

    const float *out_gradient;
    float *x_gradient;  // null: not needed
    float *summand_gradient;
    float *weight_gradient, *gamma_gradient, *beta_gradient;
    double scale_gradient, sum_scale_gradient;

    int64_t n_blocks() const { return (n_frames + LANES - 1) / LANES; }
    int64_t in_block() const { return in_channels * in_length * LANES; }
    int64_t z_block() const { return out_channels * out_length * LANES; }
    int64_t pooled_length() const { return out_length / pool_size; }
    int64_t out_block() const { return out_channels * pooled_length() * LANES; }
    int64_t n_weights() const { return out_channels * (is_depthwise ? 1 : in_channels) * kernel_size; }
    int64_t values_per_channel() const { return n_frames * out_length; }

    // Positions u such that input position u * stride + phase - padding is one for some phase.
    int64_t n_input_steps() const { return (in_length - 1 + padding) / stride + 1; }
    // Taps phase, phase + stride, phase + 2 * stride, ...
    int64_t taps_of_phase(int64_t phase) const {
        return phase < kernel_size ? (kernel_size - phase + stride - 1) / stride : 0;
    }

    bool is_streamed(int64_t block_size) const { return bytes(block_size) > STREAMED_BYTES; }
    bool is_convolution_streamed(int64_t block_size) const {
        return bytes(block_size) > (is_depthwise ? STREAMED_BYTES : STREAMED_DENSE_BYTES);
    }
    int64_t bytes(int64_t block_size) const { return n_blocks() * block_size * static_cast<int64_t>(sizeof(float)); }

    ChannelNorm norm(int64_t channel) const {
        double slope = gamma[channel] * inverse_deviation[channel];
        return {static_cast<float>(slope), static_cast<float>(beta[channel] - mean[channel] * slope),
                static_cast<float>(mean[channel]), static_cast<float>(inverse_deviation[channel])};
    }
};

// LANES times 1 where the lane of this block is a frame, else 0.
struct FrameMask {
    float is_frame[LANES];
    FrameMask(const FusedLayer& layer, int64_t block) {
        for (int lane = 0; lane < LANES; ++lane) is_frame[lane] = block * LANES + lane < layer.n_frames;
    }
};

inline int64_t floor_divide(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// Copies positions first, first + step, ... of a row, zeros where there are none.
inline void copy_positions(float* to, const float* row, int64_t length, int64_t first, int64_t step, int64_t n) {
    int64_t begin = first < 0 ? (-first + step - 1) / step : 0;
    int64_t end = first < length ? (length - 1 - first) / step + 1 : 0;
    if (begin > n) begin = n;
    if (end > n) end = n;
    if (end < begin) end = begin;
    std::memset(to, 0, begin * LANES * sizeof(float));
    const float* from = row + (first + begin * step) * LANES;
    for (int64_t at = begin * LANES; at < end * LANES; at += LANES, from += step * LANES) {
        prefetch(from);
        for (int lane = 0; lane < LANES; lane += V) store(to + at + lane, load(from + lane));
    }
    std::memset(to + end * LANES, 0, (n - end) * LANES * sizeof(float));
}
