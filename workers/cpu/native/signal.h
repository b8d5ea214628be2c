// What layers hand on: floats, or codes, each of which stands for itself times a scale.
#pragma once

#include <algorithm>

#include "vectors.h"

// (blocks, channels, length, LANES) values; the lanes beyond the frames are zero. One of the pointers is null.
struct Signal {
    const float* floats;
    const uint8_t* codes;
    float scale;      // 1 for floats
    int64_t highest;  // code; 0 for floats
    int64_t channels, length;

    int64_t at(int64_t block, int64_t channel) const { return (block * channels + channel) * length * LANES; }
};

// How many floats ahead a loop over a row asks for what will be read: that many positions, or where it reads n positions
// of each of many rows, the same positions of the next row. The hardware's own prefetching ends at each page.
inline int64_t look_ahead(int64_t n, int64_t length) { return (n < length ? length : 64) * LANES; }

// A channel's row: at(i) is the vector at number i of it, and what lies `ahead` numbers ahead is asked for.
struct FloatRow {
    const float* start;
    int64_t ahead;
    vec at(int64_t i) const {
        __builtin_prefetch(start + i + ahead);
        return load(start + i);
    }
};

struct CodeRow {
    const uint8_t* start;
    int64_t ahead;
    vec at(int64_t i) const {
        __builtin_prefetch(start + i + ahead);
        return load_codes(start + i);
    }
};

// Results of convolutions that are integers.
struct ShortRow {
    const int16_t* start;
    int64_t ahead;
    vec at(int64_t i) const {
        __builtin_prefetch(start + i + ahead);
        return load_shorts(start + i);
    }
};

// Calls f with a channel's row, as CodeRow or FloatRow, from this position on, of which it reads about n.
template <class F>
inline void with_row(const Signal& x, int64_t block, int64_t channel, int64_t position, int64_t n, F f) {
    int64_t at = x.at(block, channel) + position * LANES, ahead = look_ahead(n, x.length);
    if (x.codes) return f(CodeRow{x.codes + at, ahead});
    f(FloatRow{x.floats + at, ahead});
}

template <class Row>
inline void copy_row(float* to, Row row, int64_t from, int64_t step, int64_t n) {
    for (int64_t at = 0; at < n * LANES; at += LANES, from += step * LANES)
        for (int lane = 0; lane < LANES; lane += V) store(to + at + lane, row.at(from + lane));
}

// Copies positions first, first + step, ... of a channel, in steps of the scale; zeros where there are none.
inline void copy_positions(
    float* to, const Signal& x, int64_t block, int64_t channel, int64_t first, int64_t step, int64_t n) {
    int64_t begin = first < 0 ? (-first + step - 1) / step : 0;
    int64_t end = first < x.length ? (x.length - 1 - first) / step + 1 : 0;
    begin = std::min(begin, n);
    end = std::max(begin, std::min(end, n));
    std::memset(to, 0, begin * LANES * sizeof(float));
    with_row(x, block, channel, 0, n * step, [&](auto row) {
        copy_row(to + begin * LANES, row, (first + begin * step) * LANES, step, end - begin);
    });
    std::memset(to + end * LANES, 0, (n - end) * LANES * sizeof(float));
}

// Copies positions [first, first + n) of a row of this length as they are; zeros where there are none.
template <class Number>
inline void copy_stretch(Number* to, const Number* row, int64_t length, int64_t first, int64_t n) {
    int64_t begin = std::clamp<int64_t>(-first, 0, n), end = std::clamp<int64_t>(length - first, begin, n);
    std::memset(to, 0, begin * LANES * sizeof(Number));
    std::memcpy(to + begin * LANES, row + (first + begin) * LANES, (end - begin) * LANES * sizeof(Number));
    std::memset(to + end * LANES, 0, (n - end) * LANES * sizeof(Number));
}
