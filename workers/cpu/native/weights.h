// The weights of a layer as inference uses them, computed as Brevitas does, and the gradients of its parameters.
#pragma once

#include <cmath>
#include <vector>

#include "layer.h"

constexpr float MIN_SCALE_THRESHOLD = 1e-10f;  // workers/functional_quantizers.py, MIN_WEIGHT_SCALE_THRESHOLD

// Integers `codes`, each of which stands for itself times `step`. In a float layer the weights themselves and 1.
struct Weights {
    const FusedLayer& layer;
    std::vector<float> codes;
    float step = 1;

    explicit Weights(const FusedLayer& layer) : layer(layer), codes(layer.weight, layer.weight + layer.n_weights()) {
        if (!is_quantized()) return;
        float largest = 0;
        for (float w : codes) largest = std::fabs(w) <= largest ? largest : std::fabs(w);  // not a number: it stays so
        step = (largest < MIN_SCALE_THRESHOLD ? MIN_SCALE_THRESHOLD : largest) / threshold();
        float lowest = static_cast<float>(layer.weight_lowest), highest = static_cast<float>(layer.weight_highest);
        for (float& w : codes) {
            float code = std::nearbyint(w / step);
            w = code < lowest ? lowest : (code > highest ? highest : code);
        }
    }
    bool is_quantized() const { return layer.weight_highest > 0; }
    float value(int64_t i) const { return codes[i] * step; }

    // The largest magnitude of any channel's sum of products with integers 0 to `highest`.
    double largest_sum(double highest) const {
        double largest = 0;
        int64_t n = layer.n_weights() / layer.out_channels;
        for (int64_t c = 0; c < layer.out_channels; ++c) {
            double positive = 0, negative = 0;
            for (int64_t i = c * n; i < (c + 1) * n; ++i) (codes[i] > 0 ? positive : negative) += codes[i];
            largest = std::max({largest, positive * highest, -negative * highest});
        }
        return largest;
    }

    // Makes the gradients of the parameters from those of the values, in place. The rounding passes them on, and so does
    // the clamp; the step passes its own on to the largest magnitude, shared among equals.
    void pass_gradient(float* gradient) const {
        if (!is_quantized()) return;
        float largest = 0;
        double of_step = 0;
        int64_t n_largest = 0;
        for (int64_t i = 0; i < layer.n_weights(); ++i) {
            of_step += static_cast<double>(gradient[i]) * (codes[i] - layer.weight[i] / step);
            float magnitude = std::fabs(layer.weight[i]);
            n_largest = magnitude > largest ? 1 : n_largest + (magnitude == largest);
            largest = std::max(largest, magnitude);
        }
        float share = static_cast<float>(of_step / threshold() / static_cast<double>(n_largest));
        for (int64_t i = 0; i < layer.n_weights(); ++i)
            if (std::fabs(layer.weight[i]) == largest && largest > 0) gradient[i] += layer.weight[i] < 0 ? -share : share;
    }

private:
    // Brevitas divides the range in floats by this number: that is the step.
    float threshold() const { return static_cast<float>(-layer.weight_lowest); }
};
