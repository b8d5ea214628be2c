// Maximum over neighbouring positions without overlap; where several are equal, the first counts.

#include "parallel.h"
#include "vectors.h"

// A row of the output looks at `size` positions each of a row of the input; rows of all blocks and channels.
extern "C" void pool_forward(
    const float* x, float* out, int64_t n_rows, int64_t in_length, int64_t size, int64_t n_threads) {
    int64_t out_length = in_length / size;
    for_each_item(n_rows, static_cast<int>(n_threads), [&](int64_t row) {
        const float* from = x + row * in_length * LANES;
        float* to = out + row * out_length * LANES;
        for (int64_t p = 0; p < out_length; ++p)
            for (int lane = 0; lane < LANES; lane += V) {
                vec largest = load(from + p * size * LANES + lane);
                for (int64_t k = 1; k < size; ++k) {
                    vec value = load(from + (p * size + k) * LANES + lane);
                    largest = (value > largest) | (value != value) ? value : largest;
                }
                store(to + p * LANES + lane, largest);
            }
    });
}

extern "C" void pool_backward(const float* x, const float* out, const float* out_gradient, float* x_gradient,
                              int64_t n_rows, int64_t in_length, int64_t size, int64_t n_threads) {
    int64_t out_length = in_length / size;
    for_each_item(n_rows, static_cast<int>(n_threads), [&](int64_t row) {
        const float* from = x + row * in_length * LANES;
        float* to = x_gradient + row * in_length * LANES;
        for (int64_t p = 0; p < out_length; ++p)
            for (int lane = 0; lane < LANES; lane += V) {
                int64_t at = (row * out_length + p) * LANES + lane;
                vec largest = load(out + at), gradient = load(out_gradient + at);
                for (int64_t k = 0; k < size; ++k) {
                    int64_t position = (p * size + k) * LANES + lane;
                    int_vec is_first = load(from + position) == largest;
                    store(to + position, is_first ? gradient : vec{});
                    gradient = is_first ? vec{} : gradient;
                }
            }
        for (int64_t at = out_length * size * LANES; at < in_length * LANES; at += V) store(to + at, vec{});
    });
}
