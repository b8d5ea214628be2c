// SIMD vectors of frames, whatever the instruction set: V floats, of which one, two or four make the 16 lanes of a block.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__SSE2__)
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

// A store past the caches, for what is too large to be found there again; `to` is a multiple of sizeof(vec).
inline void stream(float* to, vec value) {
#if defined(__AVX512F__)
    _mm512_stream_ps(to, value);
#elif defined(__AVX2__)
    _mm256_stream_ps(to, value);
#elif defined(__SSE2__)
    _mm_stream_ps(to, value);
#else
    store(to, value);
#endif
}

inline void store_or_stream(float* to, vec value, bool is_streamed) {
    if (is_streamed)
        stream(to, value);
    else
        store(to, value);
}

// Streamed values are seen by other threads from here on.
inline void finish_streams() {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

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

// The smaller one, or larger one; `a` where it is not a number: a diverged training must show.
inline vec minimum(vec a, vec bound) {
#if defined(__AVX512F__)
    return _mm512_min_ps(bound, a);
#elif defined(__AVX2__)
    return _mm256_min_ps(bound, a);
#else
    return bound < a ? bound : a;
#endif
}

inline vec maximum(vec a, vec bound) {
#if defined(__AVX512F__)
    return _mm512_max_ps(bound, a);
#elif defined(__AVX2__)
    return _mm256_max_ps(bound, a);
#else
    return bound > a ? bound : a;
#endif
}

inline float sum_lanes(vec value) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps(value);
#else
    float sum = 0;
    for (int lane = 0; lane < V; ++lane) sum += value[lane];
    return sum;
#endif
}

inline float sum_block_lanes(const float* values) {
    float sum = 0;
    for (int lane = 0; lane < LANES; lane += V) sum += sum_lanes(load(values + lane));
    return sum;
}

// Codes 0 to 255 as floats.
inline vec load_codes(const uint8_t* from) {
#if defined(__AVX512F__)
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#elif defined(__AVX2__)
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
#else
    vec values;
    for (int lane = 0; lane < V; ++lane) values[lane] = from[lane];
    return values;
#endif
}

// Integers of 16 bits as floats.
inline vec load_shorts(const int16_t* from) {
#if defined(__AVX512F__)
    return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#elif defined(__AVX2__)
    return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#else
    vec values;
    for (int lane = 0; lane < V; ++lane) values[lane] = from[lane];
    return values;
#endif
}

#if defined(__AVX2__) && !defined(__AVX512F__)
inline __m128i pack_to_shorts(vec values) {
    __m256i integers = _mm256_cvtps_epi32(values);
    return _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
}
#endif

// Integers of 16 bits. Anything else becomes some of them.
inline void store_shorts(int16_t* to, vec values, bool is_streamed) {
#if defined(__AVX512F__)
    __m256i shorts = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(values));
    if (is_streamed)
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to), shorts);
    else
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), shorts);
#elif defined(__AVX2__)
    __m128i shorts = pack_to_shorts(values);
    if (is_streamed)
        _mm_stream_si128(reinterpret_cast<__m128i*>(to), shorts);
    else
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), shorts);
#else
    int_vec bits = reinterpret_cast<int_vec>(values + 12582912.0f);  // 1.5 * 2**23: the integer is in the low bits
    for (int lane = 0; lane < V; ++lane) to[lane] = static_cast<int16_t>(bits[lane]);
#endif
}

// Values that round, half to even, to integers 0 to 255. Anything else becomes some code.
inline void store_codes(uint8_t* to, vec values) {
#if defined(__AVX512F__)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(values)));
#elif defined(__AVX2__)
    __m128i shorts = pack_to_shorts(values);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(shorts, shorts));
#else
    int_vec bits = reinterpret_cast<int_vec>(values + 12582912.0f);  // 1.5 * 2**23: the integer is in the low bits
    for (int lane = 0; lane < V; ++lane) to[lane] = static_cast<uint8_t>(bits[lane]);
#endif
}

// Lanes of `a` where bit WIDTH of the lane's number is clear, lanes of `b` elsewhere; each plus its partner in `a` or `b`.
template <int WIDTH, int... LANE>
inline vec merge_pair(vec a, vec b, std::integer_sequence<int, LANE...>) {
    constexpr int FROM_B = V - WIDTH;
    return __builtin_shuffle(a, b, int_vec{(LANE & WIDTH ? LANE + FROM_B : LANE)...}) +
           __builtin_shuffle(a, b, int_vec{(LANE & WIDTH ? LANE + V : LANE + WIDTH)...});
}

template <int WIDTH>
inline void merge_pairs(vec (&values)[V]) {
#pragma GCC unroll 8
    for (int i = 0; i < WIDTH; ++i)
        values[i] = merge_pair<WIDTH>(values[i], values[i + WIDTH], std::make_integer_sequence<int, V>{});
    if constexpr (WIDTH > 1) merge_pairs<WIDTH / 2>(values);
}

// Lane i of the result is the sum of the lanes of values[i], which are overwritten.
inline vec sum_each(vec (&values)[V]) {
    merge_pairs<V / 2>(values);
    return values[0];
}
