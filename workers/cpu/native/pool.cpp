// Maximum over neighbouring positions without overlap; where several are equal, the first counts.

#include "parallel.h"
#include "vectors.h"

// Rows of all blocks and channels, each (in_length, LANES); every window has `size` positions, what is left has none.
struct Pool {
    int64_t n_rows, in_length, size, n_threads;
    int64_t out_length() const { return in_length / size; }
};

namespace {

void pool_row(const Pool& pool, const float* x, float* out) {
    for (int64_t p = 0; p < pool.out_length(); ++p)
        for (int lane = 0; lane < LANES; lane += V) {
            vec largest = load(x + p * pool.size * LANES + lane);
            for (int64_t k = 1; k < pool.size; ++k) {
                vec value = load(x + (p * pool.size + k) * LANES + lane);
                largest = (value > largest) | (value != value) ? value : largest;
            }
            store(out + p * LANES + lane, largest);
        }
}

void pool_row_backward(const Pool& pool, const float* x, const float* out, const float* out_gradient, float* x_gradient) {
    for (int64_t p = 0; p < pool.out_length(); ++p)
        for (int lane = 0; lane < LANES; lane += V) {
            vec largest = load(out + p * LANES + lane), gradient = load(out_gradient + p * LANES + lane);
            for (int64_t k = 0; k < pool.size; ++k) {
                int64_t at = (p * pool.size + k) * LANES + lane;
                int_vec is_first = load(x + at) == largest;
                store(x_gradient + at, is_first ? gradient : vec{});
                gradient = is_first ? vec{} : gradient;
            }
        }
    for (int64_t at = pool.out_length() * pool.size * LANES; at < pool.in_length * LANES; at += V)
        store(x_gradient + at, vec{});
}

}  // namespace

extern "C" {

int pool_forward(const Pool* pool, const float* x, float* out) {
    int64_t in = pool->in_length * LANES, to = pool->out_length() * LANES;
    return run_guarded([&] {
        for_each_item(pool->n_rows, static_cast<int>(pool->n_threads),
                      [&](int64_t row) { pool_row(*pool, x + row * in, out + row * to); });
    });
}

int pool_backward(const Pool* pool, const float* x, const float* out, const float* out_gradient, float* x_gradient) {
    int64_t in = pool->in_length * LANES, to = pool->out_length() * LANES;
    return run_guarded([&] {
        for_each_item(pool->n_rows, static_cast<int>(pool->n_threads), [&](int64_t row) {
            pool_row_backward(*pool, x + row * in, out + row * to, out_gradient + row * to, x_gradient + row * in);
        });
    });
}

}
