// What layers hand on: floats, or codes, each of which stands for itself times a scale.
#pragma once

#include <algorithm>

#include "vectors.h"

// (blocks, channels, length, LANES) values; the lanes beyond the frames are zero. One of the pointers is null.
struct Signal {
    const float* floats;
    const uint8_t* codes;
    float scale;  // 1 for floats
    int64_t channels, length;

    int64_t at(int64_t block, int64_t channel) const { return (block * channels + channel) * length * LANES; }
};

// A row's positions as f.run(row) reads them, where row.at(i) is the vector at float i of the row, in steps of the scale.
struct FloatRow {
    const float* start;
    vec at(int64_t i) const {
        prefetch(start + i);
        return load(start + i);
    }
};

struct CodeRow {
    const uint8_t* start;
    vec at(int64_t i) const {
        __builtin_prefetch(start + i + 1024);
        return load_codes(start + i);
    }
};

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
    int64_t from = (first + begin * step) * LANES, row = x.at(block, channel);
    if (x.codes)
        copy_row(to + begin * LANES, CodeRow{x.codes + row}, from, step, end - begin);
    else
        copy_row(to + begin * LANES, FloatRow{x.floats + row}, from, step, end - begin);
    std::memset(to + end * LANES, 0, (n - end) * LANES * sizeof(float));
}
