// Static entropy coding of bytes: 32 or 64 interleaved rANS states with 16-bit renormalisation (spec/codecs/rans.md).
//
// The values are cut into as many lanes of equal length; each step codes one value of every lane, so eight states fit one
// vector of AVX2, sixteen one of AVX-512. The context of order 1 is the value before in the same lane. A processor waits
// for the states, which follow from each other: with 64 of them it has twice as much to do meanwhile. Tables and choices
// are made by the caller; here is only what touches every value.
#pragma once

#include "simd.hpp"
#include "vector.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <type_traits>
#include <vector>

namespace agd::rans {

static_assert(std::endian::native == std::endian::little, "states and words are little-endian");

constexpr int TILE = 64;
constexpr uint32_t LOWEST = 1u << 15;  // states are in [2^15, 2^31)

// One value of each lane.
template <int LANES> using Step = std::array<uint8_t, (size_t)LANES>;

// Calls f with a constant: 32 or 64.
template <class F> auto with_lanes(int lanes, const F &f) {
    require(lanes == 32 || lanes == 64, "lanes are not 32 or 64");
    return lanes == 32 ? f(std::integral_constant<int, 32>()) : f(std::integral_constant<int, 64>());
}

// TILE steps of 32 lanes between memory, where each lane is contiguous, and an array of steps.
inline void transpose(const uint8_t *from, int64_t from_stride, uint8_t *to, int64_t to_stride) {
#if defined(__x86_64__)
    for (int i = 0; i < 32; i += 16)
        for (int j = 0; j < 32; j += 16) {
            __m128i x[16], y[16];
            for (int k = 0; k < 16; k++) x[k] = _mm_loadu_si128((const __m128i *)(from + (i + k) * from_stride + j));
            for (int stage = 0; stage < 4; stage++) {
                for (int k = 0; k < 8; k++) {
                    y[2 * k] = _mm_unpacklo_epi8(x[k], x[k + 8]);
                    y[2 * k + 1] = _mm_unpackhi_epi8(x[k], x[k + 8]);
                }
                std::copy(y, y + 16, x);
            }
            for (int k = 0; k < 16; k++) _mm_storeu_si128((__m128i *)(to + (j + k) * to_stride + i), x[k]);
        }
#else
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 32; j++) to[j * to_stride + i] = from[i * from_stride + j];
#endif
}

inline void check_table(In<uint16_t> &frequencies, int base, int span, int order, int bits) {
    require(order == 0 || order == 1, "order is not 0 or 1");
    require(bits >= 8 && bits <= 12, "bits are not 8 to 12");
    require(base >= 0 && span >= 1 && base + span <= 256, "values do not fit a byte");
    const int rows = order ? span : 1;
    require((int64_t)frequencies.size() == (int64_t)rows * span, "size of the table does not fit the span");
    for (int r = 0; r < rows; r++) {
        uint32_t sum = 0;
        for (int s = 0; s < span; s++) sum += frequencies.data()[r * span + s];
        require(sum == 0 || sum == 1u << bits, "frequencies of a context do not add up", r);
    }
}

#if defined(AGD_X86)
// Eight words at a time: the lanes of a mask moved to the end, and words in their order spread to the lanes of a mask.
struct Permutations {
    alignas(32) uint32_t compress[256][8];
    alignas(32) uint32_t expand[256][8];
};

inline const Permutations &permutations() {
    static const auto made = [] {
        auto p = std::make_unique<Permutations>();
        for (uint32_t mask = 0; mask < 256; mask++) {
            uint32_t next = 0, last = 8 - (uint32_t)std::popcount(mask);
            for (uint32_t l = 0; l < 8; l++) {
                p->expand[mask][l] = next;
                p->compress[mask][l] = 0;
                if (mask >> l & 1) next++;
            }
            for (uint32_t l = 0; l < 8; l++)
                if (mask >> l & 1) p->compress[mask][last++] = l;
        }
        return p;
    }();
    return *made;
}
#endif

}  // namespace agd::rans
