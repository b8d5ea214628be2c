// Rows of (position, lane) that convolutions read, and those that they write.
#pragma once

#include "vectors.h"

// In one block or a packed tile of it. `step` is the distance between positions that outputs one position apart look at.
template <class Number>
struct RowsOf {
    const Number* start;
    int64_t row, step;
};
using Rows = RowsOf<float>;

inline vec load_number(const float* from) { return load(from); }
inline vec load_number(const uint8_t* from) { return load_codes(from); }

// What a convolution writes: floats, or where `shorts` is given integers of 16 bits.
struct OutputRows {
    float* start;
    int16_t* shorts;
    int64_t row, step;
    bool is_streamed;
    float* statistics;  // per row LANES sums and LANES sums of squares, which are added to; or null

    OutputRows at(int64_t channel, int64_t position, int lane) const {
        OutputRows there = *this;
        there.skip(channel * row + position * step + lane);
        if (statistics) there.statistics += channel * 2 * LANES + lane;
        return there;
    }
    void skip(int64_t n) {
        if (shorts)
            shorts += n;
        else
            start += n;
    }
};

// The first n of neighbouring positions of one row. Always inlined, for `values` are to stay in registers.
template <int POSITIONS>
__attribute__((always_inline)) inline void write_positions(const vec (&values)[POSITIONS], const OutputRows& out, int64_t n) {
    vec sum{}, squares{};
#pragma GCC unroll 16
    for (int p = 0; p < POSITIONS; ++p) {
        if (p >= n) break;
        if (out.shorts)
            store_shorts(out.shorts + p * out.step, values[p], out.is_streamed);
        else
            store_or_stream(out.start + p * out.step, values[p], out.is_streamed);
        sum += values[p];
        squares = multiply_add(values[p], values[p], squares);
    }
    if (!out.statistics) return;
    store(out.statistics, load(out.statistics) + sum);
    store(out.statistics + LANES, load(out.statistics + LANES) + squares);
}

constexpr int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
