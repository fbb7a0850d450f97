// Finding duplicates: sums of qualities, hashes of names, the best of every group; see reference/duplicates.py.
#include "common.hpp"
#include "owned.hpp"

#include <algorithm>
#include <vector>

namespace agd {

namespace {

using Flags = nb::ndarray<bool, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr uint64_t low_factor = 0x9fb21c651e98df25ULL, high_factor = 0xc2b2ae3d27d4eb4fULL;

constexpr uint64_t mix_low = 0xbf58476d1ce4e5b9ULL, mix_high = 0x94d049bb133111ebULL;

uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * mix_low;
    x = (x ^ x >> 27) * mix_high;
    return x ^ x >> 31;
}

// The rows of kernels/duplicates.py, byte for byte; what follows END (a barcode, a place) is looked up by its offset.
#pragma pack(push, 1)
struct End {
    uint64_t low, high;
    int64_t ordinal, start, end;
    int32_t reference;
    uint32_t score;
    uint16_t library, kind;
};
struct Signed {
    uint64_t low, high;
    int64_t ordinal;
    uint32_t score;
    uint16_t library;
};
struct Follows {
    int64_t follower, leader;
};
#pragma pack(pop)
constexpr int64_t place_size = 16;

enum Kind : uint16_t { paired = 0x1, reverse = 0x10, first = 0x40, second = 0x80, examined = 0x100, follower = 0x200 };

struct Hash {
    uint64_t low = 1, high = 2;
    void add(uint64_t word) {
        low = (low ^ word) * mix_low, low ^= low >> 31;
        high = (high ^ word) * mix_high, high ^= high >> 29;
    }
};

template <class Row> void append(std::vector<uint8_t> &out, const Row &row, const uint8_t *rest = nullptr, size_t size = 0) {
    const auto *bytes = reinterpret_cast<const uint8_t *>(&row);
    out.insert(out.end(), bytes, bytes + sizeof row);
    if (size) out.insert(out.end(), rest, rest + size);
}

// Signs the reads of a partition, name by name.
class Signer {
  public:
    std::vector<uint8_t> pairs, singles, taken, follows;

    Signer(const uint8_t *rows, size_t width, size_t count, bool barcode)
        : rows(rows), width(width), count(count), barcode(barcode) {}

    void run() {
        pairs.reserve(count * (sizeof(Signed) + rest()));
        taken.reserve(count * 8);
        size_t size = 16;
        while (size < 2 * count) size *= 2;
        std::vector<int64_t> slots(size, -1), next(count, -1);  // of a name: its latest row, and the one before each
        std::vector<size_t> names;
        for (size_t i = 0; i < count; i++) {
            const End end = at(i);
            size_t slot = (end.low ^ end.low >> 32) & (size - 1);
            while (slots[slot] >= 0 && !same_name(end, (size_t)slots[slot])) slot = (slot + 1) & (size - 1);
            if (slots[slot] < 0) names.push_back(slot);
            next[i] = slots[slot];
            slots[slot] = (int64_t)i;
        }
        std::vector<End> group;
        std::vector<size_t> index;
        for (const size_t slot : names) {
            index.clear();
            for (int64_t i = slots[slot]; i >= 0; i = next[(size_t)i]) index.push_back((size_t)i);
            std::sort(index.begin(), index.end(), [&](size_t a, size_t b) { return at(a).ordinal < at(b).ordinal; });
            group.clear();
            for (const size_t i : index) group.push_back(at(i));
            sign(group, index);
        }
    }

  private:
    const uint8_t *rows;
    const size_t width, count;
    const bool barcode;
    std::vector<size_t> firsts, seconds, mates;

    End at(size_t i) const {
        End end;
        std::memcpy(&end, rows + i * width, sizeof end);
        return end;
    }

    size_t rest() const { return width - sizeof(End) - (barcode ? 8 : 0); }

    bool same_name(const End &end, size_t other) const { return std::memcmp(&end, rows + other * width, 16) == 0; }

    void sign(const std::vector<End> &group, const std::vector<size_t> &index) {
        constexpr size_t none = (size_t)-1;
        firsts.clear(), seconds.clear();
        mates.assign(group.size(), none);
        for (size_t i = 0; i < group.size(); i++)
            if (group[i].kind & paired && !(group[i].kind & follower))
                (group[i].kind & second ? seconds : firsts).push_back(i);
        // The k-th first read of a name goes with its k-th last one.
        for (size_t k = 0; k < std::min(firsts.size(), seconds.size()); k++)
            mates[firsts[k]] = seconds[k], mates[seconds[k]] = firsts[k];
        for (size_t i = 0; i < group.size(); i++) {
            const End &end = group[i];
            if (end.kind & follower)
                for (const End &leader : group)
                    if (leader.kind & examined) append(follows, Follows{end.ordinal, leader.ordinal});
            if (!(end.kind & examined)) continue;
            Hash own = hash_of_end(end);
            finish(own, end, index[i]);
            if (mates[i] == none) {
                emit(singles, own, end, end.score, index[i]);
                continue;
            }
            append(taken, own.low);
            const End &mate = group[mates[i]];
            Hash both = hash_of_pair(end, mate);
            finish(both, end, index[i]);
            emit(pairs, both, end, end.score + mate.score, index[i]);
        }
    }

    void emit(std::vector<uint8_t> &out, const Hash &hash, const End &end, uint32_t score, size_t i) {
        append(out, Signed{hash.low, hash.high, end.ordinal, score, end.library}, rows + (i + 1) * width - rest(), rest());
    }

    void finish(Hash &hash, const End &end, size_t i) const {
        hash.add(end.library);
        if (barcode) {
            uint64_t word;
            std::memcpy(&word, rows + i * width + sizeof(End), 8);
            hash.add(word);
        }
        hash.low = mix(hash.low), hash.high = mix(hash.high);
    }

    static Hash hash_of_end(const End &end) {
        const bool back = end.kind & reverse;
        Hash hash;
        hash.add((uint64_t)(int64_t)end.reference);
        hash.add((uint64_t)(back ? end.end : end.start + 1));
        hash.add(back);
        return hash;
    }

    // The outer ends of the template and its orientation, numbered as in samtools markdup (mode t).
    static Hash hash_of_pair(const End &end, const End &mate) {
        const bool back = end.kind & reverse, mate_back = mate.kind & reverse, same = back == mate_back;
        const int64_t start = end.start + 1, mate_start = mate.start + 1;
        bool left;
        if (end.reference != mate.reference) left = end.reference < mate.reference;
        else if (same) left = back ? end.end <= mate.end : start <= mate_start;
        else left = back ? end.end <= mate_start : start <= mate.end;
        const int64_t one = same ? (left ? start : end.end) : (back ? end.end : start);
        const int64_t two = same ? (left ? mate.end : mate_start) : (back ? mate_start : mate.end);
        const int straight = (back != bool(end.kind & first)) == left ? 2 : 3, turned = left != back ? 5 : 7;
        Hash hash;
        hash.add((uint64_t)(int64_t)end.reference);
        hash.add((uint64_t)one);
        hash.add((uint64_t)(int64_t)mate.reference);
        hash.add((uint64_t)two);
        hash.add(left);
        hash.add((uint64_t)(same ? straight : turned));
        return hash;
    }
};

}  // namespace

void quality_sums(In<uint8_t> qualities, In<int64_t> offsets, int least, int base, Out<int64_t> out) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)qualities.size(), "offsets outside of the qualities");
    require(out.size() + 1 == offsets.size(), "the arrays differ in length");
    for (size_t i = 0; i < out.size(); i++) {
        const uint8_t *p = qualities.data() + offsets.data()[i], *end = qualities.data() + offsets.data()[i + 1];
        int64_t sum = 0;
        while (p < end) {
            // Blocks so short that 32 bits hold their sum, which vectors add up.
            const uint8_t *stop = std::min(end, p + (1 << 16));
            int32_t part = 0;
            for (; p < stop; p++) part += *p >= least ? *p - base : 0;
            sum += part;
        }
        out.data()[i] = sum;
    }
}

void hash_spans(In<uint8_t> values, In<int64_t> starts, In<int64_t> ends, Out<uint64_t> low, Out<uint64_t> high) {
    nb::gil_scoped_release unlocked;
    const size_t n = starts.size();
    require(ends.size() == n && low.size() == n && high.size() == n, "the arrays differ in length");
    for (size_t i = 0; i < n; i++) {
        const int64_t first = starts.data()[i], last = ends.data()[i];
        require(0 <= first && first <= last && last <= (int64_t)values.size(), "span outside of the values", (int64_t)i);
        uint64_t a = (uint64_t)(last - first) * low_factor, b = (uint64_t)(last - first) * high_factor;
        for (int64_t at = first; at < last; at += 8) {
            uint64_t word = 0;
            std::memcpy(&word, values.data() + at, (size_t)std::min<int64_t>(8, last - at));
            a = (a ^ word) * low_factor;
            a ^= a >> 32;
            b = (b ^ word) * high_factor;
            b ^= b >> 29;
        }
        low.data()[i] = mix(a);
        high.data()[i] = mix(b);
    }
}

void deal_rows(In<uint8_t> rows, int64_t width, int bits, Out<uint8_t> out, Out<int64_t> bounds) {
    nb::gil_scoped_release unlocked;
    require(width >= 8 && (int64_t)rows.size() % width == 0, "rows of another width");
    require(bits >= 1 && bits <= 16 && bounds.size() == ((size_t)1 << bits) + 1 && out.size() == rows.size(),
            "the arrays differ in length");
    const size_t count = rows.size() / (size_t)width, step = (size_t)width;
    const auto part = [&](size_t i) {
        uint64_t word;
        std::memcpy(&word, rows.data() + i * step, 8);
        return (size_t)(word * 0x9e3779b97f4a7c15ULL >> (64 - bits));
    };
    std::fill(bounds.data(), bounds.data() + bounds.size(), 0);
    for (size_t i = 0; i < count; i++) bounds.data()[part(i) + 1]++;
    for (size_t p = 1; p < bounds.size(); p++) bounds.data()[p] += bounds.data()[p - 1];
    std::vector<int64_t> place(bounds.data(), bounds.data() + bounds.size() - 1);
    for (size_t i = 0; i < count; i++)
        std::memcpy(out.data() + (size_t)place[part(i)]++ * step, rows.data() + i * step, step);
}

nb::tuple sign_ends(In<uint8_t> ends, int64_t width, bool barcode) {
    const int64_t more = width - (int64_t)sizeof(End) - (barcode ? 8 : 0);
    require((more == 0 || more == place_size) && (int64_t)ends.size() % width == 0, "rows of another width");
    Signer signer(ends.data(), (size_t)width, ends.size() / (size_t)width, barcode);
    {
        nb::gil_scoped_release unlocked;
        signer.run();
    }
    return nb::make_tuple(owned(std::move(signer.pairs)), owned(std::move(signer.singles)),
                          owned(std::move(signer.taken)), owned(std::move(signer.follows)));
}

void find_members(In<uint64_t> wanted, In<uint64_t> among, Flags out) {
    nb::gil_scoped_release unlocked;
    require(out.size() == wanted.size(), "the arrays differ in length");
    size_t size = 16;
    while (size < 2 * wanted.size()) size *= 2;
    std::vector<int64_t> slots(size, -1), next(wanted.size(), -1);
    const uint64_t *values = wanted.data();
    const auto find = [&](uint64_t value) {
        size_t slot = (value ^ value >> 32) & (size - 1);
        while (slots[slot] >= 0 && values[slots[slot]] != value) slot = (slot + 1) & (size - 1);
        return slot;
    };
    for (size_t i = 0; i < wanted.size(); i++) {
        const size_t slot = find(values[i]);
        next[i] = slots[slot];
        slots[slot] = (int64_t)i;
    }
    std::fill(out.data(), out.data() + out.size(), false);
    for (size_t i = 0; i < among.size(); i++)
        for (int64_t at = slots[find(among.data()[i])]; at >= 0 && !out.data()[at]; at = next[(size_t)at])
            out.data()[at] = true;
}

int64_t best_of_groups(In<uint64_t> low, In<uint64_t> high, In<int64_t> score, Out<int64_t> best, Flags tied) {
    nb::gil_scoped_release unlocked;
    const int64_t n = (int64_t)low.size();
    require((int64_t)high.size() == n && (int64_t)score.size() == n && (int64_t)best.size() == n &&
                (int64_t)tied.size() == n,
            "the arrays differ in length");
    const uint64_t *l = low.data(), *h = high.data();
    const int64_t *s = score.data();
    int64_t *out = best.data();
    uint64_t size = 16;
    while (size < (uint64_t)n * 2) size *= 2;
    std::vector<int64_t> slots(size, -1);  // of the best entry of a group
    int64_t groups = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t at = l[i] & (size - 1);
        while (slots[at] >= 0 && (l[slots[at]] != l[i] || h[slots[at]] != h[i])) at = (at + 1) & (size - 1);
        groups += slots[at] < 0;
        if (slots[at] < 0 || s[i] > s[slots[at]]) slots[at] = i;
        out[i] = (int64_t)at;
    }
    std::vector<bool> several(size, false);
    for (int64_t i = 0; i < n; i++) {
        const int64_t winner = slots[(size_t)out[i]];
        if (i != winner && s[i] == s[winner]) several[(size_t)out[i]] = true;
    }
    for (int64_t i = 0; i < n; i++) {
        const size_t at = (size_t)out[i];
        tied.data()[i] = several[at] && s[i] == s[slots[at]];
        out[i] = slots[at];
    }
    return groups;
}

int64_t optical_duplicates(In<int64_t> group, In<int64_t> rank, In<uint64_t> tile, In<int32_t> x, In<int32_t> y,
                           int64_t distance, Flags out) {
    nb::gil_scoped_release unlocked;
    const size_t n = group.size();
    require(rank.size() == n && tile.size() == n && x.size() == n && y.size() == n && out.size() == n,
            "the arrays differ in length");
    std::fill(out.data(), out.data() + n, false);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n && group.data()[j] == group.data()[i] && tile.data()[j] == tile.data()[i] &&
                               (int64_t)x.data()[j] - x.data()[i] <= distance;
             j++) {
            const int64_t apart = (int64_t)y.data()[j] - y.data()[i];
            if (apart > distance || -apart > distance) continue;
            out.data()[rank.data()[i] > rank.data()[j] ? i : j] = true;
        }
    return (int64_t)std::count(out.data(), out.data() + n, true);
}

void bind_duplicates(nb::module_ &m) {
    m.def("quality_sums", &quality_sums, nb::arg("qualities").noconvert(), nb::arg("offsets").noconvert(),
          nb::arg("least"), nb::arg("base"), nb::arg("out").noconvert());
    m.def("hash_spans", &hash_spans, nb::arg("values").noconvert(), nb::arg("starts").noconvert(),
          nb::arg("ends").noconvert(), nb::arg("low").noconvert(), nb::arg("high").noconvert());
    m.def("deal_rows", &deal_rows, nb::arg("rows").noconvert(), nb::arg("width"), nb::arg("bits"),
          nb::arg("out").noconvert(), nb::arg("bounds").noconvert());
    m.def("sign_ends", &sign_ends, nb::arg("ends").noconvert(), nb::arg("width"), nb::arg("barcode"));
    m.def("find_members", &find_members, nb::arg("wanted").noconvert(), nb::arg("among").noconvert(),
          nb::arg("out").noconvert());
    m.def("best_of_groups", &best_of_groups, nb::arg("low").noconvert(), nb::arg("high").noconvert(),
          nb::arg("score").noconvert(), nb::arg("best").noconvert(), nb::arg("tied").noconvert());
    m.def("optical_duplicates", &optical_duplicates, nb::arg("group").noconvert(), nb::arg("rank").noconvert(),
          nb::arg("tile").noconvert(), nb::arg("x").noconvert(), nb::arg("y").noconvert(), nb::arg("distance"),
          nb::arg("out").noconvert());
}

}  // namespace agd
