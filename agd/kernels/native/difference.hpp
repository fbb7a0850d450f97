// CIGAR operations, and the walk along one that finds the differences between a read and the reference.
#pragma once

#include "common.hpp"
#include "nucleotides.hpp"
#include "vector.hpp"

#include <algorithm>
#include <bit>
#include <charconv>

namespace agd {

// BAM codes of the CIGAR operations.
enum Operation : uint32_t { M, I, D, N, S, H, P, EQUAL, DIFFERENT, OPERATIONS };
constexpr uint32_t READ_ONLY_BITS = 1u << I | 1u << S, REFERENCE_ONLY_BITS = 1u << D | 1u << N;
constexpr uint32_t BOTH_BITS = 1u << M | 1u << EQUAL | 1u << DIFFERENT;

constexpr uint32_t operation_code(uint32_t operation) { return operation & 15; }
constexpr int64_t operation_length(uint32_t operation) { return operation >> 4; }
constexpr bool in(uint32_t operation, uint32_t bits) { return bits >> operation_code(operation) & 1; }

inline char upper(uint8_t letter) { return (char)(letter >= 'a' && letter <= 'z' ? letter - 32 : letter); }

constexpr int64_t BLOCK = 32;

// Of 32 letters, a bit for each that is not equal to its partner, whatever their case, or none of ACGT.
AGD_INLINE uint32_t not_plain(const uint8_t *a, const uint8_t *b) {
    Block u, v;
    std::memcpy(&u, a, 32);
    std::memcpy(&v, b, 32);
    u &= 0xdf, v &= 0xdf;
    const Block bad = (Block)(u != v) | (Block)~((Block)(u == 'A') | (Block)(u == 'C') | (Block)(u == 'G') | (Block)(u == 'T'));
    Half low, high;
    std::memcpy(&low, &bad, 16);
    std::memcpy(&high, (const uint8_t *)&bad + 16, 16);
    return bits_of(low) | bits_of(high) << 16;
}

// Writes a number of bases; most are below 1000. Returns the end of it.
AGD_INLINE char *put_count(char *out, int64_t n) {
    if (n >= 1000) return std::to_chars(out, out + 20, n).ptr;
    const auto number = (uint32_t)n, hundreds = number * 41 >> 12, tens = (number - hundreds * 100) * 205 >> 11;
    const auto digits = (uint32_t)('0' + hundreds) | (uint32_t)('0' + tens) << 8 |
                        (uint32_t)('0' + number - hundreds * 100 - tens * 10) << 16;
    const int leading = number < 10 ? 2 : number < 100 ? 1 : 0;
    const uint32_t kept = digits >> (8 * leading);
    for (int i = 0; i < 3 - leading; i++) out[i] = (char)(kept >> (8 * i));
    return out + 3 - leading;
}

// Writes the MD of one record; reads and reference that end before the CIGAR does end the walk, as in samtools calmd.
struct Walk {
    const uint8_t *read, *read_end, *reference, *reference_end;
    char *out;
    int64_t matched = 0, nm = 0;
    int64_t matches = 0, ambiguous = 0;  // aligned bases that match, and that do not because one is N

    void count() {
        out = put_count(out, matched);
        matches += matched;
        matched = 0;
    }

    AGD_INLINE void skip(int64_t n) { read += n, reference += n, matched += n; }

    AGD_INLINE void letter() {
        const uint8_t a = base_codes[*read], b = base_codes[*reference];
        if ((a == b && a != 15) || a == 0) return skip(1);
        count();
        *out++ = upper(*reference);
        nm++;
        ambiguous += a == 15 || b == 15;
        read++, reference++;
    }

    AGD_INLINE bool aligned(int64_t n) {
        const int64_t inside = std::max<int64_t>(0, std::min({n, read_end - read, reference_end - reference}));
        const uint8_t *stop = read + inside;
        while (stop - read >= BLOCK) {
            const uint32_t bad = not_plain(read, reference);
            skip(bad ? std::countr_zero(bad) : BLOCK);
            if (bad) letter();
        }
        if (inside >= BLOCK) {
            // What is left, at the end of a block that begins before it.
            const int64_t rest = stop - read;
            uint64_t bad = (uint64_t)not_plain(stop - BLOCK, reference + rest - BLOCK) >> (BLOCK - rest);
            for (; bad; bad >>= 1) {
                const int next = std::countr_zero(bad);
                skip(next);
                letter();
                bad >>= next;
            }
            skip(stop - read);
        }
        while (read < stop) letter();
        return inside == n;
    }

    bool deleted(int64_t n) {
        count();
        *out++ = '^';
        const int64_t inside = std::max<int64_t>(0, std::min(n, reference_end - reference));
        for (int64_t k = 0; k < inside; k++) *out++ = upper(reference[k]);
        reference += inside;
        nm += inside;
        return inside == n;
    }

    AGD_INLINE bool step(uint32_t operation) {
        const int64_t n = operation_length(operation);
        switch (operation_code(operation)) {
            case M: case EQUAL: case DIFFERENT: return aligned(n);
            case D: return deleted(n);
            case N: reference += std::min(n, reference_end - reference); return true;
            case I: nm += n; [[fallthrough]];
            case S: read += std::min(n, read_end - read); return true;
            default: return true;
        }
    }
};

}  // namespace agd
