// DEFLATE (RFC 1951) of BGZF blocks: the symbols of a block, and their bits. Found by deflate_match.hpp.
#pragma once

#include "simd.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace agd::deflate {

constexpr int64_t block_bytes = 65280;    // of input to a BGZF block, as htslib cuts it
constexpr int64_t header_bytes = 18, trailer_bytes = 8, stored_bytes = 5;
// Most bytes that a block takes: stored as it is.
constexpr int64_t largest_block = header_bytes + stored_bytes + block_bytes + trailer_bytes;

constexpr int longest = 258, farthest = 32768;
constexpr int literal_codes = 286, distance_codes = 30;
constexpr int end_of_block = 256, first_length = 257;

constexpr std::array<uint16_t, 29> length_base = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                                  31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr std::array<uint8_t, 29> length_extra = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                  2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};

// Code of every length, less 257.
constexpr std::array<uint8_t, longest + 1> length_codes = [] {
    std::array<uint8_t, longest + 1> codes{};
    for (int code = 0; code < 29; code++)
        for (int length = length_base[(size_t)code]; length <= longest; length++) codes[(size_t)length] = (uint8_t)code;
    return codes;
}();

inline int distance_code(uint32_t distance) {
    const uint32_t d = distance - 1;
    if (d < 2) return (int)d;
    const int top = 31 - std::countl_zero(d);
    return 2 * top + (int)(d >> (top - 1) & 1);
}
constexpr int distance_extra(int code) { return code < 2 ? 0 : (code >> 1) - 1; }

// Estimated bits of what a block may hold; those of the block before it.
struct Costs {
    std::array<uint8_t, 256> literal;
    std::array<uint8_t, longest + 1> length;   // with extra bits
    std::array<uint8_t, distance_codes> distance;  // with extra bits
    Costs();
    int match(int length_, int distance_) const {
        return length[(size_t)length_] + distance[(size_t)distance_code((uint32_t)distance_)];
    }
};

// The literals and matches of a block, in order. Each is 32 bits: the code of the literal or length (9 bits), extra bits
// of the length (5), code of the distance (5, no_distance for literals), extra bits of the distance (13); so that all
// are counted and written without a branch.
class Symbols {
  public:
    void clear() { count_ = 0; }
    size_t count() const { return count_; }
    const uint32_t *data() const { return symbols_.data(); }

    // May read seven bytes behind them.
    AGD_INLINED void literals(const uint8_t *from, int size) {
        for (int i = 0; i < size; i += 8)
            for (int k = 0; k < 8; k++) symbols_[count_ + (size_t)(i + k)] = from[i + k] | (uint32_t)no_distance << 14;
        count_ += (size_t)size;
    }
    AGD_INLINED void match(int length, int distance) {
        const int code = length_codes[(size_t)length], far = distance_code((uint32_t)distance);
        const uint32_t rest = (uint32_t)(distance - 1) & ((1u << distance_extra(far)) - 1);
        symbols_[count_++] = (uint32_t)(first_length + code) | (uint32_t)(length - length_base[(size_t)code]) << 9 |
                             (uint32_t)far << 14 | rest << 19;
    }

    static constexpr int no_distance = 30;

  private:
    std::array<uint32_t, block_bytes + 16> symbols_;
    size_t count_ = 0;
};

// Writes the symbols of `size` bytes at `in` as the one and last DEFLATE block at `out`, or the bytes themselves if that
// is shorter; tells what the codes cost. At `out` there is room for stored_bytes + size + 8. Returns the bytes written.
size_t write_block(const Symbols &symbols, const uint8_t *in, size_t size, uint8_t *out, Costs &costs);

// Lengths, at most `most` bits, of a prefix code for symbols of these frequencies; 0: does not occur. With two symbols
// or more the code is complete, and optimal unless the limit is in the way.
void code_lengths(const uint32_t *frequencies, int count, int most, uint8_t *lengths);

}  // namespace agd::deflate
