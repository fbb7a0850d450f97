// Blocks of 32 bytes in the vector extension of gcc and clang, and functions compiled for several instruction sets.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// The loader picks the AVX2 version where the processor has it; elsewhere the default one is all there is. Sanitized
// builds go without: the resolvers run before the sanitizer does. clang refuses functions of several versions that hand
// blocks to lambdas.
#define AGD_MULTIVERSION
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__) && \
    defined(__has_attribute)
#if __has_attribute(target_clones)
#undef AGD_MULTIVERSION
#define AGD_MULTIVERSION __attribute__((target_clones("avx2", "default")))
#endif
#endif

#define AGD_INLINE inline __attribute__((always_inline))

namespace agd {

using Block = uint8_t __attribute__((vector_size(32), aligned(1), may_alias));

// Whether any bit of a block is set.
AGD_INLINE bool any(const Block &block) {
    uint64_t part[4];
    std::memcpy(part, &block, 32);
    return (part[0] | part[1] | part[2] | part[3]) != 0;
}

using Half = uint8_t __attribute__((vector_size(16), aligned(1), may_alias));

// A bit for each byte of a half block of which each is 0 or 255, the first lowest.
AGD_INLINE uint32_t bits_of(const Half &mask) {
#if defined(__SSE2__)
    return (uint32_t)_mm_movemask_epi8((__m128i)mask);
#else
    uint64_t part[2];
    std::memcpy(part, &mask, 16);
    uint32_t bits = 0;
    for (int i = 0; i < 2; i++)
        bits |= (uint32_t)((part[i] & 0x0101010101010101) * 0x0102040810204080 >> 56) << (8 * i);
    return bits;
#endif
}

AGD_INLINE Half load_half(const uint8_t *p) {
    Half half;
    std::memcpy(&half, p, 16);
    return half;
}

AGD_INLINE uint64_t load64(const uint8_t *p) {
    uint64_t x;
    std::memcpy(&x, p, 8);
    return x;
}

// Whether bad(block) has a bit set for any block of p[0:n]; one(byte) is the same for a single byte. The last block
// overlaps the one before it, so nothing outside of p[0:n] is read.
template <class OfBlock, class OfByte>
AGD_INLINE bool any_of(const uint8_t *p, int64_t n, const OfBlock &bad, const OfByte &one) {
    if (n < 32) {
        bool found = false;
        for (int64_t i = 0; i < n; i++) found |= one(p[i]);
        return found;
    }
    Block found{}, block;
    for (int64_t i = 0; i + 32 <= n; i += 32) {
        std::memcpy(&block, p + i, 32);
        found |= bad(block);
    }
    std::memcpy(&block, p + n - 32, 32);
    found |= bad(block);
    return any(found);
}

}  // namespace agd
