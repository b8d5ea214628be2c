// A fused layer, forward and backward: convolution, batch norm, ReLU, fake quantization, residual sum. A plain C interface.

#include <cmath>

#include "convolution.h"
#include "pooled.h"

namespace {

constexpr int64_t MOST_PARTIAL_SUMS = 1 << 22;  // of weight gradients: 16 MB

void normalize_block(const FusedLayer& layer, int64_t block) {
    FrameMask mask(layer, block);
    for (int64_t c = 0; c < layer.out_channels; ++c) {
        const float* z = layer.z + block * layer.z_block() + c * layer.out_length * LANES;
        int64_t at = block * layer.out_block() + c * layer.pooled_length() * LANES;
        bool is_streamed = layer.is_streamed(layer.out_block());
        if (layer.pool_size > 1)
            for_pooled_activation(
                layer.activation.quantizer, layer.pool_size,
                NormalizePooledRow{z, layer.out + at, is_streamed, layer.pooled_length(), layer.pool_size,
                                   mask.is_frame, layer.norm(c), layer.activation.quantizer});
        else
            for_activation(layer.activation, layer.summand != nullptr,
                           NormalizeRow{z, layer.summand ? layer.summand + at : nullptr, layer.out + at, is_streamed,
                                        layer.out_length, mask.is_frame, layer.norm(c), layer.activation});
    }
}

void use_batch_statistics(FusedLayer& layer, const std::vector<Statistics>& of_blocks) {
    double n = static_cast<double>(layer.values_per_channel());
    for (int64_t c = 0; c < layer.out_channels; ++c) {
        Statistics total;
        for (int64_t block = 0; block < layer.n_blocks(); ++block) {
            total.sum += of_blocks[block * layer.out_channels + c].sum;
            total.sum_of_squares += of_blocks[block * layer.out_channels + c].sum_of_squares;
        }
        double mean = total.sum / n, variance = total.sum_of_squares / n - mean * mean;
        if (variance < 0) variance = 0;
        layer.mean[c] = mean;
        layer.inverse_deviation[c] = 1 / std::sqrt(variance + layer.epsilon);
        layer.running_mean[c] =
            static_cast<float>((1 - layer.momentum) * layer.running_mean[c] + layer.momentum * mean);
        layer.running_variance[c] = static_cast<float>(
            (1 - layer.momentum) * layer.running_variance[c] + layer.momentum * variance * (n / (n - 1)));
    }
}

void use_running_statistics(FusedLayer& layer) {
    for (int64_t c = 0; c < layer.out_channels; ++c) {
        layer.mean[c] = layer.running_mean[c];
        layer.inverse_deviation[c] = 1 / std::sqrt(layer.running_variance[c] + layer.epsilon);
    }
}

void forward(FusedLayer& layer) {
    std::vector<float> weight(layer.n_weights());
    if (!layer.is_depthwise)
        pack_weights(weight.data(), layer.out_channels, layer.in_channels, layer.kernel_size,
                     [&](int64_t o, int64_t i, int64_t tap) {
                         return layer.weight[(o * layer.in_channels + i) * layer.kernel_size + tap];
                     });
    std::vector<Statistics> of_blocks(layer.is_training ? layer.n_blocks() * layer.out_channels : 0);
    if (!layer.is_training) use_running_statistics(layer);
    for_each_item(layer.n_blocks(), static_cast<int>(layer.n_threads), [&](int64_t block) {
        Statistics* of_channels = layer.is_training ? &of_blocks[block * layer.out_channels] : nullptr;
        if (layer.is_depthwise)
            convolve_depthwise(layer, block, of_channels);
        else
            convolve_dense(layer, block, weight.data(), of_channels);
        if (!layer.is_training) normalize_block(layer, block);
    });
    if (!layer.is_training) return;
    use_batch_statistics(layer, of_blocks);
    for_each_item(layer.n_blocks(), static_cast<int>(layer.n_threads),
                  [&](int64_t block) { normalize_block(layer, block); });
}

void sum_row_gradients(const FusedLayer& layer, int64_t block, int64_t c, ActivationSums& sums) {
    FrameMask mask(layer, block);
    const float* z = layer.z + block * layer.z_block() + c * layer.out_length * LANES;
    int64_t at = block * layer.out_block() + c * layer.pooled_length() * LANES;
    if (layer.pool_size > 1)
        for_pooled_activation(layer.activation.quantizer, layer.pool_size,
                              SumPooledGradientRow{z, layer.out_gradient + at, layer.pooled_length(), layer.pool_size,
                                                   mask.is_frame, layer.norm(c), layer.activation.quantizer, sums});
    else
        for_activation(layer.activation, layer.summand != nullptr,
                       SumGradientRow{z, layer.summand ? layer.summand + at : nullptr, layer.out_gradient + at,
                                      layer.summand ? layer.summand_gradient + at : nullptr, layer.out_length,
                                      mask.is_frame, layer.norm(c), layer.activation, sums});
}

std::vector<ActivationSums> sum_gradients(const FusedLayer& layer) {
    std::vector<ActivationSums> of_blocks(layer.n_blocks() * layer.out_channels), totals(layer.out_channels);
    for_each_item(layer.n_blocks(), static_cast<int>(layer.n_threads), [&](int64_t block) {
        for (int64_t c = 0; c < layer.out_channels; ++c)
            sum_row_gradients(layer, block, c, of_blocks[block * layer.out_channels + c]);
    });
    for (size_t i = 0; i < of_blocks.size(); ++i) {
        ActivationSums& total = totals[i % layer.out_channels];
        total.gradient += of_blocks[i].gradient;
        total.gradient_normalized += of_blocks[i].gradient_normalized;
        total.scale += of_blocks[i].scale;
        total.sum_scale += of_blocks[i].sum_scale;
    }
    return totals;
}

void write_parameter_gradients(FusedLayer& layer, const std::vector<ActivationSums>& sums) {
    layer.scale_gradient = layer.sum_scale_gradient = 0;
    for (int64_t c = 0; c < layer.out_channels; ++c) {
        layer.gamma_gradient[c] = static_cast<float>(sums[c].gradient_normalized);
        layer.beta_gradient[c] = static_cast<float>(sums[c].gradient);
        layer.scale_gradient += sums[c].scale;
        layer.sum_scale_gradient += sums[c].sum_scale;
    }
}

// Writes gradients of z, of one channel's positions [first, first + n).
void write_input_gradients(const FusedLayer& layer, const ActivationSums& sums, int64_t block, int64_t c, int64_t first,
                           int64_t n, float* to) {
    double of_z = 0, constant = 0;
    if (layer.is_training) {  // the batch's mean and deviation depend on z, too
        double slope = layer.gamma[c] * layer.inverse_deviation[c];
        double n_values = static_cast<double>(layer.values_per_channel());
        of_z = -slope * layer.inverse_deviation[c] * sums.gradient_normalized / n_values;
        constant = -slope * sums.gradient / n_values - of_z * layer.mean[c];
    }
    FrameMask mask(layer, block);
    const float *z = layer.z + block * layer.z_block() + c * layer.out_length * LANES;
    const float *gradient = (layer.summand ? layer.summand_gradient : layer.out_gradient) + block * layer.out_block() +
                            c * layer.pooled_length() * LANES;
    if (layer.pool_size > 1)
        for_pooled_activation(layer.activation.quantizer, layer.pool_size,
                              InputPooledGradientRow{z, gradient, to, first, n, layer.pooled_length(), layer.pool_size,
                                                     mask.is_frame, layer.norm(c), layer.activation.quantizer,
                                                     static_cast<float>(of_z), static_cast<float>(constant)});
    else
        for_activation(
            layer.activation, false,
            InputGradientRow{z + first * LANES, gradient + first * LANES, to, n, mask.is_frame, layer.norm(c),
                             layer.activation, static_cast<float>(of_z), static_cast<float>(constant)});
}

// Calls add(unit, sum) for each unit. Neighbouring units share a `sum`; these sums are added up at the end. Which units
// share one depends on the layer's shape alone, so the result does not depend on the number of threads.
template <class Add>
void sum_weight_gradients(const FusedLayer& layer, int64_t n_units, Add add) {
    int64_t n_sums = std::clamp<int64_t>(MOST_PARTIAL_SUMS / layer.n_weights(), 1, n_units);
    std::vector<float> sums(n_sums * layer.n_weights());
    for_each_item(n_sums, static_cast<int>(layer.n_threads), [&](int64_t i) {
        for (int64_t unit = i * n_units / n_sums; unit < (i + 1) * n_units / n_sums; ++unit)
            add(unit, sums.data() + i * layer.n_weights());
    });
    for (int64_t w = 0; w < layer.n_weights(); ++w) {
        double total = 0;
        for (int64_t i = 0; i < n_sums; ++i) total += sums[i * layer.n_weights() + w];
        layer.weight_gradient[w] = static_cast<float>(total);
    }
}

void backward(FusedLayer& layer) {
    std::vector<ActivationSums> sums = sum_gradients(layer);
    write_parameter_gradients(layer, sums);
    auto gradient_row = [&](int64_t block, int64_t c, int64_t first, int64_t n_positions, float* to) {
        write_input_gradients(layer, sums[c], block, c, first, n_positions, to);
    };
    if (layer.is_depthwise)
        return sum_weight_gradients(layer, layer.n_blocks(), [&](int64_t block, float* weight_gradient) {
            convolve_depthwise_backward(layer, block, weight_gradient, gradient_row);
        });
    DenseTiling tiling(layer);
    std::vector<std::vector<float>> weights = pack_backward_weights(layer);
    sum_weight_gradients(layer, tiling.n_units(layer), [&](int64_t unit, float* weight_gradient) {
        convolve_dense_backward(layer, tiling, unit, weights, weight_gradient, gradient_row);
    });
}

}  // namespace

extern "C" {

int layer_forward(FusedLayer* layer) {
    return run_guarded([&] { forward(*layer); });
}

int layer_backward(FusedLayer* layer) {
    return run_guarded([&] { backward(*layer); });
}

}
