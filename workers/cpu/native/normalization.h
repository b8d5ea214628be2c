// Batch norm, ReLU, quantizers and the residual sum of one row: all that happens to each element between convolutions.
#pragma once

#include "quantizer.h"

// One channel's batch norm as z * slope + shift; `mean` and `inverse_deviation` are what it normalizes with.
struct ChannelNorm {
    float slope, shift, mean, inverse_deviation;
};

// Quantizer of the normalized values and, where `summand` is given, of their sum with it.
struct Activation {
    Quantizer quantizer, sum_quantizer;
};

struct ActivationSums {
    double gradient = 0, gradient_normalized = 0, scale = 0, sum_scale = 0;
};

// Calls f.template operator()<IS_QUANTIZED, HAS_SUMMAND, IS_SUM_QUANTIZED>().
template <class F>
inline void for_activation(const Activation& a, bool has_summand, F f) {
    bool is_quantized = a.quantizer.highest > 0;
    if (!has_summand) return is_quantized ? f.template run<true, false, false>() : f.template run<false, false, false>();
    if (a.sum_quantizer.highest > 0)
        return is_quantized ? f.template run<true, true, true>() : f.template run<false, true, true>();
    return is_quantized ? f.template run<true, true, false>() : f.template run<false, true, false>();
}

struct NormalizeRow {
    const float *z, *summand;
    float* out;
    bool is_streamed;
    int64_t n_positions;
    const float* is_frame;  // LANES times 1 or 0
    ChannelNorm norm;
    Activation activation;

    template <bool IS_QUANTIZED, bool HAS_SUMMAND, bool IS_SUM_QUANTIZED>
    void run() const {
        ScaleVectors q(activation.quantizer), sum_q(activation.sum_quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift);
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            for (int64_t at = lane; at < n_positions * LANES; at += LANES) {
                prefetch(z + at);
                vec value = quantize<IS_QUANTIZED>(multiply_add(load(z + at), slope, shift), q);
                if constexpr (HAS_SUMMAND) {
                    prefetch(summand + at);
                    value = quantize<IS_SUM_QUANTIZED>(load(summand + at) + value, sum_q);
                }
                store_or_stream(out + at, value * mask, is_streamed);
            }
        }
    }
};

// Sums over one row of what the gradients of gamma, beta and scales are made of; writes the summand's gradient.
struct SumGradientRow {
    const float *z, *summand, *out_gradient;
    float* summand_gradient;
    int64_t n_positions;
    const float* is_frame;
    ChannelNorm norm;
    Activation activation;
    ActivationSums& sums;

    template <bool IS_QUANTIZED, bool HAS_SUMMAND, bool IS_SUM_QUANTIZED>
    void run() const {
        ScaleVectors q(activation.quantizer), sum_q(activation.sum_quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift);
        vec mean = broadcast(norm.mean), inverse_deviation = broadcast(norm.inverse_deviation);
        vec gradient_sum{}, normalized_sum{}, scale_sum{}, sum_scale_sum{};
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            for (int64_t at = lane; at < n_positions * LANES; at += LANES) {
                prefetch(z + at);
                prefetch(out_gradient + at);
                vec input = load(z + at), gradient = load(out_gradient + at) * mask;
                vec a = multiply_add(input, slope, shift);
                if constexpr (HAS_SUMMAND) {
                    prefetch(summand + at);
                    vec sum = load(summand + at) + quantize<IS_QUANTIZED>(a, q);
                    gradient = quantize_backward<IS_SUM_QUANTIZED>(sum, gradient, sum_q, sum_scale_sum);
                    store(summand_gradient + at, gradient);
                }
                gradient = quantize_backward<IS_QUANTIZED>(a, gradient, q, scale_sum);
                gradient_sum += gradient;
                normalized_sum = multiply_add(gradient, (input - mean) * inverse_deviation, normalized_sum);
            }
        }
        sums.gradient += sum_lanes(gradient_sum);
        sums.gradient_normalized += sum_lanes(normalized_sum);
        sums.scale += sum_lanes(scale_sum);
        sums.sum_scale += sum_lanes(sum_scale_sum);
    }
};

// The gradient of z: gradient * slope + z * of_z + constant, where `gradient` is that of the normalized value.
struct InputGradientRow {
    const float *z, *out_gradient;
    float* z_gradient;
    int64_t n_positions;
    const float* is_frame;
    ChannelNorm norm;
    Activation activation;
    float of_z, constant;

    template <bool IS_QUANTIZED, bool HAS_SUMMAND, bool IS_SUM_QUANTIZED>
    void run() const {
        ScaleVectors q(activation.quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift);
        vec z_factor = broadcast(of_z), summand = broadcast(constant), unused{};
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            for (int64_t at = lane; at < n_positions * LANES; at += LANES) {
                prefetch(z + at);
                prefetch(out_gradient + at);
                vec input = load(z + at), a = multiply_add(input, slope, shift);
                vec gradient = quantize_backward<IS_QUANTIZED>(a, load(out_gradient + at), q, unused);
                gradient = multiply_add(gradient, slope, multiply_add(input, z_factor, summand));
                store(z_gradient + at, gradient * mask);
            }
        }
    }
};
