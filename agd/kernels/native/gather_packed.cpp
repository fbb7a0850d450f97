// Bases of many sources in one order, two bits each all the way (spec/codecs/base2.md).
#include "runs.hpp"
#include "spans.hpp"

#include <algorithm>
#include <vector>

namespace agd {
namespace {

constexpr int64_t WORD = 32;   // bases in a word
constexpr int64_t AHEAD = 32;  // records that are asked for before they are copied

// The bases of one source, and its runs of letters that are not one of ACGT.
struct Packed {
    const uint8_t *data;
    int64_t bytes, runs;
    const int64_t *starts, *lengths;
    const uint8_t *letters;

    explicit Packed(nb::tuple fields) {
        require(nb::len(fields) == 4, "a source has four fields");
        data_ = nb::cast<In<uint8_t>>(fields[0]);
        starts_ = nb::cast<In<int64_t>>(fields[1]);
        lengths_ = nb::cast<In<int64_t>>(fields[2]);
        letters_ = nb::cast<In<uint8_t>>(fields[3]);
        data = data_.data(), bytes = (int64_t)data_.size(), runs = (int64_t)starts_.size();
        starts = starts_.data(), lengths = lengths_.data(), letters = letters_.data();
        require(starts_.size() == lengths_.size() && starts_.size() == letters_.size(), "runs differ in number");
    }

    int64_t bases() const { return 4 * bytes; }
    int64_t end(int64_t run) const { return starts[run] + lengths[run]; }

private:
    In<uint8_t> data_, letters_;
    In<int64_t> starts_, lengths_;
};

// The complements of 32 bases from the last to the first.
AGD_INLINE uint64_t turned(uint64_t bases) {
    bases = __builtin_bswap64(bases);
    bases = (bases >> 4 & 0x0f0f0f0f0f0f0f0f) | (bases & 0x0f0f0f0f0f0f0f0f) << 4;
    bases = (bases >> 2 & 0x3333333333333333) | (bases & 0x3333333333333333) << 2;
    return ~bases;
}

// Writes `count` words of 32 bases each: the first from base `shift / 2` of `from` on, the others from where it goes on, or
// turned around, from where it comes from. The first word keeps the bases of `before`, of which `kept` has all bits.
template <bool TURN>
AGD_INLINE void copy_words(uint8_t *to, const uint8_t *from, int shift, int64_t count, uint64_t before, uint64_t kept) {
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *at = TURN ? from - 8 * i : from + 8 * i;
        uint64_t word = load64(at) >> shift | load64(at + 8) << 1 << (63 - shift);
        if (TURN) word = turned(word);
        if (!i) word = (word & ~kept) | before;
        std::memcpy(to + 8 * i, &word, 8);
    }
}

// Copies bases start to end of a source to base `at` of the output, before which all is written. Words go to whole bytes
// there: the first one keeps the bases before, the last one goes beyond the record, where others follow.
void copy(const Packed &from, int64_t start, int64_t end, bool turn, int64_t at, uint8_t *out, int64_t size) {
    const int64_t within = at % 4, words = (within + end - start + WORD - 1) / WORD;
    if (start == end) return;
    uint8_t *to = out + at / 4, copied[16];
    const uint64_t kept = (1u << 2 * within) - 1, before = within ? *to & kept : 0;
    // Of the first word; what comes before a record, or behind it, is read in vain.
    const int64_t base = turn ? end + within - WORD : start - within;
    const int shift = (int)(base & 3) * 2;
    const int64_t low = (turn ? base - WORD * (words - 1) : base) >> 2, high = ((turn ? base : base + WORD * (words - 1)) >> 2) + 16;
    if (low >= 0 && high <= from.bytes && at / 4 + 8 * words <= size) {
        if (turn) copy_words<true>(to, from.data + (base >> 2), shift, words, before, kept);
        else copy_words<false>(to, from.data + (base >> 2), shift, words, before, kept);
        return;
    }
    for (int64_t i = 0; i < words; i++) {
        const int64_t byte = (base >> 2) + (turn ? -8 : 8) * i;
        for (int64_t k = 0; k < 16; k++) copied[k] = byte + k >= 0 && byte + k < from.bytes ? from.data[byte + k] : 0;
        uint8_t word[8];
        if (turn) copy_words<true>(word, copied, shift, 1, i ? 0 : before, i ? 0 : kept);
        else copy_words<false>(word, copied, shift, 1, i ? 0 : before, i ? 0 : kept);
        std::memcpy(to + 8 * i, word, (size_t)std::min<int64_t>(8, size - at / 4 - 8 * i));
    }
}

// The runs of what is written, and the bases that have a code which says nothing.
struct Found {
    struct Stretch { int64_t start, length; };
    Runs runs;
    std::vector<Stretch> coded;

    // Adds what runs there are between start and end, which go to `at`.
    void add(const Packed &from, int64_t start, int64_t end, bool turn, int64_t at) {
        int64_t first = std::upper_bound(from.starts, from.starts + from.runs, start) - from.starts;
        if (first > 0 && from.end(first - 1) > start) first--;
        int64_t past = first;
        while (past < from.runs && from.starts[past] < end) past++;
        for (int64_t i = first; i < past; i++) {
            const int64_t run = turn ? past - 1 - (i - first) : i;
            const int64_t low = std::max(from.starts[run], start), high = std::min(from.end(run), end);
            if (low >= high) continue;
            const uint8_t letter = turn ? complement_table()[from.letters[run]] : from.letters[run];
            const Stretch place{at + (turn ? end - high : low - start), high - low};
            coded.push_back(place);
            if (letter != 'A') runs.add(place.start, place.length, letter);  // an A, as the complement of U is, has a code
        }
    }

    // All of them become A.
    void clear(uint8_t *bases) const {
        for (const auto &[start, length] : coded)
            for (int64_t i = start; i < start + length; i++) bases[i / 4] &= (uint8_t)~(3 << i % 4 * 2);
    }
};

}  // namespace

nb::tuple gather_packed(nb::sequence list, In<uint32_t> source, In<int64_t> starts, In<int64_t> out_offsets,
                        Out<uint8_t> out) {
    std::vector<Packed> sources;
    for (nb::handle item : list) sources.emplace_back(nb::cast<nb::tuple>(item));
    Found found;
    {
        nb::gil_scoped_release unlocked;
        const int64_t n = (int64_t)starts.size();
        const int64_t *const to = out_offsets.data();
        require((int64_t)source.size() == n && (int64_t)out_offsets.size() == n + 1, "records and offsets differ in length");
        check_offsets(to, out_offsets.size(), INT64_MAX - 3, "offsets that descend");
        require(to[0] == 0 && (to[n] + 3) / 4 == (int64_t)out.size(), "size of the output does not fit the bases");
        for (int64_t i = -AHEAD; i < n; i++) {
            if (i >= 0) {
                const Packed &from = sources[source.data()[i]];
                const int64_t start = starts.data()[i] >> 2, end = start + to[i + 1] - to[i];
                const bool turn = starts.data()[i] & 1, marked = starts.data()[i] & 2;
                copy(from, start, end, turn, to[i], out.data(), (int64_t)out.size());
                if (marked) found.add(from, start, end, turn, to[i]);
            }
            const int64_t next = i + AHEAD;
            if (next >= n) continue;
            require(source.data()[next] < sources.size(), "a record is of none of the sources", next);
            const Packed &from = sources[source.data()[next]];
            const int64_t start = starts.data()[next] >> 2, length = to[next + 1] - to[next];
            require(start >= 0 && start <= from.bases() && length <= from.bases() - start, "span outside of the source",
                    next, start);
            prefetch_bytes(from.data + start / 4, length / 4 + 8);
        }
        // Behind the last base there is nothing.
        if (to[n] % 4) out.data()[to[n] / 4] &= (uint8_t)((1 << to[n] % 4 * 2) - 1);
        found.clear(out.data());
    }
    return found.runs.arrays();
}

void bind_gather_packed(nb::module_ &m) {
    m.def("gather_packed", &gather_packed, nb::arg("bases"), nb::arg("source").noconvert(), nb::arg("starts").noconvert(),
          nb::arg("out_offsets").noconvert(), nb::arg("out").noconvert());
}

}  // namespace agd
