// Frames of int8 codes, chosen by index, as blocks of floats.

#include "vectors.h"

// codes: (frames, n_values); out: (blocks, n_values, LANES), zero in the lanes beyond n_frames.
extern "C" void gather_codes(
    const int8_t* codes, const int64_t* index, int64_t n_frames, int64_t n_values, float scale, float* out) {
    constexpr int64_t STRETCH = 64;
    for (int64_t first = 0; first < n_frames; first += LANES, out += n_values * LANES) {
        for (int64_t at = 0; at < n_values; at += STRETCH) {
            int64_t n = n_values - at < STRETCH ? n_values - at : STRETCH;
            int8_t stretch[LANES][STRETCH] = {};
            for (int64_t lane = 0; lane < LANES && first + lane < n_frames; ++lane)
                std::memcpy(stretch[lane], codes + index[first + lane] * n_values + at, n);
            for (int64_t i = 0; i < n; ++i)
                for (int lane = 0; lane < LANES; ++lane) out[(at + i) * LANES + lane] = stretch[lane][i] * scale;
        }
    }
}
