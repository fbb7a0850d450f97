// Letters of bases, and the sixteen of BAM (SAM specification, section 4.2): codes, letters, complements.
#pragma once

#include "vector.hpp"

#include <array>
#include <cstdint>

namespace agd {

AGD_INLINE bool is_acgt(uint8_t c) { return c == 'A' || c == 'C' || c == 'G' || c == 'T'; }

constexpr char base_letters[] = "=ACMGRSVTWYHKDBN";
constexpr char base_complements[] = "=TGKCYSBAWRDMHVN";

// Code of every byte: both cases, U as T, 0 to 3 as ACGT, everything else N, as htslib folds them.
constexpr std::array<uint8_t, 256> base_codes = [] {
    std::array<uint8_t, 256> codes{};
    codes.fill(15);
    for (int i = 0; i < 16; i++) {
        codes[(uint8_t)base_letters[i]] = (uint8_t)i;
        if (i) codes[(uint8_t)base_letters[i] | 0x20] = (uint8_t)i;
    }
    codes['U'] = codes['u'] = 8;
    for (int i = 0; i < 4; i++) codes['0' + i] = (uint8_t)(1 << i);
    return codes;
}();

// The letters that every byte is folded to, and their complements.
constexpr auto folded_table(const char *letters) {
    std::array<uint8_t, 256> folded{};
    for (int i = 0; i < 256; i++) folded[i] = (uint8_t)letters[base_codes[i]];
    return folded;
}
constexpr std::array<uint8_t, 256> folded_bases = folded_table(base_letters);
constexpr std::array<uint8_t, 256> folded_complements = folded_table(base_complements);

// Two letters of each byte of packed bases, first letter in the low byte.
constexpr std::array<uint16_t, 256> base_pairs = [] {
    std::array<uint16_t, 256> pairs{};
    for (int i = 0; i < 256; i++)
        pairs[i] = (uint16_t)((uint8_t)base_letters[i >> 4] | (uint8_t)base_letters[i & 15] << 8);
    return pairs;
}();

}  // namespace agd
