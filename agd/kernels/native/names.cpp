// Names of reads taken apart: which name repeats an earlier one, and where the numbers in it are (spec/codecs/names.md).
#include "common.hpp"
#include "vector.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

namespace agd {

static constexpr int64_t MAX_NUMBERS = 64;  // numbers of a name; what follows is text
static constexpr int64_t MAX_DIGITS = 9;    // digits of a number; longer ones are text

static bool is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }
static bool is_blank(uint8_t c) { return c == ' ' || c == '\t'; }

static bool is_mate_digit(const uint8_t *p, int64_t i, int64_t n) {
    if (p[i] != '1' && p[i] != '2') return false;
    if (p[i - 1] == '/') return i + 1 == n || is_blank(p[i + 1]);
    return is_blank(p[i - 1]) && i + 1 < n && p[i + 1] == ':';
}

// Index of the 1 or 2 that tells mates apart: of "/1" at the end of a word, or of " 1:"; -1: there is none.
static int64_t mate_digit(const uint8_t *p, int64_t n) {
    const auto among = [&](int64_t i) -> int64_t {
        const Half before = load_half(p + i - 1), here = load_half(p + i);
        const auto likely = ((before == '/') | (before == ' ') | (before == '\t')) & ((here == '1') | (here == '2'));
        for (uint32_t bits = bits_of((Half)likely); bits; bits &= bits - 1)
            if (is_mate_digit(p, i + std::countr_zero(bits), n)) return i + std::countr_zero(bits);
        return -1;
    };
    int64_t i = 1;
    for (; i + 16 <= n; i += 16)
        if (const int64_t found = among(i); found >= 0) return found;
    // The last sixteen overlap those before, among which there is none.
    if (n > 16) return i < n ? among(n - 16) : -1;
    for (; i < n; i++)
        if (is_mate_digit(p, i, n)) return i;
    return -1;
}

static uint64_t mix(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93;
    return x ^ x >> 32;
}

static uint64_t hash_of(const uint8_t *p, int64_t n, uint64_t seed = 0) {
    uint64_t h = mix(seed + (uint64_t)n + 0x9e3779b97f4a7c15), word;
    for (; n >= 8; n -= 8, p += 8) {
        std::memcpy(&word, p, 8);
        h = mix(h ^ word) + 0x9e3779b97f4a7c15;
    }
    word = 0;
    if (n) std::memcpy(&word, p, (size_t)n);
    return mix(h ^ word);
}

// Open addressing, at most half full: the latest index for each hash; equality is for the caller to decide.
class Latest {
    std::vector<std::pair<uint32_t, int32_t>> slots_;
    size_t mask_;

public:
    explicit Latest(size_t items) : slots_(std::bit_ceil(2 * items + 2), {0, -1}), mask_(slots_.size() - 1) {
        require(items < INT32_MAX, "too many names");
    }
    // The slot of an equal item, or a free one.
    template <class Equal> int32_t &find(uint64_t hash, const Equal &equal) {
        const uint32_t upper = (uint32_t)(hash >> 32);
        for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
            auto &[known, index] = slots_[at];
            if (index < 0) known = upper;
            if (index < 0 || (known == upper && equal(index))) return index;
        }
    }
};

// For each name how many records before it is the latest that is equal but for the digit of the mate, 0 for none; and
// whether that digit is the other one.
void name_links(In<uint8_t> values, In<int64_t> offsets, Out<int64_t> distances, Out<uint8_t> mates) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    const size_t records = offsets.size() - 1;
    require(distances.size() == records && mates.size() == records, "outputs and names differ in number");
    const uint8_t *text = values.data();
    const int64_t *bounds = offsets.data();
    Latest latest(records);
    std::vector<int32_t> digits(records);
    for (size_t i = 0; i < records; i++) {
        const uint8_t *p = text + bounds[i];
        const int64_t n = bounds[i + 1] - bounds[i], digit = n <= INT32_MAX ? mate_digit(p, n) : -1;
        digits[i] = (int32_t)digit;
        const int64_t head = digit < 0 ? n : digit, tail = digit < 0 ? n : digit + 1;
        const uint64_t hash = hash_of(p + tail, n - tail, hash_of(p, head));
        int32_t &slot = latest.find(hash, [&](int64_t k) {
            const uint8_t *q = text + bounds[k];
            return bounds[k + 1] - bounds[k] == n && digits[(size_t)k] == digit && !std::memcmp(p, q, (size_t)head) &&
                   !std::memcmp(p + tail, q + tail, (size_t)(n - tail));
        });
        distances.data()[i] = slot < 0 ? 0 : (int64_t)i - slot;
        mates.data()[i] = slot >= 0 && digit >= 0 && p[digit] != text[bounds[slot] + digit];
        slot = (int32_t)i;
    }
}

// For each record the number, among the names that are new, of the one that its links lead to; and whether the digit of
// the mate is the other one. Returns how many names are new.
int64_t follow_links(In<int64_t> distances, In<uint8_t> mates, Out<int64_t> index, Out<uint8_t> turned) {
    nb::gil_scoped_release unlocked;
    const int64_t n = (int64_t)distances.size();
    require((int64_t)index.size() == n && (int64_t)turned.size() == n, "outputs and links differ in number");
    int64_t found = 0;
    size_t linked = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t distance = distances.data()[i];
        require(distance >= 0 && distance <= i, "a name is said to be before the first", i);
        if (!distance) {
            index.data()[i] = found++;
            turned.data()[i] = 0;
            continue;
        }
        require(linked < mates.size(), "mates and links differ in number", i);
        index.data()[i] = index.data()[i - distance];
        turned.data()[i] = turned.data()[i - distance] ^ (mates.data()[linked++] != 0);
    }
    require(linked == mates.size(), "mates and links differ in number");
    return found;
}

// The names of an index end to end; in those of a mask the digit of the mate, which there must be, is turned around.
void take_names(In<uint8_t> values, In<int64_t> offsets, In<int64_t> index, In<uint8_t> turned, Out<uint8_t> out,
                Out<int64_t> out_offsets) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    const size_t n = index.size();
    require(turned.size() == n && out_offsets.size() == n + 1, "outputs and names differ in number");
    const uint8_t *const stop = values.data() + values.size();
    uint8_t *p = out.data(), *const end = p + out.size();
    out_offsets.data()[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const int64_t k = index.data()[i];
        require(k >= 0 && k < (int64_t)offsets.size() - 1, "there is no such name", (int64_t)i);
        const uint8_t *from = values.data() + offsets.data()[k];
        const int64_t size = offsets.data()[k + 1] - offsets.data()[k];
        require(size <= end - p, "no room for the names", (int64_t)i);
        // What is written too far is written again by the names that follow.
        if (size <= 64 && end - p >= 64 && stop - from >= 64) std::memcpy(p, from, 64);
        else std::memcpy(p, from, (size_t)size);
        if (turned.data()[i]) {
            const int64_t digit = mate_digit(p, size);
            require(digit >= 0, "a name has no digit that tells mates apart", (int64_t)i);
            p[digit] ^= '1' ^ '2';
        }
        p += size;
        out_offsets.data()[i + 1] = p - out.data();
    }
    require(p == end, "the names do not fill the output");
}

// Calls found(start, end, kind) for each number of p[0:n]; kind 1: without leading zeros, L: L digits, the first of them 0.
template <class Found> static void numbers_of(const uint8_t *p, int64_t n, const Found &found) {
    int64_t numbers = 0;
    for (int64_t i = 0; i < n && numbers < MAX_NUMBERS;) {
        if (!is_digit(p[i])) {
            i++;
            continue;
        }
        const int64_t start = i;
        while (i < n && is_digit(p[i])) i++;
        if (i - start > MAX_DIGITS) continue;
        found(start, i, (uint8_t)(p[start] == '0' ? i - start : 1));
        numbers++;
    }
}

// Number of numbers in each name, and a hash of their kinds.
void name_shapes(In<uint8_t> values, In<int64_t> offsets, Out<int64_t> counts, Out<uint64_t> shapes) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    const size_t records = offsets.size() - 1;
    require(counts.size() == records && shapes.size() == records, "outputs and names differ in number");
    for (size_t i = 0; i < records; i++) {
        std::array<uint8_t, MAX_NUMBERS> kinds;
        int64_t n = 0;
        numbers_of(values.data() + offsets.data()[i], offsets.data()[i + 1] - offsets.data()[i],
                   [&](int64_t, int64_t, uint8_t kind) { kinds[(size_t)n++] = kind; });
        counts.data()[i] = n;
        shapes.data()[i] = hash_of(kinds.data(), n);
    }
}

// All numbers of all names: where they are among the values, what they are, and their kind.
void name_numbers(In<uint8_t> values, In<int64_t> offsets, Out<int64_t> starts, Out<int64_t> ends, Out<uint32_t> numbers,
                  Out<uint8_t> kinds) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    const size_t room = starts.size();
    require(ends.size() == room && numbers.size() == room && kinds.size() == room, "outputs differ in length");
    size_t at = 0;
    for (size_t i = 0; i + 1 < offsets.size(); i++) {
        const int64_t first = offsets.data()[i];
        const uint8_t *p = values.data() + first;
        numbers_of(p, offsets.data()[i + 1] - first, [&](int64_t start, int64_t end, uint8_t kind) {
            require(at < room, "the outputs are too short", (int64_t)i);
            uint32_t number = 0;
            for (int64_t k = start; k < end; k++) number = number * 10 + (uint32_t)(p[k] - '0');
            starts.data()[at] = first + start;
            ends.data()[at] = first + end;
            numbers.data()[at] = number;
            kinds.data()[at++] = kind;
        });
    }
    require(at == room, "the outputs are too long");
}

// Numbers equal spans of text in the order in which they first occur; returns how many there are.
int64_t span_numbers(In<uint8_t> values, In<int64_t> starts, In<int64_t> ends, Out<int64_t> ids) {
    nb::gil_scoped_release unlocked;
    const size_t n = starts.size();
    require(ends.size() == n && ids.size() == n, "outputs and spans differ in number");
    const auto length_of = [&](size_t i) { return ends.data()[i] - starts.data()[i]; };
    const auto equal = [&](size_t i, size_t k) {
        const uint8_t *p = values.data() + starts.data()[i], *q = values.data() + starts.data()[k];
        return length_of(i) == length_of(k) && !std::memcmp(p, q, (size_t)length_of(i));
    };
    bool one = true;  // all are equal so far, as most texts in names are
    for (size_t i = 0; i < n; i++) {
        require(starts.data()[i] >= 0 && length_of(i) >= 0 && ends.data()[i] <= (int64_t)values.size(),
                "span outside of the values", (int64_t)i);
        one = one && equal(i, 0);
    }
    if (one) {
        std::fill(ids.data(), ids.data() + n, 0);
        return n > 0;
    }
    Latest latest(n);
    int64_t found = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t &slot = latest.find(hash_of(values.data() + starts.data()[i], length_of(i)), [&](int64_t k) { return equal(i, (size_t)k); });
        ids.data()[i] = slot < 0 ? found++ : ids.data()[slot];
        slot = (int32_t)i;
    }
    return found;
}

static bool ends_word(uint8_t c) { return is_blank(c) || c == '\n' || c == '/' || c == '#'; }

// Lane, tile, x and y of Illumina names, four numbers a record: of the first word with at least seven parts between
// colons the fourth to seventh, of one with five the second to fifth; all -1 where there is no such word of numbers.
void name_fields(In<uint8_t> values, In<int64_t> offsets, Out<int64_t> out) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    require(out.size() == 4 * (offsets.size() - 1), "the output does not hold four numbers a name");
    for (size_t i = 0; i + 1 < offsets.size(); i++) {
        const uint8_t *p = values.data() + offsets.data()[i], *end = values.data() + offsets.data()[i + 1];
        int64_t *to = out.data() + 4 * i;
        std::fill(to, to + 4, -1);
        while (p < end) {
            const uint8_t *word = p;
            int64_t colons = 0;
            for (; p < end && !ends_word(*p); p++) colons += *p == ':';
            const uint8_t *stop = p++;
            if (colons < 4) continue;
            int64_t skip = colons >= 6 ? 3 : 1, found[4];
            if (colons == 5) break;
            bool good = true;
            for (int64_t part = 0; part < skip + 4; part++) {
                const uint8_t *start = word;
                int64_t number = 0;
                bool digits = true;
                for (; word < stop && *word != ':'; word++) {
                    digits &= is_digit(*word) && word - start < MAX_DIGITS;
                    if (digits) number = number * 10 + (*word - '0');
                }
                if (part >= skip) {
                    good &= digits && word > start;
                    found[part - skip] = number;
                }
                word++;
            }
            if (good) std::copy(found, found + 4, to);
            break;
        }
    }
}

void bind_names(nb::module_ &m) {
    const auto values = nb::arg("values").noconvert(), out = nb::arg("out").noconvert();
    const auto offsets = nb::arg("offsets");
    const auto starts = nb::arg("starts").noconvert(), ends = nb::arg("ends").noconvert();
    const auto numbers = nb::arg("numbers").noconvert();
    m.def("name_links", &name_links, values, offsets, nb::arg("distances").noconvert(), nb::arg("mates").noconvert());
    m.def("follow_links", &follow_links, nb::arg("distances"), nb::arg("mates"), nb::arg("index").noconvert(),
          nb::arg("turned").noconvert());
    m.def("take_names", &take_names, values, offsets, nb::arg("index"), nb::arg("turned").noconvert(), out,
          nb::arg("out_offsets").noconvert());
    m.def("name_shapes", &name_shapes, values, offsets, nb::arg("counts").noconvert(), nb::arg("shapes").noconvert());
    m.def("name_numbers", &name_numbers, values, offsets, starts, ends, numbers, nb::arg("kinds").noconvert());
    m.def("span_numbers", &span_numbers, values, starts, ends, nb::arg("ids").noconvert());
    m.def("name_fields", &name_fields, values, offsets, out);
}

}  // namespace agd
