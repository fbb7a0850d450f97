// Huffman codes of a DEFLATE block (RFC 1951, section 3.2), and its bits.
#include "deflate.hpp"

#include <algorithm>

namespace agd::deflate {

namespace {

constexpr int most_symbols = 288, most_bits = 15, most_meta_bits = 7, meta_codes = 19;

class BitWriter {
  public:
    explicit BitWriter(uint8_t *out) : begin_(out), out_(out) {}
    // At most 56 bits between two flushes.
    void put(uint64_t value, int bits) {
        buffer_ |= value << used_;
        used_ += bits;
    }
    // Writes eight bytes, of which the next flush writes those again that were not whole.
    void flush() {
        std::memcpy(out_, &buffer_, 8);
        out_ += used_ >> 3;
        buffer_ >>= used_ & ~7;
        used_ &= 7;
    }
    size_t finish() {
        flush();
        return (size_t)(out_ - begin_) + (used_ ? 1 : 0);
    }

  private:
    uint8_t *begin_, *out_;
    uint64_t buffer_ = 0;
    int used_ = 0;
};

uint16_t reversed(uint32_t code, int bits) {
    uint32_t turned = 0;
    for (int bit = 0; bit < bits; bit++) turned |= (code >> bit & 1) << (bits - 1 - bit);
    return (uint16_t)turned;
}

// Canonical codes of the lengths, as they stand in the stream: first bit lowest.
void assign_codes(const uint8_t *lengths, int count, uint16_t *codes) {
    uint32_t numbers[most_bits + 1] = {}, next[most_bits + 1];
    for (int i = 0; i < count; i++) numbers[lengths[i]]++;
    numbers[0] = 0;
    uint32_t code = 0;
    for (int bits = 1; bits <= most_bits; bits++) {
        code = (code + numbers[bits - 1]) << 1;
        next[bits] = code;
    }
    for (int i = 0; i < count; i++) codes[i] = lengths[i] ? reversed(next[lengths[i]]++, lengths[i]) : 0;
}

// A code that needs two symbols to be one that every inflater takes.
void complete(uint32_t *frequencies, int count) {
    int used = 0;
    for (int i = 0; i < count; i++) used += frequencies[i] > 0;
    for (int i = 0; used < 2; i++)
        if (!frequencies[i]) {
            frequencies[i] = 1;
            used++;
        }
}

// Lengths of both codes as the header of a block has them: run-length coded, under a code of their own.
struct Header {
    int literals = literal_codes, distances = distance_codes, metas = meta_codes, count = 0;
    uint8_t symbols[most_symbols + 32], extras[most_symbols + 32];
    uint8_t lengths[meta_codes];
    int64_t bits;

    static constexpr uint8_t order[meta_codes] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    static int extra_bits(int symbol) { return symbol == 16 ? 2 : symbol == 17 ? 3 : symbol == 18 ? 7 : 0; }

    Header(const uint8_t *literal, const uint8_t *distance) {
        while (literals > first_length && !literal[literals - 1]) literals--;
        while (distances > 1 && !distance[distances - 1]) distances--;
        uint8_t all[most_symbols + 32];
        std::copy(distance, distance + distances, std::copy(literal, literal + literals, all));
        const int total = literals + distances;
        for (int i = 0, end; i < total; i = end) {
            for (end = i + 1; end < total && all[end] == all[i];) end++;
            run(all[i], end - i);
        }
        uint32_t frequencies[meta_codes] = {};
        for (int i = 0; i < count; i++) frequencies[symbols[i]]++;
        code_lengths(frequencies, meta_codes, most_meta_bits, lengths);
        while (metas > 4 && !lengths[order[metas - 1]]) metas--;
        bits = 17 + 3 * metas;
        for (int i = 0; i < count; i++) bits += lengths[symbols[i]] + extra_bits(symbols[i]);
    }

    void write(BitWriter &out) const {
        uint16_t codes[meta_codes];
        assign_codes(lengths, meta_codes, codes);
        out.put(1 | 2 << 1 | (uint64_t)(literals - first_length) << 3 | (uint64_t)(distances - 1) << 8 |
                    (uint64_t)(metas - 4) << 13, 17);
        out.flush();
        for (int i = 0; i < metas; i++) {
            out.put(lengths[order[i]], 3);
            out.flush();
        }
        for (int i = 0; i < count; i++) {
            out.put(codes[symbols[i]], lengths[symbols[i]]);
            out.put(extras[i], extra_bits(symbols[i]));
            out.flush();
        }
    }

  private:
    void add(int symbol, int extra) {
        symbols[count] = (uint8_t)symbol;
        extras[count++] = (uint8_t)extra;
    }
    void run(int length, int times) {
        if (length) {
            add(length, 0);
            times--;
        }
        while (times >= 3) {
            const int some = std::min(times, length ? 6 : times >= 11 ? 138 : 10);
            if (length)
                add(16, some - 3);
            else
                add(some >= 11 ? 18 : 17, some >= 11 ? some - 11 : some - 3);
            times -= some;
        }
        while (times-- > 0) add(length, 0);
    }
};

// How often each code occurs. Neighbours are counted apart, so that none waits for the one before.
struct Counts {
    uint32_t literal[most_symbols], distance[32];

    explicit Counts(const Symbols &symbols) {
        uint32_t literals[4][512] = {}, distances[4][32] = {};
        const uint32_t *data = symbols.data();
        const size_t count = symbols.count();
        size_t i = 0;
        for (; i + 4 <= count; i += 4)
            for (size_t k = 0; k < 4; k++) {
                literals[k][data[i + k] & 511]++;
                distances[k][data[i + k] >> 14 & 31]++;
            }
        for (; i < count; i++) {
            literals[0][data[i] & 511]++;
            distances[0][data[i] >> 14 & 31]++;
        }
        for (int s = 0; s < most_symbols; s++) literal[s] = literals[0][s] + literals[1][s] + literals[2][s] + literals[3][s];
        for (int s = 0; s < 32; s++) distance[s] = distances[0][s] + distances[1][s] + distances[2][s] + distances[3][s];
        literal[end_of_block] = 1;
        complete(literal, literal_codes);
        complete(distance, distance_codes);
    }
};

// A code as the stream takes it, and how many extra bits follow.
struct Entry {
    uint16_t code = 0;
    uint8_t bits = 0, extra = 0;
};

size_t write_stored(const uint8_t *in, size_t size, uint8_t *out) {
    const uint16_t length = (uint16_t)size, inverse = (uint16_t)~length;
    out[0] = 1;
    std::memcpy(out + 1, &length, 2);
    std::memcpy(out + 3, &inverse, 2);
    if (size) std::memcpy(out + stored_bytes, in, size);
    return (size_t)stored_bytes + size;
}

}  // namespace

void code_lengths(const uint32_t *frequencies, int count, int most, uint8_t *lengths) {
    uint64_t sorted[most_symbols];
    int used = 0;
    for (int i = 0; i < count; i++) {
        lengths[i] = 0;
        if (frequencies[i]) sorted[used++] = (uint64_t)frequencies[i] << 16 | (uint64_t)i;
    }
    if (used < 2) {
        if (used) lengths[sorted[0] & 0xffff] = 1;
        return;
    }
    std::sort(sorted, sorted + used);
    // Huffman's tree by two queues: the leaves, and the inner nodes, which come about in ascending order too.
    uint64_t weights[2 * most_symbols];
    int parents[2 * most_symbols];
    for (int i = 0; i < used; i++) weights[i] = sorted[i] >> 16;
    const int root = 2 * used - 2;
    for (int node = used, leaf = 0, inner = used; node <= root; node++) {
        weights[node] = 0;
        for (int child = 0; child < 2; child++) {
            const bool take_leaf = leaf < used && (inner >= node || weights[leaf] <= weights[inner]);
            const int taken = take_leaf ? leaf++ : inner++;
            weights[node] += weights[taken];
            parents[taken] = node;
        }
    }
    int depths[2 * most_symbols], numbers[most_bits + 1] = {};
    depths[root] = 0;
    int64_t taken = 0;  // of the 2^most codes of `most` bits
    for (int node = root - 1; node >= 0; node--) {
        depths[node] = depths[parents[node]] + 1;
        if (node >= used) continue;
        const int bits = std::min(depths[node], most);
        numbers[bits]++;
        taken += (int64_t)1 << (most - bits);
    }
    // Too many codes were cut to `most` bits: room is made by lengthening the longest of the shorter ones.
    while (taken > (int64_t)1 << most) {
        int bits = most - 1;
        while (!numbers[bits]) bits--;
        numbers[bits]--;
        numbers[bits + 1] += 2;
        numbers[most]--;
        taken--;
    }
    for (int bits = most, i = 0; bits >= 1; bits--)
        for (int k = 0; k < numbers[bits]; k++) lengths[sorted[i++] & 0xffff] = (uint8_t)bits;
}

Costs::Costs() {
    literal.fill(6);
    for (int i = 3; i <= longest; i++) length[(size_t)i] = (uint8_t)(6 + length_extra[length_codes[(size_t)i]]);
    for (int i = 0; i < distance_codes; i++) distance[(size_t)i] = (uint8_t)(i ? 4 + distance_extra(i) : 2);
}

size_t write_block(const Symbols &symbols, const uint8_t *in, size_t size, uint8_t *out, Costs &costs) {
    const Counts counts(symbols);
    uint8_t lengths[most_symbols], distances[32];
    code_lengths(counts.literal, literal_codes, most_bits, lengths);
    code_lengths(counts.distance, distance_codes, most_bits, distances);
    const Header header(lengths, distances);

    int64_t bits = header.bits;
    for (int i = 0; i < literal_codes; i++)
        bits += (int64_t)counts.literal[i] * (lengths[i] + (i < first_length ? 0 : length_extra[(size_t)(i - first_length)]));
    for (int i = 0; i < distance_codes; i++) bits += (int64_t)counts.distance[i] * (distances[i] + distance_extra(i));

    // What did not occur would be rare.
    for (int i = 0; i < 256; i++) costs.literal[(size_t)i] = lengths[i] ? lengths[i] : most_bits;
    for (int i = 3; i <= longest; i++) {
        const int code = length_codes[(size_t)i], own = lengths[first_length + code];
        costs.length[(size_t)i] = (uint8_t)((own ? own : 12) + length_extra[(size_t)code]);
    }
    for (int i = 0; i < distance_codes; i++)
        costs.distance[(size_t)i] = (uint8_t)((distances[i] ? distances[i] : 10) + distance_extra(i));

    if ((bits + 7) / 8 >= stored_bytes + (int64_t)size) return write_stored(in, size, out);

    uint16_t literal_code[most_symbols], distance_code_[32];
    assign_codes(lengths, literal_codes, literal_code);
    assign_codes(distances, distance_codes, distance_code_);
    Entry literal[512], distance[32];
    for (int i = 0; i < literal_codes; i++)
        literal[i] = {literal_code[i], lengths[i], i < first_length ? (uint8_t)0 : length_extra[(size_t)(i - first_length)]};
    for (int i = 0; i < distance_codes; i++)
        distance[i] = {distance_code_[i], distances[i], (uint8_t)distance_extra(i)};

    return vectorised([&] AGD_INLINED {
        BitWriter writer(out);
        header.write(writer);
        const uint32_t *data = symbols.data();
        const size_t count = symbols.count();
        struct Bits {
            uint64_t value;
            int count;
        };
        const auto bits_of = [&](uint32_t symbol) AGD_INLINED {
            const Entry l = literal[symbol & 511], d = distance[symbol >> 14 & 31];
            const int bits = l.bits + l.extra;
            return Bits{l.code | (uint64_t)(symbol >> 9 & 31) << l.bits |
                            (d.code | (uint64_t)(symbol >> 19) << d.bits) << bits, bits + d.bits + d.extra};
        };
        size_t i = 0;
        for (; i + 2 <= count; i += 2) {
            const Bits a = bits_of(data[i]), b = bits_of(data[i + 1]);
            if (a.count + b.count <= 56) {
                writer.put(a.value | b.value << a.count, a.count + b.count);
            } else {
                writer.put(a.value, a.count);
                writer.flush();
                writer.put(b.value, b.count);
            }
            writer.flush();
        }
        if (i < count) {
            const Bits a = bits_of(data[i]);
            writer.put(a.value, a.count);
            writer.flush();
        }
        writer.put(literal[end_of_block].code, literal[end_of_block].bits);
        return writer.finish();
    });
}

}  // namespace agd::deflate
