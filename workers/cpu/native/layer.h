// A fused layer and a row of them: the arguments of native code. workers/cpu/native_layers.py has the same fields.
#pragma once

#include "activation.h"

// What is larger is written past the caches: it would not be there any more when it is read.
// The results of dense convolutions already are when they are smaller: their tiles write a little of many rows in turn,
// and no hardware guesses where. Both sizes are measured.
constexpr int64_t STREAMED_BYTES = 16 << 20;
constexpr int64_t STREAMED_DENSE_BYTES = 4 << 20;

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
    double momentum, epsilon;
    const float *scale, *sum_scale;  // one number each, or null
    const float *weight;             // (out_channels, in_channels or 1, kernel_size)
    const float *gamma, *beta;
    float *running_mean, *running_variance;

    float* z;        // result of the convolution, out_length positions
    float* floats;   // what the layer puts out, out_length / pool_size positions, where it has no codes
    uint8_t* codes;  // else
    double *mean, *inverse_deviation;  // what the batch norm normalized with, per channel

    float *weight_gradient, *gamma_gradient, *beta_gradient, *scale_gradient, *sum_scale_gradient;

    int64_t in_block() const { return in_channels * in_length * LANES; }
    int64_t z_block() const { return out_channels * out_length * LANES; }
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
    Activation activation() const {
        return {{scale ? *scale : 1, static_cast<float>(highest)}, {sum_scale ? *sum_scale : 1, static_cast<float>(sum_highest)}};
    }
    ChannelNorm norm(int64_t channel) const {
        double slope = gamma[channel] * inverse_deviation[channel];
        return {static_cast<float>(slope), static_cast<float>(beta[channel] - mean[channel] * slope),
                static_cast<float>(mean[channel])};
    }
    // Behind the last quantizer.
    Signal out() const {
        const Quantizer& last = has_summand() ? activation().sum_quantizer : activation().quantizer;
        return {floats, codes, codes ? last.scale : 1, out_channels, pooled_length()};
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
    // What goes into the layer of this number.
    Signal signal(int64_t number) const {
        if (number > 0) return layers[number - 1].out();
        return {x, nullptr, 1, layers[0].in_channels, layers[0].in_length};
    }
    bool is_streamed(const FusedLayer& layer, int64_t block_size) const {
        int64_t bytes = n_blocks() * block_size * static_cast<int64_t>(sizeof(float));
        return bytes > (layer.is_depthwise ? STREAMED_BYTES : STREAMED_DENSE_BYTES);
    }
};

// LANES times 1 where the lane of this block is a frame, else 0.
struct FrameMask {
    float is_frame[LANES];
    FrameMask(const Network& network, int64_t block) {
        for (int lane = 0; lane < LANES; ++lane) is_frame[lane] = block * LANES + lane < network.n_frames;
    }
};

inline int64_t floor_divide(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
