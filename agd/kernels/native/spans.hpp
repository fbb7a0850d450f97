// Copying and turning one short span of bytes.
#pragma once

#include "vector.hpp"

#include <algorithm>
#include <array>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define AGD_TURN_AVX2 1
#endif

namespace agd {

// Asks for the lines that hold from[0:length], the first ones where it is long, into the second cache: the first one is
// small, and busy with what is copied.
inline void prefetch_bytes(const uint8_t *from, int64_t length) {
    const uint8_t *end = from + std::min<int64_t>(length, 512);
    for (const uint8_t *line = from - ((uintptr_t)from & 63); line < end; line += 64) __builtin_prefetch(line, 0, 2);
}

template <size_t STEP> AGD_INLINE void copy_ends(uint8_t *to, const uint8_t *from, int64_t size) {
    uint8_t first[STEP], last[STEP];
    std::memcpy(first, from, STEP);
    std::memcpy(last, from + size - STEP, STEP);
    std::memcpy(to, first, STEP);
    std::memcpy(to + size - STEP, last, STEP);
}

// memcpy without the call for what is short; writes nothing outside of to[0:size], for spans come in any order.
AGD_INLINE void copy_short(uint8_t *to, const uint8_t *from, int64_t size) {
    if (size > 64) std::memcpy(to, from, (size_t)size);
    else if (size > 32) copy_ends<32>(to, from, size);
    else if (size >= 16) copy_ends<16>(to, from, size);
    else if (size >= 8) copy_ends<8>(to, from, size);
    else if (size >= 4) copy_ends<4>(to, from, size);
    else
        for (int64_t i = 0; i < size; i++) to[i] = from[i];
}

inline const uint8_t *complement_table() {
    static const auto table = [] {
        std::array<uint8_t, 256> t{};
        for (int i = 0; i < 256; i++) t[i] = (uint8_t)i;
        const char *from = "ACGTUMRWSYKVHDBNacgtumrwsykvhdbn", *to = "TGCAAKYWSRMBDHVNtgcaakywsrmbdhvn";
        for (int i = 0; from[i]; i++) t[(uint8_t)from[i]] = (uint8_t)to[i];
        return t;
    }();
    return table.data();
}

// Whether p[0:n] is all ACGTN.
AGD_MULTIVERSION static bool is_acgtn(const uint8_t *p, int64_t n) {
    const auto bad = [](const Block &b) __attribute__((always_inline)) {
        return (Block)~((Block)(b == 'A') | (Block)(b == 'C') | (Block)(b == 'G') | (Block)(b == 'T') | (Block)(b == 'N'));
    };
    const auto one = [](uint8_t c) __attribute__((always_inline)) {
        return c != 'A' && c != 'C' && c != 'G' && c != 'T' && c != 'N';
    };
    return !any_of(p, n, bad, one);
}

// Complements p[0:n] if it is at least a block and all ACGTN; otherwise changes nothing and says false.
AGD_MULTIVERSION static bool complement_acgtn(uint8_t *p, int64_t n) {
    if (n < 32 || !is_acgtn(p, n)) return false;
    // A and T differ by 0x15, C and G by 0x04; N stays.
    const auto turned = [](const Block &b) __attribute__((always_inline)) {
        const Block at = (Block)(b == 'A') | (Block)(b == 'T'), cg = (Block)(b == 'C') | (Block)(b == 'G');
        return (Block)(b ^ (at & 0x15) ^ (cg & 0x04));
    };
    Block last, block;  // the last one overlaps those before, which must not be turned twice
    std::memcpy(&last, p + n - 32, 32);
    for (int64_t i = 0; i + 32 <= n; i += 32) {
        std::memcpy(&block, p + i, 32);
        block = turned(block);
        std::memcpy(p + i, &block, 32);
    }
    last = turned(last);
    std::memcpy(p + n - 32, &last, 32);
    return true;
}

inline void reverse_bytes(uint8_t *a, uint8_t *b) {
    for (; b - a >= 16; a += 8, b -= 8) {
        const uint64_t head = __builtin_bswap64(load64(a)), tail = __builtin_bswap64(load64(b - 8));
        std::memcpy(a, &tail, 8);
        std::memcpy(b - 8, &head, 8);
    }
    std::reverse(a, b);
}

// Turns [a, b) around, in place; complements the bases too if asked.
inline void turn_span(uint8_t *a, uint8_t *b, bool complement) {
    reverse_bytes(a, b);
    if (!complement || complement_acgtn(a, b - a)) return;
    const uint8_t *table = complement_table();
    for (; a < b; a++) *a = table[*a];
}

#ifdef AGD_TURN_AVX2

// Turns from[0:n], 32 bytes or more, around into to[0:n]; complements it if asked, and says false if it is not ACGTN.
__attribute__((target("avx2"))) inline bool copy_turned_avx2(uint8_t *to, const uint8_t *from, int64_t n, bool complement) {
    const __m256i backwards = _mm256_broadcastsi128_si256(_mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    // The low four bits tell the five letters apart: what they are, and what they become.
    const __m256i letters = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 'A', 0, 'C', 'T', 0, 0, 'G', 0, 0, 0, 0, 0, 0, 'N', 0));
    const __m256i partners = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 'T', 0, 'G', 'A', 0, 0, 'C', 0, 0, 0, 0, 0, 0, 'N', 0));
    const __m256i low = _mm256_set1_epi8(15);
    __m256i good = _mm256_set1_epi8(-1);
    for (int64_t at = 0;;) {
        __m256i block = _mm256_loadu_si256((const __m256i *)(from + n - 32 - at));
        block = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(block, backwards), 0x4e);
        if (complement) {
            const __m256i code = _mm256_and_si256(block, low);
            good = _mm256_and_si256(good, _mm256_cmpeq_epi8(_mm256_shuffle_epi8(letters, code), block));
            block = _mm256_shuffle_epi8(partners, code);
        }
        _mm256_storeu_si256((__m256i *)(to + at), block);
        if (at == n - 32) return _mm256_movemask_epi8(good) == -1;
        at = std::min(at + 32, n - 32);  // the last block overlaps the one before it
    }
}

#endif

// Copies from[0:n] to to[0:n], which is elsewhere, turned around; complements the bases too if asked.
inline void copy_turned(uint8_t *to, const uint8_t *from, int64_t n, bool complement) {
#ifdef AGD_TURN_AVX2
    static const bool has_avx2 = __builtin_cpu_supports("avx2");
    if (has_avx2 && n >= 32) {
        if (copy_turned_avx2(to, from, n, complement)) return;
    }
#endif
    copy_short(to, from, n);
    turn_span(to, to + n, complement);
}

}  // namespace agd
