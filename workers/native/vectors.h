// SIMD vectors of frames, whatever the instruction set: V floats, of which one, two or four make the 16 lanes of a block.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

constexpr int LANES = 16;  // frames of one block: the innermost dimension of every blocked tensor

#if defined(__AVX512F__)
constexpr int V = 16;
#elif defined(__AVX2__)
constexpr int V = 8;
#else
constexpr int V = 4;
#endif

typedef float vec __attribute__((vector_size(4 * V)));
typedef float unaligned_vec __attribute__((vector_size(4 * V), aligned(4), may_alias));
typedef int32_t int_vec __attribute__((vector_size(4 * V)));

inline vec load(const float* from) { return *reinterpret_cast<const unaligned_vec*>(from); }
inline void store(float* to, vec value) { *reinterpret_cast<unaligned_vec*>(to) = value; }
inline vec broadcast(float value) { return value - vec{}; }

inline vec multiply_add(vec a, vec b, vec c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

// The smaller one, and `a` where it is not a number: a diverged training must show.
inline vec minimum(vec a, vec bound) { return bound < a ? bound : a; }

inline double sum_lanes(vec value) {
    double sum = 0;
    for (int lane = 0; lane < V; ++lane) sum += value[lane];
    return sum;
}

// sums[i] = sum of the lanes of values[i]: pairs are merged until each lane holds the sum of one vector.
inline vec sum_each(const vec (&values)[V]) {
    vec merged[V];
    for (int i = 0; i < V; ++i) merged[i] = values[i];
#pragma GCC unroll 4
    for (int width = V / 2; width >= 1; width /= 2) {  // vectors left, of which each lane group holds one partial sum
        int_vec first, second;
        for (int lane = 0; lane < V; ++lane) {
            // lanes whose bit `width` is clear come from the first vector, the others from the second
            bool is_second = lane & width;
            int base = lane & ~width;
            first[lane] = is_second ? base + V : base;
            second[lane] = is_second ? base + width + V : base + width;
        }
        for (int i = 0; i < width; ++i) {
            vec a = merged[i], b = merged[i + width];
            merged[i] = __builtin_shuffle(a, b, first) + __builtin_shuffle(a, b, second);
        }
    }
    return merged[0];
}
