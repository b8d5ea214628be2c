// Convolution + batch norm + ReLU + fake quantization (+ a residual sum), forward and backward, behind a plain C interface.

#include <cmath>

#include "convolution.h"
#include "pooled.h"

namespace {

constexpr int64_t MOST_PARTIAL_SUMS = 1 << 22;  // of weight gradients: 16 MB

void normalize_block(const Stage& s, int64_t block) {
    FrameMask mask(s, block);
    for (int64_t c = 0; c < s.out_channels; ++c) {
        const float* z = s.z + block * s.z_block() + c * s.out_length * LANES;
        int64_t at = block * s.out_block() + c * s.pooled_length() * LANES;
        bool is_streamed = s.is_streamed(s.out_block());
        if (s.pool_size > 1)
            for_pooled_activation(s.activation.quantizer, s.pool_size,
                                  NormalizePooledRow{z, s.out + at, is_streamed, s.pooled_length(), s.pool_size,
                                                     mask.is_frame, s.norm(c), s.activation.quantizer});
        else
            for_activation(s.activation, s.summand != nullptr,
                           NormalizeRow{z, s.summand ? s.summand + at : nullptr, s.out + at, is_streamed, s.out_length,
                                        mask.is_frame, s.norm(c), s.activation});
    }
}

void use_batch_statistics(Stage& s, const std::vector<Statistics>& of_blocks) {
    double n = static_cast<double>(s.values_per_channel());
    for (int64_t c = 0; c < s.out_channels; ++c) {
        Statistics total;
        for (int64_t block = 0; block < s.n_blocks(); ++block) {
            total.sum += of_blocks[block * s.out_channels + c].sum;
            total.sum_of_squares += of_blocks[block * s.out_channels + c].sum_of_squares;
        }
        double mean = total.sum / n, variance = total.sum_of_squares / n - mean * mean;
        if (variance < 0) variance = 0;
        s.mean[c] = mean;
        s.inverse_deviation[c] = 1 / std::sqrt(variance + s.epsilon);
        s.running_mean[c] = static_cast<float>((1 - s.momentum) * s.running_mean[c] + s.momentum * mean);
        s.running_variance[c] = static_cast<float>(
            (1 - s.momentum) * s.running_variance[c] + s.momentum * variance * (n / (n - 1)));
    }
}

void use_running_statistics(Stage& s) {
    for (int64_t c = 0; c < s.out_channels; ++c) {
        s.mean[c] = s.running_mean[c];
        s.inverse_deviation[c] = 1 / std::sqrt(s.running_variance[c] + s.epsilon);
    }
}

void forward(Stage& s) {
    std::vector<float> weight(s.n_weights());
    if (!s.is_depthwise)
        pack_weights(weight.data(), s.out_channels, s.in_channels, s.kernel_size, [&](int64_t o, int64_t i, int64_t tap) {
            return s.weight[(o * s.in_channels + i) * s.kernel_size + tap];
        });
    std::vector<Statistics> of_blocks(s.is_training ? s.n_blocks() * s.out_channels : 0);
    if (!s.is_training) use_running_statistics(s);
    for_each_item(s.n_blocks(), static_cast<int>(s.n_threads), [&](int64_t block) {
        Statistics* of_channels = s.is_training ? &of_blocks[block * s.out_channels] : nullptr;
        if (s.is_depthwise)
            convolve_depthwise(s, block, of_channels);
        else
            convolve_dense(s, block, weight.data(), of_channels);
        if (!s.is_training) normalize_block(s, block);
    });
    if (!s.is_training) return;
    use_batch_statistics(s, of_blocks);
    for_each_item(s.n_blocks(), static_cast<int>(s.n_threads), [&](int64_t block) { normalize_block(s, block); });
}

void sum_row_gradients(const Stage& s, int64_t block, int64_t c, ActivationSums& sums) {
    FrameMask mask(s, block);
    const float* z = s.z + block * s.z_block() + c * s.out_length * LANES;
    int64_t at = block * s.out_block() + c * s.pooled_length() * LANES;
    if (s.pool_size > 1)
        for_pooled_activation(s.activation.quantizer, s.pool_size,
                              SumPooledGradientRow{z, s.out_gradient + at, s.pooled_length(), s.pool_size, mask.is_frame,
                                                   s.norm(c), s.activation.quantizer, sums});
    else
        for_activation(s.activation, s.summand != nullptr,
                       SumGradientRow{z, s.summand ? s.summand + at : nullptr, s.out_gradient + at,
                                      s.summand ? s.summand_gradient + at : nullptr, s.out_length, mask.is_frame,
                                      s.norm(c), s.activation, sums});
}

std::vector<ActivationSums> sum_gradients(const Stage& s) {
    std::vector<ActivationSums> of_blocks(s.n_blocks() * s.out_channels), totals(s.out_channels);
    for_each_item(s.n_blocks(), static_cast<int>(s.n_threads), [&](int64_t block) {
        for (int64_t c = 0; c < s.out_channels; ++c)
            sum_row_gradients(s, block, c, of_blocks[block * s.out_channels + c]);
    });
    for (size_t i = 0; i < of_blocks.size(); ++i) {
        ActivationSums& total = totals[i % s.out_channels];
        total.gradient += of_blocks[i].gradient;
        total.gradient_normalized += of_blocks[i].gradient_normalized;
        total.scale += of_blocks[i].scale;
        total.sum_scale += of_blocks[i].sum_scale;
    }
    return totals;
}

void write_parameter_gradients(Stage& s, const std::vector<ActivationSums>& sums) {
    s.scale_gradient = s.sum_scale_gradient = 0;
    for (int64_t c = 0; c < s.out_channels; ++c) {
        s.gamma_gradient[c] = static_cast<float>(sums[c].gradient_normalized);
        s.beta_gradient[c] = static_cast<float>(sums[c].gradient);
        s.scale_gradient += sums[c].scale;
        s.sum_scale_gradient += sums[c].sum_scale;
    }
}

// Writes gradients of z, of one channel's positions [first, first + n).
void write_input_gradients(const Stage& s, const ActivationSums& sums, int64_t block, int64_t c, int64_t first, int64_t n,
                           float* to) {
    double of_z = 0, constant = 0;
    if (s.is_training) {  // the batch's mean and deviation depend on z, too
        double slope = s.gamma[c] * s.inverse_deviation[c], n_values = static_cast<double>(s.values_per_channel());
        of_z = -slope * s.inverse_deviation[c] * sums.gradient_normalized / n_values;
        constant = -slope * sums.gradient / n_values - of_z * s.mean[c];
    }
    FrameMask mask(s, block);
    const float *z = s.z + block * s.z_block() + c * s.out_length * LANES;
    const float *gradient = (s.summand ? s.summand_gradient : s.out_gradient) + block * s.out_block() +
                            c * s.pooled_length() * LANES;
    if (s.pool_size > 1)
        for_pooled_activation(s.activation.quantizer, s.pool_size,
                              InputPooledGradientRow{z, gradient, to, first, n, s.pooled_length(), s.pool_size,
                                                     mask.is_frame, s.norm(c), s.activation.quantizer,
                                                     static_cast<float>(of_z), static_cast<float>(constant)});
    else
        for_activation(s.activation, false,
                       InputGradientRow{z + first * LANES, gradient + first * LANES, to, n, mask.is_frame, s.norm(c),
                                        s.activation, static_cast<float>(of_z), static_cast<float>(constant)});
}

// Calls add(unit, sum) for each unit, where `sum` belongs to a few units one after another, and adds up these sums. Which
// units share one depends on the stage's shape alone, so the result does not depend on the number of threads.
template <class Add>
void sum_weight_gradients(const Stage& s, int64_t n_units, Add add) {
    int64_t n_sums = std::clamp<int64_t>(MOST_PARTIAL_SUMS / s.n_weights(), 1, n_units);
    std::vector<float> sums(n_sums * s.n_weights());
    for_each_item(n_sums, static_cast<int>(s.n_threads), [&](int64_t i) {
        for (int64_t unit = i * n_units / n_sums; unit < (i + 1) * n_units / n_sums; ++unit)
            add(unit, sums.data() + i * s.n_weights());
    });
    for (int64_t w = 0; w < s.n_weights(); ++w) {
        double total = 0;
        for (int64_t i = 0; i < n_sums; ++i) total += sums[i * s.n_weights() + w];
        s.weight_gradient[w] = static_cast<float>(total);
    }
}

void backward(Stage& s) {
    std::vector<ActivationSums> sums = sum_gradients(s);
    write_parameter_gradients(s, sums);
    auto gradient_row = [&](int64_t block, int64_t c, int64_t first, int64_t n_positions, float* to) {
        write_input_gradients(s, sums[c], block, c, first, n_positions, to);
    };
    if (s.is_depthwise)
        return sum_weight_gradients(s, s.n_blocks(), [&](int64_t block, float* weight_gradient) {
            convolve_depthwise_backward(s, block, weight_gradient, gradient_row);
        });
    DenseTiling tiling(s);
    std::vector<std::vector<float>> weights = pack_backward_weights(s);
    sum_weight_gradients(s, tiling.n_units(s), [&](int64_t unit, float* weight_gradient) {
        convolve_dense_backward(s, tiling, unit, weights, weight_gradient, gradient_row);
    });
}

}  // namespace

extern "C" {

int stage_forward(Stage* stage) {
    return run_guarded([&] { forward(*stage); });
}

int stage_backward(Stage* stage) {
    return run_guarded([&] { backward(*stage); });
}

}
