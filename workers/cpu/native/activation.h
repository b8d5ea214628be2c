// Batch norm, ReLU, quantizers and the residual sum of one row: all that happens to each element between convolutions.
#pragma once

#include <type_traits>

#include "quantizer.h"
#include "signal.h"

// One channel's batch norm as z * slope + shift, and the mean that it subtracts; z as it is stored.
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

// What is added to the normalized values of a row: a FloatRow or CodeRow times `scale`.
template <class Row>
struct Summand {
    Row row;
    float scale;
};

struct NoSummand {
    float scale = 1;
};

template <class T>
constexpr bool IS_SUMMAND = !std::is_same_v<T, NoSummand>;

// Where a row's values are written: codes where the last quantizer makes some, else floats.
struct OutRow {
    float* floats;
    uint8_t* codes;

    template <bool IS_QUANTIZED>
    void write(int64_t at, vec steps) const {
        if constexpr (IS_QUANTIZED)
            store_codes(codes + at, steps);
        else
            store(floats + at, steps);
    }
};

// Calls f.run<IS_QUANTIZED, IS_SUM_QUANTIZED>(summand).
template <class Row, class F>
inline void for_activation(const Activation& a, Summand<Row> summand, const F& f) {
    bool is_quantized = a.quantizer.highest > 0;
    if (a.sum_quantizer.highest > 0)
        return is_quantized ? f.template run<true, true>(summand) : f.template run<false, true>(summand);
    is_quantized ? f.template run<true, false>(summand) : f.template run<false, false>(summand);
}

template <class F>
inline void for_activation(const Activation& a, NoSummand none, const F& f) {
    a.quantizer.highest > 0 ? f.template run<true, false>(none) : f.template run<false, false>(none);
}

template <class ZRow>
struct ActivateRow {
    ZRow z;
    OutRow out;
    int64_t n_positions;
    ChannelNorm norm;
    const Activation& activation;

    template <bool IS_QUANTIZED, bool IS_SUM_QUANTIZED, class Summand>
    void run(Summand summand) const {
        ScaleVectors q(activation.quantizer), sum_q(activation.sum_quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift), summand_scale = broadcast(summand.scale);
        for (int lane = 0; lane < LANES; lane += V)
            for (int64_t at = lane; at < n_positions * LANES; at += LANES) {
                vec a = multiply_add(z.at(at), slope, shift);
                if constexpr (IS_SUMMAND<Summand>) {
                    vec sum = summand.row.at(at) * summand_scale + quantize<IS_QUANTIZED>(a, q);
                    out.template write<IS_SUM_QUANTIZED>(at, to_steps<IS_SUM_QUANTIZED>(sum, sum_q));
                } else {
                    out.template write<IS_QUANTIZED>(at, to_steps<IS_QUANTIZED>(a, q));
                }
            }
    }
};

// Passes a row's gradient back through the last quantizer, and adds to the sums that the gradients of batch norm and
// scales are made of.
template <class ZRow>
struct PassGradientRow {
    ZRow z;
    const float* out_gradient;
    const float* added;  // gradient that comes from elsewhere, or null
    bool is_streamed;
    float* gradient;     // written: that of the sum with the summand, where there is one, else of the normalized value
    int64_t n_positions;
    ChannelNorm norm;
    const Activation& activation;
    ActivationSums& sums;

    template <bool IS_QUANTIZED, bool IS_SUM_QUANTIZED, class Summand>
    void run(Summand summand) const {
        ScaleVectors q(activation.quantizer), sum_q(activation.sum_quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift), mean = broadcast(norm.mean);
        vec summand_scale = broadcast(summand.scale);
        vec gradient_sum{}, centered_sum{}, scale_sum{}, sum_scale_sum{};
        for (int lane = 0; lane < LANES; lane += V)
            for (int64_t at = lane; at < n_positions * LANES; at += LANES) {
                vec input = z.at(at), passed = load(out_gradient + at);
                if (added) {
                    __builtin_prefetch(added + at + z.ahead);
                    passed += load(added + at);
                }
                vec a = multiply_add(input, slope, shift);
                if constexpr (IS_SUMMAND<Summand>) {
                    vec sum = summand.row.at(at) * summand_scale + quantize<IS_QUANTIZED>(a, q);
                    passed = pass_gradient<IS_SUM_QUANTIZED>(sum, passed, sum_q, sum_scale_sum);
                    store_or_stream(gradient + at, passed, is_streamed);
                }
                passed = pass_gradient<IS_QUANTIZED>(a, passed, q, scale_sum);
                if constexpr (!IS_SUMMAND<Summand>) store_or_stream(gradient + at, passed, is_streamed);
                gradient_sum += passed;
                centered_sum = multiply_add(passed, input - mean, centered_sum);
            }
        sums.gradient += sum_lanes(gradient_sum);
        sums.gradient_centered += sum_lanes(centered_sum);
        sums.scale += sum_lanes(scale_sum);
        sums.sum_scale += sum_lanes(sum_scale_sum);
    }
};

// The gradient of the convolution's result is gradient * slope + z * of_z + constant, where `gradient` is that of the
// normalized value.
struct NormGradient {
    float slope, of_z, constant;
};

// Where there is a summand, the gradient that is read is that of the sum: it passes the first quantizer here.
template <class ZRow>
struct ZGradientRow {
    ZRow z;
    const float* gradient;
    float* z_gradient;
    int64_t n_positions;
    ChannelNorm norm;
    NormGradient of_norm;
    const Quantizer& quantizer;

    template <bool HAS_SUMMAND, bool IS_QUANTIZED>
    void run() const {
        ScaleVectors q(quantizer);
        vec slope = broadcast(norm.slope), shift = broadcast(norm.shift), of_gradient = broadcast(of_norm.slope);
        vec of_z = broadcast(of_norm.of_z), constant = broadcast(of_norm.constant);
        for (int lane = 0; lane < LANES; lane += V)
            for (int64_t at = lane; at < n_positions * LANES; at += LANES) {
                __builtin_prefetch(gradient + at + z.ahead);
                vec input = z.at(at), passed = load(gradient + at);
                if constexpr (HAS_SUMMAND)
                    passed = pass_gradient<IS_QUANTIZED>(multiply_add(input, slope, shift), passed, q);
                store(z_gradient + at, multiply_add(passed, of_gradient, multiply_add(input, of_z, constant)));
            }
    }
    void run(bool has_summand) const {
        if (!has_summand) return run<false, false>();
        quantizer.highest > 0 ? run<true, true>() : run<true, false>();
    }
};
