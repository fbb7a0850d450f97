// CIGAR operations, and the walk along one that finds the differences between a read and the reference.
#pragma once

#include "common.hpp"
#include "nucleotides.hpp"

#include <algorithm>
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

// True where sixteen letters are equal, whatever their case, and each is one of ACGT.
inline bool plainly_equal(const uint8_t *a, const uint8_t *b) {
    uint8_t bad = 0;
    for (int i = 0; i < 16; i++) {
        const uint8_t u = a[i] & 0xdf, v = b[i] & 0xdf;
        bad |= (uint8_t)(u ^ v) | (uint8_t)((u != 'A') & (u != 'C') & (u != 'G') & (u != 'T'));
    }
    return !bad;
}

// Writes the MD of one record; reads and reference that end before the CIGAR does end the walk, as in samtools calmd.
struct Walk {
    const uint8_t *read, *read_end, *reference, *reference_end;
    char *out;
    int64_t matched = 0, nm = 0;
    int64_t matches = 0, ambiguous = 0;  // aligned bases that match, and that do not because one is N

    void count() {
        out = std::to_chars(out, out + 20, matched).ptr;
        matches += matched;
        matched = 0;
    }

    bool aligned(int64_t n) {
        const int64_t inside = std::max<int64_t>(0, std::min({n, read_end - read, reference_end - reference}));
        const uint8_t *stop = read + inside;
        while (read < stop) {
            if (stop - read >= 16 && plainly_equal(read, reference)) {
                read += 16, reference += 16, matched += 16;
                continue;
            }
            for (const uint8_t *block = std::min(stop, read + 16); read < block; read++, reference++) {
                const uint8_t a = base_codes[*read], b = base_codes[*reference];
                if ((a == b && a != 15) || a == 0) {
                    matched++;
                } else {
                    count();
                    *out++ = upper(*reference);
                    nm++;
                    ambiguous += a == 15 || b == 15;
                }
            }
        }
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

    bool step(uint32_t operation) {
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
