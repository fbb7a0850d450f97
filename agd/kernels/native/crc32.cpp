// CRC-32 by tables of eight bytes at a time, and by carry-less multiplication where the processor can.
#include "crc32.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define AGD_CLMUL 1
#endif

namespace agd {

namespace {

using Tables = std::array<std::array<uint32_t, 256>, 8>;

// tables[k][byte]: the effect of a byte that k zero bytes follow.
constexpr Tables tables = [] {
    Tables t{};
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
        t[0][i] = c;
    }
    for (size_t k = 1; k < 8; k++)
        for (size_t i = 0; i < 256; i++) t[k][i] = t[k - 1][i] >> 8 ^ t[0][t[k - 1][i] & 0xff];
    return t;
}();

// Modulo the polynomial: what is of degree 32 or more, in the low half, is moved over the four bytes below.
uint32_t reduce(uint64_t polynomial) {
    const uint32_t high = (uint32_t)polynomial;
    return tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^ tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24] ^
           (uint32_t)(polynomial >> 32);
}

// On the inverted remainder, as the two public functions below do it at their ends.
uint32_t update(uint32_t state, const uint8_t *p, size_t size) {
    for (; size >= 8; p += 8, size -= 8) {
        uint32_t low, high;
        std::memcpy(&low, p, 4);
        std::memcpy(&high, p + 4, 4);
        low ^= state;
        state = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^ tables[4][low >> 24] ^
                tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^ tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
    }
    if (size >= 4) {
        uint32_t low;
        std::memcpy(&low, p, 4);
        state = reduce(state ^ low);
        p += 4;
        size -= 4;
    }
    for (; size; p++, size--) state = state >> 8 ^ tables[0][(state ^ *p) & 0xff];
    return state;
}

#ifdef AGD_CLMUL

bool has_clmul() {
    static const bool has = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
    return has;
}

// Sixteen bytes of it from `n` on: shuffled by them, bytes n to 15 go to the front and bytes with the sign bit follow.
// With the sign bits turned, bytes 0 to n - 1 go to the end, and zeros precede them.
alignas(16) constexpr uint8_t sliding[32] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
    0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f,
};

// Folding by carry-less multiplication (Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ",
// 2009). Each constant is x to a power of bits, modulo the polynomial, reflected; size is at least 16.
__attribute__((target("pclmul,sse4.1,ssse3"))) uint32_t fold(uint32_t state, const uint8_t *p, size_t size) {
    const __m128i by_512 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), by_128 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const auto load = [](const uint8_t *at) __attribute__((target("sse4.1"))) {
        return _mm_loadu_si128((const __m128i *)at);
    };
    const auto step = [](__m128i x, __m128i by, __m128i next) __attribute__((target("pclmul,sse4.1"))) {
        const __m128i low = _mm_clmulepi64_si128(x, by, 0x00), high = _mm_clmulepi64_si128(x, by, 0x11);
        return _mm_xor_si128(_mm_xor_si128(low, high), next);
    };
    __m128i a = _mm_xor_si128(load(p), _mm_cvtsi32_si128((int)state));
    if (size >= 64) {
        __m128i b = load(p + 16), c = load(p + 32), d = load(p + 48);
        p += 64;
        size -= 64;
        for (; size >= 64; p += 64, size -= 64) {
            a = step(a, by_512, load(p));
            b = step(b, by_512, load(p + 16));
            c = step(c, by_512, load(p + 32));
            d = step(d, by_512, load(p + 48));
        }
        a = step(a, by_128, b);
        a = step(a, by_128, c);
        a = step(a, by_128, d);
    } else {
        p += 16;
        size -= 16;
    }
    for (; size >= 16; p += 16, size -= 16) a = step(a, by_128, load(p));
    if (size) {
        // The remainder and the last bytes are `16 + size` bytes: `size` of them, behind zeros, and then 16.
        const __m128i places = load(sliding + size), last = load(p + size - 16);
        const __m128i head = _mm_shuffle_epi8(a, _mm_xor_si128(places, _mm_set1_epi8(-128)));
        const __m128i tail = _mm_shuffle_epi8(a, places);
        a = step(head, by_128, _mm_blendv_epi8(tail, last, places));
    }
    // 128 bits to 64, and those to 32 by Barrett reduction.
    const __m128i mask = _mm_setr_epi32(-1, 0, -1, 0);
    a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by_128, 0x10));
    const __m128i by_64 = _mm_set_epi64x(0, 0x163cd6124);
    a = _mm_xor_si128(_mm_srli_si128(a, 4), _mm_clmulepi64_si128(_mm_and_si128(a, mask), by_64, 0x00));
    const __m128i barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641);  // quotient, polynomial
    __m128i t = _mm_clmulepi64_si128(_mm_and_si128(a, mask), barrett, 0x10);
    t = _mm_clmulepi64_si128(_mm_and_si128(t, mask), barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(a, t), 1);
}

// Product of two polynomials of degree 31 or less, of degree 63 or less; reflected, as CRCs are.
__attribute__((target("pclmul"))) uint64_t product_by_clmul(uint32_t a, uint32_t b) {
    const __m128i both = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)a), _mm_cvtsi32_si128((int)b), 0);
    return (uint64_t)_mm_cvtsi128_si64(both) << 1;
}

#endif

uint64_t product(uint32_t a, uint32_t b) {
#ifdef AGD_CLMUL
    if (has_clmul()) return product_by_clmul(a, b);
#endif
    uint64_t sum = 0;
    for (int bit = 0; bit < 32; bit++)
        if (b >> bit & 1) sum ^= (uint64_t)a << (bit + 1);
    return sum;
}

}  // namespace

uint32_t Crc32Shift::operator()(uint32_t crc, size_t bytes) {
    if (bytes != bytes_) {
        bytes_ = bytes;
        power_ = 0x80000000;  // x to the power of 0
        uint32_t square = 0x00800000;  // of 8
        for (; bytes; bytes >>= 1, square = reduce(product(square, square)))
            if (bytes & 1) power_ = reduce(product(power_, square));
    }
    return reduce(product(crc, power_));
}

uint32_t crc32_portable(uint32_t crc, const uint8_t *data, size_t size) { return ~update(~crc, data, size); }

uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size) {
    uint32_t state = ~crc;
#ifdef AGD_CLMUL
    if (size >= 24 && has_clmul()) return ~fold(state, data, size);
#endif
    return ~update(state, data, size);
}

}  // namespace agd
