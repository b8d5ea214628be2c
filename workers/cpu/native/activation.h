// Batch norm, ReLU, quantizers and the residual sum of one row: all that happens to each element between convolutions.
#pragma once

#include "quantizer.h"
#include "signal.h"

// One channel's batch norm as z * slope + shift, and the mean that it subtracts.
struct ChannelNorm {
    float slope, shift, mean;
};

// Quantizer of the normalized values and, where a summand is given, of their sum with it.
struct Activation {
    Quantizer quantizer, sum_quantizer;
};

// Of one channel: sums of the gradient of the normalized value, alone and times (z - mean), and of the scales.
struct ActivationSums {
    double gradient = 0, gradient_centered = 0, scale = 0, sum_scale = 0;
};

// What is added to the normalized values of a row, in steps of `scale`; null: nothing.
struct SummandRow {
    const float* start;
    float scale;
};

// Where a row's values are written: codes where the last quantizer makes some, else floats.
struct OutRow {
    float* floats;
    uint8_t* codes;

    template <bool IS_QUANTIZED>
    void write(int64_t at, vec value) const {
        if constexpr (IS_QUANTIZED)
            store_codes(codes + at, value);
        else
            store(floats + at, value);
    }
};

// Calls f.run<IS_QUANTIZED, HAS_SUMMAND, IS_SUM_QUANTIZED>().
template <class F>
inline void for_activation(const Activation& a, bool has_summand, F f) {
    bool is_quantized = a.quantizer.highest > 0;
    if (!has_summand) return is_quantized ? f.template run<true, false, false>() : f.template run<false, false, false>();
    if (a.sum_quantizer.highest > 0)
        return is_quantized ? f.template run<true, true, true>() : f.template run<false, true, true>();
    return is_quantized ? f.template run<true, true, false>() : f.template run<false, true, false>();
}

struct ActivateRow {
    const float* z;
    SummandRow summand;
    OutRow out;
    int64_t n_positions;
    const float* is_frame;  // LANES times 1 or 0
    ChannelNorm norm;
    Activation activation;

    template <bool IS_QUANTIZED, bool HAS_SUMMAND, bool IS_SUM_QUANTIZED>
    void run() const {
        ScaleVectors q(activation.quantizer), sum_q(activation.sum_quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift), summand_scale = broadcast(summand.scale);
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            for (int64_t at = lane; at < n_positions * LANES; at += LANES) {
                prefetch(z + at);
                vec a = multiply_add(load(z + at), slope, shift);
                if constexpr (HAS_SUMMAND) {
                    vec sum = load(summand.start + at) * summand_scale + quantize<IS_QUANTIZED>(a, q);
                    out.write<IS_SUM_QUANTIZED>(at, to_code<IS_SUM_QUANTIZED>(sum, sum_q) * mask);
                } else {
                    out.write<IS_QUANTIZED>(at, to_code<IS_QUANTIZED>(a, q) * mask);
                }
            }
        }
    }
};

// Passes a row's gradient back through the last quantizer, and adds to the sums that the gradients of batch norm and
// scales are made of.
struct PassGradientRow {
    const float* z;
    SummandRow summand;
    const float* out_gradient;
    const float* added;  // gradient that comes from elsewhere, or null
    float* gradient;     // written: that of the sum with the summand, where there is one, else of the normalized value
    int64_t n_positions;
    const float* is_frame;
    ChannelNorm norm;
    Activation activation;
    ActivationSums& sums;

    template <bool IS_QUANTIZED, bool HAS_SUMMAND, bool IS_SUM_QUANTIZED>
    void run() const {
        ScaleVectors q(activation.quantizer), sum_q(activation.sum_quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift), mean = broadcast(norm.mean);
        vec summand_scale = broadcast(summand.scale);
        vec gradient_sum{}, centered_sum{}, scale_sum{}, sum_scale_sum{};
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            for (int64_t at = lane; at < n_positions * LANES; at += LANES) {
                prefetch(z + at);
                vec input = load(z + at), passed = load(out_gradient + at);
                if (added) passed += load(added + at);
                passed *= mask;
                vec a = multiply_add(input, slope, shift);
                if constexpr (HAS_SUMMAND) {
                    vec sum = load(summand.start + at) * summand_scale + quantize<IS_QUANTIZED>(a, q);
                    passed = pass_gradient<IS_SUM_QUANTIZED>(sum, passed, sum_q, sum_scale_sum);
                    store(gradient + at, passed);
                }
                passed = pass_gradient<IS_QUANTIZED>(a, passed, q, scale_sum);
                if constexpr (!HAS_SUMMAND) store(gradient + at, passed);
                gradient_sum += passed;
                centered_sum = multiply_add(passed, input - mean, centered_sum);
            }
        }
        sums.gradient += sum_lanes(gradient_sum);
        sums.gradient_centered += sum_lanes(centered_sum);
        sums.scale += sum_lanes(scale_sum);
        sums.sum_scale += sum_lanes(sum_scale_sum);
    }
};

// The gradient of z is gradient * slope + z * of_z + constant, where `gradient` is that of the normalized value.
struct NormGradient {
    float of_z, constant;
};

// Where there is a summand, the gradient that is read is that of the sum: it passes the first quantizer here.
struct ZGradientRow {
    const float *z, *gradient;
    float* z_gradient;
    int64_t n_positions;
    const float* is_frame;
    ChannelNorm norm;
    NormGradient of_norm;
    Activation activation;

    template <bool IS_QUANTIZED, bool HAS_SUMMAND, bool IS_SUM_QUANTIZED>
    void run() const {
        ScaleVectors q(activation.quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift);
        vec of_z = broadcast(of_norm.of_z), constant = broadcast(of_norm.constant);
        for (int lane = 0; lane < LANES; lane += V) {
            vec mask = load(is_frame + lane);
            for (int64_t at = lane; at < n_positions * LANES; at += LANES) {
                prefetch(z + at);
                prefetch(gradient + at);
                vec input = load(z + at), passed = load(gradient + at);
                if constexpr (HAS_SUMMAND)
                    passed = pass_gradient<IS_QUANTIZED>(multiply_add(input, slope, shift), passed, q);
                store(z_gradient + at, multiply_add(passed, slope, multiply_add(input, of_z, constant)) * mask);
            }
        }
    }
};
