// ReLU and the unsigned activation quantizer, forward and backward, as Brevitas computes them.
//
// Forward: code = min(round_half_even(relu(a) / scale), highest), value = code * scale. Backward: the rounding passes
// gradients on, the clamp stops them, and the scale has one from its division and one from its product.
#pragma once

#include "vectors.h"

struct Quantizer {
    float scale;
    float highest;  // 0: no quantization, ReLU alone
};

struct ScaleVectors {
    vec scale, inverse, highest, clamped;  // clamped: from how many steps on the code is the highest, and has no gradient
    explicit ScaleVectors(const Quantizer& q)
        : scale(broadcast(q.scale)),
          inverse(broadcast(1.0f / q.scale)),
          highest(broadcast(q.highest)),
          clamped(broadcast(q.highest + 0.5f)) {}
};

inline vec relu(vec a) { return a < vec{} ? vec{} : a; }

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

// The integer that `a` becomes; without quantization relu(a).
template <bool IS_QUANTIZED>
inline vec to_code(vec a, const ScaleVectors& q) {
    vec positive = relu(a);
    if constexpr (!IS_QUANTIZED) return positive;
    return round_half_even(minimum(divide(positive, q), q.highest));
}

template <bool IS_QUANTIZED>
inline vec quantize(vec a, const ScaleVectors& q) {
    vec code = to_code<IS_QUANTIZED>(a, q);
    if constexpr (!IS_QUANTIZED) return code;
    return code * q.scale;
}

// The gradient of `a` from that of the quantized value. The tie above the highest code, an odd one, is clamped.
template <bool IS_QUANTIZED>
inline vec pass_gradient(vec a, vec gradient, const ScaleVectors& q) {
    if constexpr (!IS_QUANTIZED) return a <= vec{} ? vec{} : gradient;
    return ((divide(relu(a), q) >= q.clamped) | (a <= vec{})) ? vec{} : gradient;
}

// The same; adds to the gradient of the scale.
template <bool IS_QUANTIZED>
inline vec pass_gradient(vec a, vec gradient, const ScaleVectors& q, vec& scale_gradient) {
    if constexpr (!IS_QUANTIZED) return pass_gradient<false>(a, gradient, q);
    vec steps = divide(relu(a), q);
    int_vec is_clamped = steps >= q.clamped;
    scale_gradient = multiply_add(gradient, is_clamped ? q.highest : round_half_even(steps) - steps, scale_gradient);
    return (is_clamped | (a <= vec{})) ? vec{} : gradient;
}
