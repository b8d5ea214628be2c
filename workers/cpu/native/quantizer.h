// ReLU and the unsigned activation quantizer, forward and backward, as Brevitas computes them.
//
// Forward: code = min(round_half_even(relu(a) / scale), highest), value = code * scale. Backward: the rounding passes
// gradients on, the clamp stops them, and the scale has one from its division and one from its product.
#pragma once

#include <cmath>
#include <limits>

#include "vectors.h"

struct Quantizer {
    float scale;
    float highest;  // 0: no quantization, ReLU alone
    float end;      // the least value whose gradient the clamp stops
};

// `range`: the number whose magnitude `highest` stands for.
inline float quantizer_scale(const float* range, float highest) { return std::fabs(*range) / highest; }

// `range` is null where there is no quantization.
inline Quantizer make_quantizer(const float* range, float highest) {
    if (!range) return {1, 0, std::numeric_limits<float>::infinity()};
    float scale = quantizer_scale(range, highest), end = (highest + 0.5f) * scale;
    while (end / scale >= highest + 0.5f) end = std::nextafter(end, 0.0f);  // this tie rounds up, for `highest` is odd
    while (end / scale < highest + 0.5f) end = std::nextafter(end, std::numeric_limits<float>::infinity());
    return {scale, highest, end};
}

struct ScaleVectors {
    vec scale, inverse, highest, end;
    explicit ScaleVectors(const Quantizer& q)
        : scale(broadcast(q.scale)),
          inverse(broadcast(1.0f / q.scale)),
          highest(broadcast(q.highest)),
          end(broadcast(q.end)) {}
};

inline vec relu(vec a) { return maximum(a, vec{}); }

// a / scale, correctly rounded: with a fused multiply-add by Markstein's theorem (IBM J. Res. Dev. 34, 1990, 111-119).
inline vec divide(vec a, const ScaleVectors& q) {
#if defined(__AVX2__) || defined(__AVX512F__)
    vec quotient = a * q.inverse;
    vec remainder = multiply_add(-quotient, q.scale, a);
    return multiply_add(remainder, q.inverse, quotient);
#else
    return a / q.scale;
#endif
}

// Half to even, for 0 <= a < 2**22: adding 1.5 * 2**23 leaves no bits for a fraction.
inline vec round_half_even(vec a) { return (a + 12582912.0f) - 12582912.0f; }

// What rounds to the code of `a`; without quantization relu(a).
template <bool IS_QUANTIZED>
inline vec to_steps(vec a, const ScaleVectors& q) {
    if constexpr (!IS_QUANTIZED) return relu(a);
    return minimum(divide(relu(a), q), q.highest);
}

template <bool IS_QUANTIZED>
inline vec to_code(vec a, const ScaleVectors& q) {
    vec steps = to_steps<IS_QUANTIZED>(a, q);
    if constexpr (!IS_QUANTIZED) return steps;
    return round_half_even(steps);
}

template <bool IS_QUANTIZED>
inline vec quantize(vec a, const ScaleVectors& q) {
    vec code = to_code<IS_QUANTIZED>(a, q);
    if constexpr (!IS_QUANTIZED) return code;
    return code * q.scale;
}

// The gradient of `a` from that of the quantized value.
template <bool IS_QUANTIZED>
inline vec pass_gradient(vec a, vec gradient, const ScaleVectors& q) {
    if constexpr (!IS_QUANTIZED) return a <= vec{} ? vec{} : gradient;
    return ((a >= q.end) | (a <= vec{})) ? vec{} : gradient;
}

// The same; adds to the gradient of the scale.
template <bool IS_QUANTIZED>
inline vec pass_gradient(vec a, vec gradient, const ScaleVectors& q, vec& scale_gradient) {
    if constexpr (IS_QUANTIZED) {
        vec steps = divide(relu(a), q);
        vec of_scale = a >= q.end ? q.highest : round_half_even(steps) - steps;
        scale_gradient = multiply_add(gradient, of_scale, scale_gradient);
    }
    return pass_gradient<IS_QUANTIZED>(a, gradient, q);
}
