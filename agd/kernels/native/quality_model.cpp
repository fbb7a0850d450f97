// Adaptive coding of qualities: binary decisions down a Huffman tree, each with a probability that is learned for its
// context: the qualities before, the position in the read, how restless the read was (spec/codecs/fqz.md).
#include "common.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace agd {

static constexpr int MAX_LENGTH = 32;        // bits of a code
static constexpr int POSITIONS = 1024;       // entries of the table of positions; the last is for all that follow
static constexpr int CHANGES = 256;          // entries of the table of changes, likewise
static constexpr int64_t MAX_CONTEXTS = 1 << 20, MAX_NODES = 1 << 22;
static constexpr uint32_t LEAST = 16;        // smallest probability of a decision, in 2^-16

// Bits behind the last value: damage anywhere before hardly ever leads to them.
static constexpr uint32_t END = 0xA5C3;

// The canonical tree of code lengths: of codes of one length the smaller value has the smaller code.
struct Tree {
    std::vector<std::array<int32_t, 2>> next;  // by node and bit: another node, or ~value
    std::array<uint32_t, 256> code{};
    std::array<uint8_t, 256> length{};

    explicit Tree(In<uint8_t> &lengths) {
        require(lengths.size() == 256, "there are not 256 code lengths");
        uint64_t used = 0;
        int values = 0;
        for (int s = 0; s < 256; s++) {
            length[(size_t)s] = lengths.data()[s];
            if (!length[(size_t)s]) continue;
            require(length[(size_t)s] <= MAX_LENGTH, "a code is too long", s);
            used += 1ull << (MAX_LENGTH - length[(size_t)s]);
            values++;
        }
        require(values >= 2 && used == 1ull << MAX_LENGTH, "the code lengths make no tree");
        next.push_back({});
        uint64_t at = 0;
        std::vector<std::array<bool, 2>> there(1);
        for (int bits = 1; bits <= MAX_LENGTH; bits++)
            for (int s = 0; s < 256; s++) {
                if (length[(size_t)s] != bits) continue;
                code[(size_t)s] = (uint32_t)(at >> (MAX_LENGTH - bits));
                at += 1ull << (MAX_LENGTH - bits);
                int32_t node = 0;
                for (int b = bits - 1; b >= 0; b--) {
                    const size_t bit = code[(size_t)s] >> b & 1;
                    if (b == 0) {
                        next[(size_t)node][bit] = ~s;
                    } else if (!there[(size_t)node][bit]) {
                        there[(size_t)node][bit] = true;
                        const int32_t made = (int32_t)next.size();
                        next[(size_t)node][bit] = made;
                        next.push_back({});
                        there.push_back({});
                        node = made;
                    } else {
                        node = next[(size_t)node][bit];
                    }
                }
            }
    }
};

// Probabilities of all decisions in all contexts, and what a context is made of.
class Model {
    std::vector<uint32_t> probability_;  // that the bit is 1: 22 bits, and how often it was learned: 10 bits
    const uint32_t *last_, *before_, *position_, *change_;
    uint32_t limit_;
    std::array<uint32_t, 1024> rate_;

public:
    size_t nodes;
    uint8_t q1 = 0, q2 = 0, q3 = 0;
    uint32_t changes = 0, place = 0;

    Model(const Tree &tree, In<uint32_t> &last, In<uint32_t> &before, In<uint32_t> &position, In<uint32_t> &change,
          int64_t contexts, int limit)
        : last_(last.data()), before_(before.data()), position_(position.data()), change_(change.data()), limit_((uint32_t)limit),
          nodes(tree.next.size()) {
        require(last.size() == 256 && before.size() == 256 && position.size() == POSITIONS && change.size() == CHANGES,
                "tables of the wrong size");
        require(contexts >= 1 && contexts <= MAX_CONTEXTS && contexts * (int64_t)nodes <= MAX_NODES, "too many contexts");
        require(limit >= 1 && limit <= 1023, "no such limit");
        int64_t most = 0;
        for (const auto *table : {&last, &before, &position, &change})
            most += *std::max_element(table->data(), table->data() + table->size());
        require(most < contexts, "a context outside of all");
        for (uint32_t n = 0; n < 1024; n++) rate_[n] = (uint32_t)(131072 / (2 * n + 3));
        probability_.assign((size_t)contexts * nodes, 1u << 31);
    }

    void start() {
        q1 = q2 = q3 = 0;
        changes = place = 0;
    }
    uint32_t *context() {
        const size_t c = (size_t)last_[q1] + before_[std::max(q2, q3)] + position_[place] + change_[changes];
        return probability_.data() + c * nodes;
    }
    void pass(uint8_t value) {
        if (place && value != q1 && changes < CHANGES - 1) changes++;
        q3 = q2;
        q2 = q1;
        q1 = value;
        if (place < POSITIONS - 1) place++;
    }
    // Probability in 2^-16 that the bit is 1, never next to certain.
    static uint32_t chance(uint32_t p) { return std::clamp(p >> 16, LEAST, 65536 - LEAST); }
    void learn(uint32_t &p, uint32_t bit) const {
        const uint32_t n = p & 1023;
        const int64_t now = p >> 10, target = bit ? (1 << 22) - 1 : 0;
        const uint32_t moved = (uint32_t)(now + ((target - now) * rate_[n] >> 16));
        p = moved << 10 | (n < limit_ ? n + 1 : n);
    }
};

// Codes records; returns how many bytes were written.
int64_t quality_encode(In<uint8_t> values, In<int64_t> offsets, In<uint8_t> lengths, In<uint32_t> last, In<uint32_t> before,
                       In<uint32_t> position, In<uint32_t> change, int64_t contexts, int limit, Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    const Tree tree(lengths);
    Model model(tree, last, before, position, change, contexts, limit);
    uint64_t low = 0, high = ~0ull;
    uint8_t *to = out.data(), *const end = to + out.size();
    const auto code = [&](uint32_t chance, uint32_t bit) {
        const uint64_t middle = low + ((high - low) >> 16) * chance;
        bit ? high = middle : low = middle + 1;
        while (!((low ^ high) >> 56)) {
            require(to < end, "the output is too small");
            *to++ = (uint8_t)(high >> 56);
            low <<= 8;
            high = high << 8 | 255;
        }
    };
    for (size_t r = 0; r + 1 < offsets.size(); r++) {
        model.start();
        for (int64_t i = offsets.data()[r]; i < offsets.data()[r + 1]; i++) {
            const uint8_t value = values.data()[i];
            uint32_t *const p = model.context();
            require(tree.length[value] > 0, "a value has no code", (int64_t)r);
            size_t node = 0;
            for (int b = tree.length[value] - 1; b >= 0; b--) {
                const uint32_t bit = tree.code[value] >> b & 1;
                code(Model::chance(p[node]), bit);
                model.learn(p[node], bit);
                node = b ? (size_t)tree.next[node][bit] : 0;
            }
            model.pass(value);
        }
    }
    for (int b = 15; b >= 0; b--) code(32768, END >> b & 1);
    // Their first bytes differ, so that of high with zeros behind it lies between low and high.
    require(to < end, "the output is too small");
    *to++ = (uint8_t)(high >> 56);
    return to - out.data();
}

// The inverse of quality_encode.
void quality_decode(In<uint8_t> data, In<int64_t> offsets, In<uint8_t> lengths, In<uint32_t> last, In<uint32_t> before,
                    In<uint32_t> position, In<uint32_t> change, int64_t contexts, int limit, Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)out.size(), "offsets outside of the values");
    const Tree tree(lengths);
    Model model(tree, last, before, position, change, contexts, limit);
    const uint8_t *from = data.data(), *const end = from + data.size();
    uint64_t low = 0, high = ~0ull, x = 0;
    int64_t beyond = 0;
    // Behind the last byte there are zeros.
    const auto shift = [&] {
        x <<= 8;
        from < end ? x |= *from++ : (uint64_t)(beyond++, 0);
    };
    for (int k = 0; k < 8; k++) shift();
    const auto decide = [&](uint32_t chance) {
        const uint64_t middle = low + ((high - low) >> 16) * chance;
        const uint32_t bit = x <= middle;
        bit ? high = middle : low = middle + 1;
        while (!((low ^ high) >> 56)) {
            shift();
            low <<= 8;
            high = high << 8 | 255;
        }
        return bit;
    };
    for (size_t r = 0; r + 1 < offsets.size(); r++) {
        model.start();
        for (int64_t i = offsets.data()[r]; i < offsets.data()[r + 1]; i++) {
            uint32_t *const p = model.context();
            int32_t node = 0;
            do {
                const uint32_t bit = decide(Model::chance(p[node]));
                model.learn(p[node], bit);
                node = tree.next[(size_t)node][bit];
            } while (node >= 0);
            const uint8_t value = (uint8_t)~node;
            out.data()[i] = value;
            model.pass(value);
        }
        require(beyond <= 7, "the coded values end early", (int64_t)r);
    }
    for (int b = 15; b >= 0; b--) require(decide(32768) == (END >> b & 1), "the coded values are damaged");
    require(from == end && beyond == 7, "there is more than the values");
}

void bind_quality_model(nb::module_ &m) {
    const auto lengths = nb::arg("lengths").noconvert(), last = nb::arg("last").noconvert();
    const auto before = nb::arg("before").noconvert(), position = nb::arg("position").noconvert();
    const auto change = nb::arg("change").noconvert(), out = nb::arg("out").noconvert();
    const auto offsets = nb::arg("offsets");
    m.def("quality_encode", &quality_encode, nb::arg("values").noconvert(), offsets, lengths, last, before, position, change,
          nb::arg("contexts"), nb::arg("limit"), out);
    m.def("quality_decode", &quality_decode, nb::arg("data").noconvert(), offsets, lengths, last, before, position, change,
          nb::arg("contexts"), nb::arg("limit"), out);
}

}  // namespace agd
