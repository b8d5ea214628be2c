// Convolutions over all input channels, and their weight gradients, on rows of vectors in cache.
#pragma once

#include "rows.h"

// Accumulators in registers: 24 of 32 with AVX-512, 12 of 16 without.
constexpr int TILE_CHANNELS = 6;
constexpr int TILE_POSITIONS = V == 16 ? 4 : 2;
constexpr int GRADIENT_CHANNELS = 4;
constexpr int GRADIENT_TAPS = V == 16 ? 6 : 3;

// Packs weights as multiply_rows reads them: for each tile of output channels [in_channel][tap][channel of the tile].
template <class Weight>
void pack_weights(float* packed, int64_t n_out, int64_t n_in, int64_t n_taps, Weight weight) {
    for (int64_t first = 0; first < n_out; first += TILE_CHANNELS) {
        int64_t width = n_out - first < TILE_CHANNELS ? n_out - first : TILE_CHANNELS;
        for (int64_t i = 0; i < n_in; ++i)
            for (int64_t tap = 0; tap < n_taps; ++tap)
                for (int64_t o = 0; o < width; ++o) *packed++ = weight(first + o, i, tap);
    }
}

template <int CHANNELS>
inline void multiply_tile(
    Rows x, int64_t n_in, int64_t n_taps, const float* weight, OutputRows out, int64_t n_positions) {
    vec sums[CHANNELS][TILE_POSITIONS] = {};
    for (int64_t i = 0; i < n_in; ++i) {
        const float* from = x.start + i * x.row;
        for (int64_t tap = 0; tap < n_taps; ++tap, from += LANES, weight += CHANNELS) {
            vec inputs[TILE_POSITIONS];
#pragma GCC unroll 8
            for (int p = 0; p < TILE_POSITIONS; ++p) inputs[p] = load(from + p * x.step);
#pragma GCC unroll 8
            for (int o = 0; o < CHANNELS; ++o) {
                vec w = broadcast(weight[o]);
#pragma GCC unroll 8
                for (int p = 0; p < TILE_POSITIONS; ++p) sums[o][p] = multiply_add(inputs[p], w, sums[o][p]);
            }
        }
    }
#pragma GCC unroll 8
    for (int o = 0; o < CHANNELS; ++o) write_positions(sums[o], out.at(o, 0, 0), n_positions);
}

inline void multiply_tile_of(
    int64_t channels, Rows x, int64_t n_in, int64_t n_taps, const float* weight, OutputRows out, int64_t n) {
    static_assert(TILE_CHANNELS == 6);
    switch (channels) {
        case 1: return multiply_tile<1>(x, n_in, n_taps, weight, out, n);
        case 2: return multiply_tile<2>(x, n_in, n_taps, weight, out, n);
        case 3: return multiply_tile<3>(x, n_in, n_taps, weight, out, n);
        case 4: return multiply_tile<4>(x, n_in, n_taps, weight, out, n);
        case 5: return multiply_tile<5>(x, n_in, n_taps, weight, out, n);
        default: return multiply_tile<6>(x, n_in, n_taps, weight, out, n);
    }
}

// out[o][p] = sum over i and tap of weight[o][i][tap] * x[i][p * step + tap]. Rows of x must be readable for
// n_positions rounded up to TILE_POSITIONS.
inline void multiply_rows(
    Rows x, int64_t n_in, int64_t n_taps, const float* packed, OutputRows out, int64_t n_out, int64_t n_positions) {
    for (int lane = 0; lane < LANES; lane += V)
        for (int64_t p = 0; p < n_positions; p += TILE_POSITIONS) {
            Rows from{x.start + p * x.step + lane, x.row, x.step};
            const float* weight = packed;
            for (int64_t o = 0; o < n_out; o += TILE_CHANNELS) {
                int64_t channels = n_out - o < TILE_CHANNELS ? n_out - o : TILE_CHANNELS;
                multiply_tile_of(channels, from, n_in, n_taps, weight, out.at(o, p, lane), n_positions - p);
                weight += channels * n_in * n_taps;
            }
        }
}

// gradient[o][i * n_taps + tap] += sum over blocks, p and lanes of dz[o][p] * x[i][p * step + tap]. Blocks lie `x_block`
// and `dz_block` floats apart.
template <class Number>
void add_weight_gradient(
    RowsOf<Number> x, int64_t x_block, int64_t n_in, int64_t n_taps, Rows dz, int64_t dz_block, int64_t n_out,
    int64_t n_positions, int64_t n_blocks, float* gradient) {
    constexpr int N_SUMS = GRADIENT_CHANNELS * GRADIENT_TAPS;
    int64_t n_columns = n_in * n_taps;
    for (int64_t o = 0; o < n_out; o += GRADIENT_CHANNELS) {  // channels and columns beyond the last are thrown away
        const float* rows[GRADIENT_CHANNELS];
        for (int c = 0; c < GRADIENT_CHANNELS; ++c) rows[c] = dz.start + (o + c < n_out ? o + c : n_out - 1) * dz.row;
        for (int64_t first = 0; first < n_columns; first += GRADIENT_TAPS) {
            int64_t offset[GRADIENT_TAPS];
            for (int j = 0; j < GRADIENT_TAPS; ++j) {
                int64_t column = first + j < n_columns ? first + j : n_columns - 1;
                offset[j] = column / n_taps * x.row + column % n_taps * LANES;
            }
            vec sums[GRADIENT_CHANNELS][GRADIENT_TAPS] = {};
            for (int64_t block = 0; block < n_blocks; ++block)
                for (int lane = 0; lane < LANES; lane += V) {
                    const Number* xs = x.start + block * x_block + lane;
                    int64_t at = block * dz_block + lane;
                    for (int64_t p = 0; p < n_positions; ++p, xs += x.step, at += dz.step) {
                        vec inputs[GRADIENT_TAPS];
#pragma GCC unroll 8
                        for (int j = 0; j < GRADIENT_TAPS; ++j) inputs[j] = load_number(xs + offset[j]);
#pragma GCC unroll 8
                        for (int c = 0; c < GRADIENT_CHANNELS; ++c) {
                            vec d = load(rows[c] + at);
#pragma GCC unroll 8
                            for (int j = 0; j < GRADIENT_TAPS; ++j) sums[c][j] = multiply_add(inputs[j], d, sums[c][j]);
                        }
                    }
                }
            float totals[round_up(N_SUMS, V)];
#pragma GCC unroll 8
            for (int i = 0; i < N_SUMS; i += V) {
                vec group[V];
#pragma GCC unroll 16
                for (int n = 0; n < V; ++n)
                    group[n] = i + n < N_SUMS ? sums[(i + n) / GRADIENT_TAPS][(i + n) % GRADIENT_TAPS] : vec{};
                store(totals + i, sum_each(group));
            }
            for (int c = 0; c < GRADIENT_CHANNELS && o + c < n_out; ++c)
                for (int j = 0; j < GRADIENT_TAPS && first + j < n_columns; ++j)
                    gradient[(o + c) * n_columns + first + j] += totals[c * GRADIENT_TAPS + j];
        }
    }
}
