// Convolutions over all input channels of codes by codes: four products at a time, sums exact in 32 bits.
#pragma once

#include <algorithm>
#include <vector>

#include "dense.h"
#include "signal.h"

#if defined(__AVX512VNNI__)

constexpr int QUAD = 4;  // neighbouring channels, whose codes lie beside each other in each lane

// Weights as multiply_codes reads them: for each tile of output channels [quad of inputs][tap][channel of the tile][QUAD].
template <class Weight>
std::vector<int32_t> pack_code_weights(int64_t n_out, int64_t n_in, int64_t n_taps, Weight weight) {
    std::vector<int32_t> packed;
    for (int64_t first = 0; first < n_out; first += TILE_CHANNELS)
        for (int64_t quad = 0; quad < n_in; quad += QUAD)
            for (int64_t tap = 0; tap < n_taps; ++tap)
                for (int64_t o = first; o < n_out && o < first + TILE_CHANNELS; ++o) {
                    int8_t codes[QUAD] = {};
                    for (int64_t i = quad; i < n_in && i < quad + QUAD; ++i)
                        codes[i - quad] = static_cast<int8_t>(weight(o, i, tap));
                    int32_t word;
                    std::memcpy(&word, codes, sizeof(word));
                    packed.push_back(word);
                }
    return packed;
}

// Positions [first, first + n) of four channels, their codes side by side: (n, LANES, QUAD); zeros where there are none.
inline void interleave_codes(uint8_t* to, const Signal& x, int64_t block, int64_t channel, int64_t first, int64_t n) {
    int64_t begin = std::clamp<int64_t>(-first, 0, n), end = std::clamp<int64_t>(x.length - first, begin, n);
    std::memset(to, 0, begin * LANES * QUAD);
    std::memset(to + end * LANES * QUAD, 0, (n - end) * LANES * QUAD);
    const uint8_t* rows[QUAD];
    for (int64_t c = 0; c < QUAD; ++c)
        rows[c] = channel + c < x.channels ? x.codes + x.at(block, channel + c) + first * LANES : nullptr;
    for (int64_t at = begin * LANES; at < end * LANES; at += LANES) {
        __m128i codes[QUAD];
        for (int c = 0; c < QUAD; ++c)
            codes[c] = rows[c] ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[c] + at)) : _mm_setzero_si128();
        __m128i low01 = _mm_unpacklo_epi8(codes[0], codes[1]), high01 = _mm_unpackhi_epi8(codes[0], codes[1]);
        __m128i low23 = _mm_unpacklo_epi8(codes[2], codes[3]), high23 = _mm_unpackhi_epi8(codes[2], codes[3]);
        __m128i* out = reinterpret_cast<__m128i*>(to + at * QUAD);
        _mm_storeu_si128(out, _mm_unpacklo_epi16(low01, low23));
        _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(low01, low23));
        _mm_storeu_si128(out + 2, _mm_unpacklo_epi16(high01, high23));
        _mm_storeu_si128(out + 3, _mm_unpackhi_epi16(high01, high23));
    }
}

template <int CHANNELS>
inline void multiply_codes_tile(RowsOf<uint8_t> x, int64_t n_quads, int64_t n_taps, const int32_t* weight, OutputRows out,
                                int64_t n_positions) {
    __m512i sums[CHANNELS][TILE_POSITIONS] = {};
    for (int64_t i = 0; i < n_quads; ++i) {
        const uint8_t* from = x.start + i * x.row;
        for (int64_t tap = 0; tap < n_taps; ++tap, from += LANES * QUAD, weight += CHANNELS) {
            __m512i inputs[TILE_POSITIONS];
#pragma GCC unroll 8
            for (int p = 0; p < TILE_POSITIONS; ++p) inputs[p] = _mm512_loadu_si512(from + p * x.step);
#pragma GCC unroll 8
            for (int o = 0; o < CHANNELS; ++o) {
                __m512i w = _mm512_set1_epi32(weight[o]);
#pragma GCC unroll 8
                for (int p = 0; p < TILE_POSITIONS; ++p) sums[o][p] = _mm512_dpbusd_epi32(sums[o][p], inputs[p], w);
            }
        }
    }
#pragma GCC unroll 8
    for (int o = 0; o < CHANNELS; ++o) {
        vec values[TILE_POSITIONS];
#pragma GCC unroll 8
        for (int p = 0; p < TILE_POSITIONS; ++p) values[p] = _mm512_cvtepi32_ps(sums[o][p]);
        write_positions(values, out.at(o, 0, 0), n_positions);
    }
}

inline void multiply_codes_tile_of(int64_t channels, RowsOf<uint8_t> x, int64_t n_quads, int64_t n_taps,
                                   const int32_t* weight, OutputRows out, int64_t n) {
    static_assert(TILE_CHANNELS == 6);
    switch (channels) {
        case 1: return multiply_codes_tile<1>(x, n_quads, n_taps, weight, out, n);
        case 2: return multiply_codes_tile<2>(x, n_quads, n_taps, weight, out, n);
        case 3: return multiply_codes_tile<3>(x, n_quads, n_taps, weight, out, n);
        case 4: return multiply_codes_tile<4>(x, n_quads, n_taps, weight, out, n);
        case 5: return multiply_codes_tile<5>(x, n_quads, n_taps, weight, out, n);
        default: return multiply_codes_tile<6>(x, n_quads, n_taps, weight, out, n);
    }
}

inline void multiply_quads(RowsOf<uint8_t> x, int64_t n_quads, int64_t n_taps, const int32_t* packed, OutputRows out,
                           int64_t n_out, int64_t n_positions) {
    for (int64_t p = 0; p < n_positions; p += TILE_POSITIONS) {
        RowsOf<uint8_t> from{x.start + p * x.step, x.row, x.step};
        const int32_t* weight = packed;
        for (int64_t o = 0; o < n_out; o += TILE_CHANNELS) {
            int64_t channels = std::min<int64_t>(TILE_CHANNELS, n_out - o);
            multiply_codes_tile_of(channels, from, n_quads, n_taps, weight, out.at(o, p, 0), n_positions - p);
            weight += channels * n_quads * n_taps;
        }
    }
}

// As multiply_rows, of codes and weights that are codes: of the block's positions from `first` on, `row` of each channel.
inline void multiply_codes(const Signal& x, int64_t block, int64_t first, int64_t row, int64_t stride, int64_t n_taps,
                           const std::vector<int32_t>& packed, OutputRows out, int64_t n_out, int64_t n_positions) {
    thread_local std::vector<uint8_t> scratch;
    int64_t n_quads = round_up(x.channels, QUAD) / QUAD, quad = row * LANES * QUAD;
    scratch.resize(std::max<size_t>(scratch.size(), n_quads * quad));
    for (int64_t i = 0; i < n_quads; ++i) interleave_codes(scratch.data() + i * quad, x, block, i * QUAD, first, row);
    multiply_quads({scratch.data(), quad, stride * LANES * QUAD}, n_quads, n_taps, packed.data(), out, n_out, n_positions);
}

#else

template <class Weight>
std::vector<int32_t> pack_code_weights(int64_t, int64_t, int64_t, Weight) {
    return {};  // there are none: products are those of floats
}

inline void multiply_codes(const Signal&, int64_t, int64_t, int64_t, int64_t, int64_t, const std::vector<int32_t>&,
                           OutputRows, int64_t, int64_t) {}

#endif
