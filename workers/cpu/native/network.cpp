// A row of fused layers, forward and backward, behind a plain C interface.
//
// Batch norm needs all frames of a batch, so layers follow one another; between two of them, each block of frames is
// activated (or its gradient passed back) right where the next convolution reads it, while it is in the caches.

#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "convolution.h"
#include "pooled.h"

namespace {

constexpr int64_t MOST_PARTIAL_SUMS = 1 << 22;  // of weight gradients: 16 MB

// Calls f with what is added to a channel of the layer's values, from position `first` on, of which it reads n.
template <class F>
void with_summand(const Network& network, const FusedLayer& layer, int64_t block, int64_t channel, int64_t first, int64_t n,
                  F f) {
    if (!layer.has_summand()) return f(NoSummand{});
    Signal x = network.signal(layer.summand);
    with_row(x, block, channel, first, n, [&](auto row) { f(Summand<decltype(row)>{row, x.scale}); });
}

void activate_block(const Network& network, int64_t number, int64_t block) {
    const FusedLayer& layer = network.layers[number];
    Activation activation = layer.activation();
    for (int64_t c = 0; c < layer.out_channels; ++c) {
        int64_t at = layer.out().at(block, c);
        OutRow out{layer.floats + at, layer.codes + at};
        layer.with_z(block, c, 0, layer.out_length, [&](auto z) {
            using Row = decltype(z);
            if (layer.pool_size > 1)
                return for_window(layer.pool_size,
                                  ActivatePooledRow<Row>{z, out, layer.largest + at, layer.pooled_length(),
                                                         layer.pool_size, layer.norm(c), activation.quantizer});
            with_summand(network, layer, block, c, 0, layer.out_length, [&](auto summand) {
                for_activation(activation, summand, ActivateRow<Row>{z, out, layer.out_length, layer.norm(c), activation});
            });
        });
        if (layer.codes)
            clear_lanes(layer.codes + at, layer.pooled_length(), network.n_lanes(block));
        else
            clear_lanes(layer.floats + at, layer.pooled_length(), network.n_lanes(block));
    }
}

void use_batch_statistics(const Network& network, FusedLayer& layer, const std::vector<Statistics>& of_blocks) {
    double n = static_cast<double>(network.n_frames * layer.out_length);
    for (int64_t c = 0; c < layer.out_channels; ++c) {
        Statistics total;
        for (int64_t block = 0; block < network.n_blocks(); ++block) {
            total.sum += of_blocks[block * layer.out_channels + c].sum;
            total.sum_of_squares += of_blocks[block * layer.out_channels + c].sum_of_squares;
        }
        double mean = total.sum / n, variance = total.sum_of_squares / n - mean * mean;
        mean *= layer.z_unit;
        variance = variance < 0 ? 0 : variance * layer.z_unit * layer.z_unit;
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

// Whether what the layer puts out is made of numbers alone. Codes cannot tell.
bool is_finite(const FusedLayer& layer, const std::vector<Statistics>& of_blocks) {
    bool is_finite = true;
    for (const Statistics& statistics : of_blocks) is_finite &= std::isfinite(statistics.sum);
    for (int64_t c = 0; c < layer.out_channels; ++c)
        is_finite &= std::isfinite(layer.norm(c).slope) && std::isfinite(layer.norm(c).shift);
    return is_finite && std::isfinite(layer.activation().quantizer.scale) &&
           std::isfinite(layer.activation().sum_quantizer.scale);
}

void write_out(const Network& network, bool is_finite) {
    Signal last = network.signal(network.n_layers);
    int64_t n_values = network.n_blocks() * last.channels * last.length * LANES;
    if (!is_finite) return std::fill_n(network.out, n_values, std::numeric_limits<float>::quiet_NaN()), void();
    if (!last.codes) return;  // the layer wrote them itself
    for (int64_t at = 0; at < n_values; at += V) store(network.out + at, load_codes(last.codes + at) * last.scale);
}

void forward(Network& network) {
    bool is_all_finite = true;
    int n_threads = static_cast<int>(network.n_threads);
    for (int64_t number = 0; number < network.n_layers; ++number) {
        FusedLayer& layer = network.layers[number];
        Convolution convolution(layer, network.signal(number));
        layer.is_z_short = convolution.is_integer && convolution.largest_sum <= std::numeric_limits<int16_t>::max();
        convolution.is_streamed = network.is_streamed(layer.z_block(), layer.z_size());
        layer.z_unit = convolution.is_integer ? convolution.x.scale * convolution.weights.step : 1;
        std::optional<ForwardWeights> weights;
        if (!layer.is_depthwise) weights.emplace(convolution);
        std::vector<Statistics> of_blocks(network.n_blocks() * layer.out_channels);
        for_each_item(network.n_blocks(), n_threads, [&](int64_t block) {
            if (number > 0) activate_block(network, number - 1, block);
            Statistics* of_channels = &of_blocks[block * layer.out_channels];
            if (layer.is_depthwise)
                convolve_depthwise(convolution, block, of_channels);
            else
                convolve_dense(convolution, block, *weights, of_channels);
        });
        if (network.is_training)
            use_batch_statistics(network, layer, of_blocks);
        else
            use_running_statistics(layer);
        is_all_finite &= is_finite(layer, of_blocks);
    }
    for_each_item(network.n_blocks(), n_threads,
                  [&](int64_t block) { activate_block(network, network.n_layers - 1, block); });
    write_out(network, is_all_finite);
}

// Memory for gradients of what layers put out; used again for another layer when it is released.
class GradientBuffers {
public:
    explicit GradientBuffers(int64_t n_floats) : n_floats_(n_floats) {}
    float* of(int64_t layer) {
        for (Buffer& buffer : buffers_)
            if (buffer.owner == layer) return buffer.memory.get();
        for (Buffer& buffer : buffers_)
            if (buffer.owner == NOBODY) return buffer.owner = layer, buffer.memory.get();
        float* memory = static_cast<float*>(std::aligned_alloc(64, n_floats_ * sizeof(float)));
        if (!memory) throw std::bad_alloc();
        buffers_.push_back({layer, std::unique_ptr<float, Free>(memory)});
        return memory;
    }
    void release(int64_t layer) {
        for (Buffer& buffer : buffers_)
            if (buffer.owner == layer) buffer.owner = NOBODY;
    }

private:
    static constexpr int64_t NOBODY = -1;
    struct Free {
        void operator()(float* memory) const { std::free(memory); }
    };
    struct Buffer {
        int64_t owner;
        std::unique_ptr<float, Free> memory;
    };
    int64_t n_floats_;
    std::vector<Buffer> buffers_;
};

int64_t count_largest_out(const Network& network) {
    int64_t largest = 0;
    for (int64_t i = 0; i < network.n_layers; ++i) largest = std::max(largest, network.layers[i].out_block());
    return largest * network.n_blocks();
}

// The layer that adds this signal to its own values, or -1.
int64_t find_adder(const Network& network, int64_t signal) {
    for (int64_t i = 0; i < network.n_layers; ++i)
        if (network.layers[i].summand == signal) return i;
    return -1;
}

// Takes the gradient of one signal, piece by piece: to where the layer that made it will read it.
class SignalGradient {
public:
    SignalGradient(const Network& network, int64_t signal, GradientBuffers& buffers)
        : network_(network), number_(signal), shape_(network.signal(signal)), of_blocks_(network.n_blocks() * shape_.channels) {
        int64_t adder = find_adder(network, signal);
        added_ = adder < 0 ? nullptr : buffers.of(adder);
        to_ = signal > 0 ? buffers.of(signal - 1) : network.x_gradient;
        is_streamed_ = network.is_streamed(shape_.at(1, 0), sizeof(float));
        if (signal > 0) activation_ = network.layers[signal - 1].activation();
    }

    // Positions [first, first + n) of one channel.
    void take(int64_t block, int64_t channel, int64_t first, int64_t n, const float* gradient) {
        int64_t at = shape_.at(block, channel) + first * LANES;
        const float* added = added_ ? added_ + at : nullptr;
        if (number_ > 0) return pass(block, channel, first, n, gradient, added, to_ + at);
        for (int64_t i = 0; i < n * LANES; i += V)
            store(to_ + at + i, added ? load(gradient + i) + load(added + i) : load(gradient + i));
    }

    // Over all blocks, of each channel of the layer that made the signal.
    std::vector<ActivationSums> sum_up() const {
        std::vector<ActivationSums> totals(shape_.channels);
        for (size_t i = 0; i < of_blocks_.size(); ++i) {
            ActivationSums& total = totals[i % shape_.channels];
            total.gradient += of_blocks_[i].gradient;
            total.gradient_centered += of_blocks_[i].gradient_centered;
            total.scale += of_blocks_[i].scale;
            total.sum_scale += of_blocks_[i].sum_scale;
        }
        return totals;
    }

private:
    void pass(int64_t block, int64_t channel, int64_t first, int64_t n, const float* gradient, const float* added,
              float* to) {
        const FusedLayer& layer = network_.layers[number_ - 1];
        ActivationSums& sums = of_blocks_[block * shape_.channels + channel];
        auto pass_from = [&](auto z) {
            with_summand(network_, layer, block, channel, first, n, [&](auto summand) {
                for_activation(activation_, summand,
                               PassGradientRow<decltype(z)>{z, gradient, added, is_streamed_, to, n, layer.norm(channel), activation_,
                                                            sums});
            });
        };
        if (layer.pool_size == 1) return layer.with_z(block, channel, first, n, pass_from);
        pass_from(FloatRow{layer.largest + shape_.at(block, channel) + first * LANES, look_ahead(n, shape_.length)});
    }

    const Network& network_;
    int64_t number_;
    Signal shape_;
    Activation activation_;  // of the layer that made the signal
    const float* added_;
    float* to_;
    bool is_streamed_;
    std::vector<ActivationSums> of_blocks_;
};

// The gradient of the number whose magnitude the highest code stands for, from that of the scale.
float pass_to_range(float range, int64_t highest, double scale_gradient) {
    double sign = range > 0 ? 1 : (range < 0 ? -1 : 0);
    return static_cast<float>(sign * scale_gradient / static_cast<double>(highest));
}

void write_parameter_gradients(FusedLayer& layer, const std::vector<ActivationSums>& sums) {
    double scale = 0, sum_scale = 0;
    for (int64_t c = 0; c < layer.out_channels; ++c) {
        layer.gamma_gradient[c] =
            static_cast<float>(sums[c].gradient_centered * layer.z_unit * layer.inverse_deviation[c]);
        layer.beta_gradient[c] = static_cast<float>(sums[c].gradient);
        scale += sums[c].scale;
        sum_scale += sums[c].sum_scale;
    }
    if (layer.range) *layer.range_gradient = pass_to_range(*layer.range, layer.highest, scale);
    if (layer.sum_range) *layer.sum_range_gradient = pass_to_range(*layer.sum_range, layer.sum_highest, sum_scale);
}

// The gradients of a layer's z, from those of its normalized values or, with a summand, of the sum.
struct ZGradients {
    const Network& network;
    const FusedLayer& layer;
    const float* gradient;
    Activation activation;
    std::vector<NormGradient> of_norm;

    ZGradients(const Network& network, const FusedLayer& layer, const float* gradient,
               const std::vector<ActivationSums>& sums)
        : network(network), layer(layer), gradient(gradient), activation(layer.activation()) {
        double n_values = static_cast<double>(network.n_frames * layer.out_length);
        for (int64_t c = 0; c < layer.out_channels; ++c) {
            double inverse = layer.inverse_deviation[c], slope = layer.gamma[c] * inverse, of_z = 0, constant = 0;
            if (network.is_training) {  // the batch's mean and deviation depend on z, too
                of_z = -slope * inverse * inverse * sums[c].gradient_centered * layer.z_unit / n_values;
                constant = -slope * sums[c].gradient / n_values - of_z * layer.mean[c];
            }
            of_norm.push_back({static_cast<float>(slope), static_cast<float>(of_z * layer.z_unit),
                               static_cast<float>(constant)});
        }
    }

    // Writes positions [first, first + n) of one channel.
    void write(int64_t block, int64_t c, int64_t first, int64_t n, float* to) const {
        int64_t row = block * layer.out_block() + c * layer.pooled_length() * LANES;
        if (layer.pool_size > 1)
            layer.with_z(block, c, 0, n, [&](auto z) {
                for_window(layer.pool_size,
                           ZPooledGradientRow<decltype(z)>{z, layer.largest + row, gradient + row, to, first, n,
                                                           layer.pooled_length(), layer.pool_size, of_norm[c]});
            });
        else
            layer.with_z(block, c, first, n, [&](auto z) {
                ZGradientRow<decltype(z)>{z, gradient + row + first * LANES, to, n, layer.norm(c), of_norm[c],
                                          activation.quantizer}
                    .run(layer.has_summand());
            });
        clear_lanes(to, n, network.n_lanes(block));
    }
};

// Calls add(unit, sum) for each unit. Neighbouring units share a `sum`; these sums are added up at the end. Which units
// share one depends on the layer's shape alone, so the result does not depend on the number of threads.
template <class Add>
void sum_weight_gradients(const Convolution& c, int64_t n_units, int64_t n_threads, Add add) {
    const FusedLayer& layer = c.layer;
    int64_t n_sums = std::clamp<int64_t>(MOST_PARTIAL_SUMS / layer.n_weights(), 1, n_units);
    std::vector<float> sums(n_sums * layer.n_weights());
    for_each_item(n_sums, static_cast<int>(n_threads), [&](int64_t i) {
        for (int64_t unit = i * n_units / n_sums; unit < (i + 1) * n_units / n_sums; ++unit)
            add(unit, sums.data() + i * layer.n_weights());
    });
    for (int64_t w = 0; w < layer.n_weights(); ++w) {
        double total = 0;
        for (int64_t i = 0; i < n_sums; ++i) total += sums[i * layer.n_weights() + w];
        layer.weight_gradient[w] = static_cast<float>(total * c.x.scale);
    }
    c.weights.pass_gradient(layer.weight_gradient);
}

void convolve_backward(const Network& network, int64_t number, const ZGradients& z_gradients, SignalGradient* of_x) {
    const FusedLayer& layer = network.layers[number];
    Convolution convolution(layer, network.signal(number));
    auto write_z_gradients = [&](int64_t block, int64_t c, int64_t first, int64_t n, float* to) {
        z_gradients.write(block, c, first, n, to);
    };
    auto use_x_gradients = [&](int64_t block, int64_t c, int64_t first, int64_t n, const float* from) {
        of_x->take(block, c, first, n, from);
    };
    int64_t n_blocks = network.n_blocks();
    if (layer.is_depthwise)
        return sum_weight_gradients(convolution, n_blocks, network.n_threads,
                                    [&](int64_t block, float* weight_gradient) {
                                        convolve_depthwise_backward(convolution, block, weight_gradient,
                                                                    write_z_gradients, of_x, use_x_gradients);
                                    });
    DenseTiling t(layer, n_blocks);
    std::vector<std::vector<float>> weights = pack_backward_weights(convolution);
    int64_t n_units = (n_blocks + t.n_blocks - 1) / t.n_blocks;
    sum_weight_gradients(convolution, n_units, network.n_threads, [&](int64_t unit, float* weight_gradient) {
        int64_t first = unit * t.n_blocks;
        convolve_dense_backward(convolution, t, first, std::min(t.n_blocks, n_blocks - first), weights, weight_gradient,
                                write_z_gradients, of_x, use_x_gradients);
    });
}

void backward(Network& network) {
    GradientBuffers buffers(count_largest_out(network));
    std::optional<SignalGradient> of_out(std::in_place, network, network.n_layers, buffers);
    Signal out = network.signal(network.n_layers);
    for_each_item(network.n_blocks(), static_cast<int>(network.n_threads), [&](int64_t block) {
        for (int64_t c = 0; c < out.channels; ++c)
            of_out->take(block, c, 0, out.length, network.out_gradient + out.at(block, c));
    });
    for (int64_t number = network.n_layers - 1; number >= 0; --number) {
        FusedLayer& layer = network.layers[number];
        std::vector<ActivationSums> sums = of_out->sum_up();
        write_parameter_gradients(layer, sums);
        ZGradients z_gradients(network, layer, buffers.of(number), sums);
        of_out.reset();
        if (number > 0 || network.x_gradient) of_out.emplace(network, number, buffers);
        convolve_backward(network, number, z_gradients, of_out ? &*of_out : nullptr);
        buffers.release(find_adder(network, number));
        if (!layer.has_summand()) buffers.release(number);
    }
}

}  // namespace

extern "C" {

int network_forward(Network* network) {
    return run_guarded([&] { forward(*network); });
}

int network_backward(Network* network) {
    return run_guarded([&] { backward(*network); });
}

}
