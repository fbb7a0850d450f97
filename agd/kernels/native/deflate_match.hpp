// Matches of a block of BAM records, each kind of field in its own way.
#pragma once

#include "deflate.hpp"

#include <algorithm>
#include <memory>

namespace agd::deflate {

// What the bytes of a record are: fixed fields, name, CIGAR, tags; bases, two to a byte; qualities.
enum class Kind { FIELDS, BASES, QUALITIES };

inline uint64_t load8(const uint8_t *p) {
    uint64_t value;
    std::memcpy(&value, p, 8);
    return value;
}

// Where bytes of these values were last: a hash of the first BYTES of eight to a position. Position 0 stands for none too,
// for whoever asks compares the bytes.
template <int BYTES, int BITS> class Table {
  public:
    void clear() { places_.fill(0); }
    // Puts `position` in place of the one that is returned.
    AGD_INLINED uint16_t exchange(uint64_t bytes, int position) {
        uint16_t &place = places_[(bytes << (64 - 8 * BYTES)) * 0x9e3779b185ebca87u >> (64 - BITS)];
        const uint16_t before = place;
        place = (uint16_t)position;
        return before;
    }
    // Whether the first BYTES of eight are equal.
    static bool equal(uint64_t a, uint64_t b) { return ((a ^ b) << (64 - 8 * BYTES)) == 0; }

  private:
    std::array<uint16_t, 1 << BITS> places_;
};

class Matcher {
  public:
    Costs costs;

    // Begins a block: a copy is taken of it.
    void begin(const uint8_t *in, int size) {
        if (size) std::memcpy(block_.data(), in, (size_t)size);
        std::memset(block_.data() + size, 0, padding);
        size_ = size;
        at_ = literals_from_ = 0;
        symbols_.clear();
        short_.clear();
        long_.clear();
        bases_.clear();
        qualities_.clear();
    }

    const uint8_t *data() const { return block_.data(); }

    // Finds the matches of the bytes from `from` to `to`, of one kind; segments come in order and end to end.
    template <Kind KIND> AGD_INLINED void segment(int from, int to) {
        for (; from < to; from += window) scan<KIND>(from, std::min(from + window, to));
    }

    // Ends the block.
    const Symbols &finish() {
        emit_literals(size_);
        return symbols_;
    }

  private:
    static constexpr int window = 64, reach = 16, padding = longest + 16;
    // From this length on no better match is looked for.
    static constexpr int long_enough = 32;

    struct Match {
        int length, distance, gain;
    };

    std::array<uint8_t, block_bytes + padding> block_;
    int size_ = 0, at_ = 0, literals_from_ = 0;
    Symbols symbols_;
    Table<4, 13> short_;
    Table<8, 13> long_;
    Table<6, 13> bases_;
    Table<8, 13> qualities_;
    uint16_t near_[window], far_[window];  // candidates of the positions of a window
    int32_t spent_[window + reach + 1];    // bits of the bytes before each of them as literals

    AGD_INLINED void emit_literals(int end) {
        symbols_.literals(block_.data() + literals_from_, end - literals_from_);
        literals_from_ = end;
    }

    // Equal bytes from `position` on and from `earlier` on, of which `known` are known to be.
    AGD_INLINED int match_length(int earlier, int position, int known) const {
        const uint8_t *a = block_.data() + earlier, *b = block_.data() + position;
        int length = known + common(load8(a + known), load8(b + known));
        if (length == known + 8) {
            for (; length < longest;) {
                const int more = common(load8(a + length), load8(b + length));
                length += more;
                if (more < 8) break;
            }
            length = std::min(length, longest);
        }
        return std::min(length, size_ - position);
    }
    static int common(uint64_t a, uint64_t b) { return a == b ? 8 : std::countr_zero(a ^ b) >> 3; }

    // What a match saves, in bits.
    AGD_INLINED int gain(int i, int length, int distance) const {
        const int sure = std::min(length, reach);
        return spent_[i + sure] - spent_[i] + 4 * (length - sure) - costs.match(length, distance);
    }

    AGD_INLINED void consider(Match &best, int i, int position, int earlier, bool found, int known) const {
        const int distance = position - earlier;
        if (!found || distance > farthest || distance < 1) return;
        const int length = match_length(earlier, position, known);
        if (length < 3) return;
        const int saved = gain(i, length, distance);
        if (saved > best.gain) best = {length, distance, saved};
    }

    struct Found {
        uint64_t near = 0, far = 0, runs = 0;
    };

    template <Kind KIND> AGD_INLINED Match best_match(int from, int position, const Found &found) const {
        Match best{0, 0, 0};
        const int i = position - from;
        if constexpr (KIND == Kind::QUALITIES) consider(best, i, position, position - 1, found.runs >> i & 1, 4);
        consider(best, i, position, far_[i], found.far >> i & 1, KIND == Kind::BASES ? 6 : 8);
        if constexpr (KIND == Kind::FIELDS) consider(best, i, position, near_[i], found.near >> i & 1 && near_[i] != far_[i], 4);
        return best;
    }

    // At most `window` positions: first all are looked up and entered, without a branch, then matches are chosen.
    template <Kind KIND> AGD_INLINED void scan(int from, int to) {
        Found found;
        const uint8_t *data = block_.data();
        for (int i = 0; i < to - from; i++) {
            const int position = from + i;
            const uint64_t bytes = load8(data + position);
            if constexpr (KIND == Kind::FIELDS) {
                near_[i] = short_.exchange(bytes, position);
                far_[i] = long_.exchange(bytes, position);
                found.near |= (uint64_t)short_.equal(bytes, load8(data + near_[i])) << i;
                found.far |= (uint64_t)long_.equal(bytes, load8(data + far_[i])) << i;
            } else if constexpr (KIND == Kind::BASES) {
                far_[i] = bases_.exchange(bytes, position);
                found.far |= (uint64_t)bases_.equal(bytes, load8(data + far_[i])) << i;
            } else {
                far_[i] = qualities_.exchange(bytes, position);
                found.far |= (uint64_t)qualities_.equal(bytes, load8(data + far_[i])) << i;
                found.runs |= (uint64_t)((uint32_t)bytes == (uint32_t)(bytes << 8 | data[std::max(position - 1, 0)])) << i;
            }
        }
        spent_[0] = 0;
        for (int i = 0; i < to - from + reach; i++) spent_[i + 1] = spent_[i] + costs.literal[data[from + i]];
        choose<KIND>(from, to, found);
    }

    template <Kind KIND> AGD_INLINED void choose(int from, int to, const Found &found) {
        uint64_t left = found.near | found.far | found.runs;
        while (at_ < to) {
            const int skip = std::max(at_ - from, 0);
            left = left >> skip << skip;
            if (!left) break;
            int position = from + std::countr_zero(left);
            Match match = best_match<KIND>(from, position, found);
            if (KIND != Kind::BASES && match.length < long_enough && position + 1 < to) {
                const Match next = best_match<KIND>(from, position + 1, found);
                if (next.gain > match.gain) {
                    match = next;
                    position++;
                }
            }
            if (match.gain <= 0) {
                left &= left - 1;
                continue;
            }
            emit_literals(position);
            symbols_.match(match.length, match.distance);
            at_ = literals_from_ = position + match.length;
        }
    }
};

}  // namespace agd::deflate
