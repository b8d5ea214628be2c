// A fused layer and a row of them: the arguments of native code. workers/cpu/native_layers.py has the same fields.
#pragma once

#include <cmath>

#include "activation.h"

// What is larger is written past the caches: it would not be there any more when it is read. Measured.
constexpr int64_t STREAMED_BYTES = 2 << 20;

struct Statistics {
    double sum = 0, sum_of_squares = 0;
};

// Convolution, batch norm, ReLU, fake quantization and, where `summand` is not negative, the sum with what went into the
// layer of this number, quantized again.
struct FusedLayer {
    int64_t in_channels, out_channels, in_length, out_length, kernel_size, stride, padding;
    int64_t pool_size;  // positions of a max pool's window behind the activation, or 1; above 1 without summand
    int64_t is_depthwise, summand;
    int64_t highest, sum_highest;  // codes; 0: no quantization, ReLU alone
    int64_t weight_lowest, weight_highest;  // codes; 0: float weights
    double momentum, epsilon;
    const float *range, *sum_range;  // one number each, whose magnitude the highest code stands for; or null
    const float *weight;             // (out_channels, in_channels or 1, kernel_size), before quantization
    const float *gamma, *beta;
    float *running_mean, *running_variance;

    void* z;           // result of the convolution, out_length positions: floats, or integers of 16 bits
    double z_unit;     // what a one in `z` stands for
    int64_t is_z_short;
    float* floats;   // what the layer puts out, out_length / pool_size positions, where it has no codes
    uint8_t* codes;  // else
    float* largest;  // of z, as the pool's windows have it; null without a pool
    double *mean, *inverse_deviation;  // what the batch norm normalized with, per channel

    float *weight_gradient, *gamma_gradient, *beta_gradient, *range_gradient, *sum_range_gradient;

    int64_t in_block() const { return in_channels * in_length * LANES; }
    int64_t z_block() const { return out_channels * out_length * LANES; }
    int64_t z_size() const { return is_z_short ? sizeof(int16_t) : sizeof(float); }
    int64_t pooled_length() const { return out_length / pool_size; }
    int64_t out_block() const { return out_channels * pooled_length() * LANES; }
    int64_t n_weights() const { return out_channels * (is_depthwise ? 1 : in_channels) * kernel_size; }

    // Positions u such that input position u * stride + phase - padding is one for some phase.
    int64_t n_input_steps() const { return (in_length - 1 + padding) / stride + 1; }
    // Taps phase, phase + stride, phase + 2 * stride, ...
    int64_t taps_of_phase(int64_t phase) const {
        return phase < kernel_size ? (kernel_size - phase + stride - 1) / stride : 0;
    }

    bool has_summand() const { return summand >= 0; }
    Activation activation() const { return {make_quantizer(range, highest), make_quantizer(sum_range, sum_highest)}; }
    ChannelNorm norm(int64_t channel) const {
        double slope = gamma[channel] * inverse_deviation[channel];
        return {static_cast<float>(slope * z_unit), static_cast<float>(beta[channel] - mean[channel] * slope),
                static_cast<float>(mean[channel] / z_unit)};
    }
    // Behind the last quantizer.
    Signal out() const {
        const float* last_range = has_summand() ? sum_range : range;
        int64_t last = has_summand() ? sum_highest : highest;
        return {floats, codes, last ? quantizer_scale(last_range, static_cast<float>(last)) : 1, last, out_channels, pooled_length()};
    }
    // Calls f with a channel's row of z, as FloatRow or ShortRow, from this position on, of which it reads about n.
    template <class F>
    void with_z(int64_t block, int64_t channel, int64_t position, int64_t n, F f) const {
        int64_t at = block * z_block() + (channel * out_length + position) * LANES, ahead = look_ahead(n, out_length);
        if (is_z_short) return f(ShortRow{static_cast<const int16_t*>(z) + at, ahead});
        f(FloatRow{static_cast<const float*>(z) + at, ahead});
    }
};

// All tensors of frames are (blocks, channels, length, LANES); the lanes beyond n_frames are zero in and zero out.
struct Network {
    int64_t n_layers, n_frames, is_training, n_threads;
    FusedLayer* layers;
    const float* x;
    float* out;

    const float* out_gradient;
    float* x_gradient;  // null: not needed

    int64_t n_blocks() const { return (n_frames + LANES - 1) / LANES; }
    // Frames of this block.
    int64_t n_lanes(int64_t block) const { return std::min<int64_t>(LANES, n_frames - block * LANES); }
    // What goes into the layer of this number.
    Signal signal(int64_t number) const {
        if (number > 0) return layers[number - 1].out();
        return {x, nullptr, 1, 0, layers[0].in_channels, layers[0].in_length};
    }
    // Whether n_values of each block, of this many bytes, are too many for the caches.
    bool is_streamed(int64_t n_values, int64_t size) const { return n_blocks() * n_values * size > STREAMED_BYTES; }
};

// Sets the lanes from n_lanes on of a row to zero.
template <class Number>
inline void clear_lanes(Number* row, int64_t n_positions, int64_t n_lanes) {
    if (n_lanes == LANES) return;
    for (int64_t p = 0; p < n_positions; ++p) std::fill(row + p * LANES + n_lanes, row + (p + 1) * LANES, Number{0});
}

inline int64_t floor_divide(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
