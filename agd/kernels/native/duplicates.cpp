// Finding duplicates: sums of qualities, hashes of names, the best of every group; see reference/duplicates.py.
#include "common.hpp"

#include <algorithm>
#include <vector>

namespace agd {

namespace {

using Flags = nb::ndarray<bool, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr uint64_t low_factor = 0x9fb21c651e98df25ULL, high_factor = 0xc2b2ae3d27d4eb4fULL;

uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

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
    m.def("best_of_groups", &best_of_groups, nb::arg("low").noconvert(), nb::arg("high").noconvert(),
          nb::arg("score").noconvert(), nb::arg("best").noconvert(), nb::arg("tied").noconvert());
    m.def("optical_duplicates", &optical_duplicates, nb::arg("group").noconvert(), nb::arg("rank").noconvert(),
          nb::arg("tile").noconvert(), nb::arg("x").noconvert(), nb::arg("y").noconvert(), nb::arg("distance"),
          nb::arg("out").noconvert());
}

}  // namespace agd
