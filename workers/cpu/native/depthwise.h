// Convolutions of one channel with its own taps, and their weight gradients, on rows of vectors in cache.
#pragma once

#include <utility>

#include "rows.h"

constexpr int FILTER_POSITIONS = V == 16 ? 16 : 8;
constexpr int FILTER_TAPS = 4;
constexpr int CORRELATE_POSITIONS = 4;
constexpr int CORRELATE_TAPS = V == 16 ? 12 : 8;

template <int POSITIONS, int TAPS>
inline void add_taps(const float* x, const float* weight, vec (&sums)[POSITIONS]) {
    vec w[TAPS];
#pragma GCC unroll 8
    for (int t = 0; t < TAPS; ++t) w[t] = broadcast(weight[t]);
#pragma GCC unroll 32
    for (int j = 0; j < POSITIONS + TAPS - 1; ++j) {
        vec input = load(x + j * LANES);
#pragma GCC unroll 8
        for (int t = 0; t < TAPS; ++t)
            if (j - t >= 0 && j - t < POSITIONS) sums[j - t] = multiply_add(input, w[t], sums[j - t]);
    }
}

// Taps of one phase: every stride-th tap, on a row that holds every stride-th position.
struct Phase {
    const float* x;
    const float* weight;
    int64_t n_taps;
};

template <int POSITIONS>
inline void filter_tile(const Phase* phases, int64_t n_phases, int64_t offset, const OutputRows& out, int64_t n) {
    vec sums[POSITIONS] = {};
    for (int64_t r = 0; r < n_phases; ++r) {
        const float *x = phases[r].x + offset, *weight = phases[r].weight;
        int64_t left = phases[r].n_taps;
        for (; left >= FILTER_TAPS; left -= FILTER_TAPS, x += FILTER_TAPS * LANES, weight += FILTER_TAPS)
            add_taps<POSITIONS, FILTER_TAPS>(x, weight, sums);
        static_assert(FILTER_TAPS == 4);
        if (left == 3) add_taps<POSITIONS, 3>(x, weight, sums);
        if (left == 2) add_taps<POSITIONS, 2>(x, weight, sums);
        if (left == 1) add_taps<POSITIONS, 1>(x, weight, sums);
    }
    write_positions(sums, out, n);
}

// out[p] = sum over phases and taps of weight[tap] * x[p + tap]. Rows must be readable for n_positions rounded up to 4.
inline void filter_row(const Phase* phases, int64_t n_phases, const OutputRows& out, int64_t n_positions) {
    for (int lane = 0; lane < LANES; lane += V) {
        int64_t p = 0;
        for (; p + FILTER_POSITIONS <= n_positions; p += FILTER_POSITIONS)
            filter_tile<FILTER_POSITIONS>(phases, n_phases, p * LANES + lane, out.at(0, p, lane), FILTER_POSITIONS);
        for (; p < n_positions; p += 4)
            filter_tile<4>(phases, n_phases, p * LANES + lane, out.at(0, p, lane), n_positions - p);
    }
}

template <int TAPS>
void correlate_taps(const float* x, const float* dz, int64_t n_positions, float* gradient) {
    vec sums[TAPS] = {};
    for (int lane = 0; lane < LANES; lane += V)
        for (int64_t p = 0; p < n_positions; p += CORRELATE_POSITIONS) {
            vec d[CORRELATE_POSITIONS];
#pragma GCC unroll 8
            for (int q = 0; q < CORRELATE_POSITIONS; ++q) d[q] = load(dz + (p + q) * LANES + lane);
#pragma GCC unroll 32
            for (int j = 0; j < CORRELATE_POSITIONS + TAPS - 1; ++j) {
                vec input = load(x + (p + j) * LANES + lane);
#pragma GCC unroll 8
                for (int q = 0; q < CORRELATE_POSITIONS; ++q)
                    if (j - q >= 0 && j - q < TAPS) sums[j - q] = multiply_add(input, d[q], sums[j - q]);
            }
        }
    for (int t = 0; t < TAPS; ++t) gradient[t] += static_cast<float>(sum_lanes(sums[t]));
}

using CorrelateTaps = void (*)(const float*, const float*, int64_t, float*);

template <int... INDEX>
CorrelateTaps correlate_taps_of(int64_t n_taps, std::integer_sequence<int, INDEX...>) {
    static constexpr CorrelateTaps functions[] = {correlate_taps<INDEX + 1>...};
    return functions[n_taps - 1];
}

// gradient[tap] += sum over p and lanes of dz[p] * x[p + tap]. Rows must be readable, and dz zero, beyond n_positions up
// to the next multiple of 4.
inline void correlate_row(const float* x, const float* dz, int64_t n_positions, int64_t n_taps, float* gradient) {
    for (int64_t tap = 0; tap < n_taps; tap += CORRELATE_TAPS) {
        int64_t width = n_taps - tap < CORRELATE_TAPS ? n_taps - tap : CORRELATE_TAPS;
        correlate_taps_of(width, std::make_integer_sequence<int, CORRELATE_TAPS>{})(
            x + tap * LANES, dz, n_positions, gradient + tap);
    }
}
