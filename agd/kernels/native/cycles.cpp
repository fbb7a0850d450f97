// Histograms by cycle, in the direction of sequencing; see reference/cycles.py.
#include "common.hpp"

#include <array>

namespace agd {

namespace {

constexpr uint8_t skip = 255;
constexpr int qualities_told_apart = 94, letters = 6;

// Classes of letters: ACGT (either case) 0 to 3, N 4, all else 5.
constexpr std::array<uint8_t, 256> classes = [] {
    std::array<uint8_t, 256> c{};
    c.fill(5);
    const char *known = "ACGTN";
    for (int i = 0; i < 5; i++) c[(uint8_t)known[i]] = c[(uint8_t)known[i] | 0x20] = (uint8_t)i;
    return c;
}();

// The records of a column, and where each is counted.
struct Reads {
    const uint8_t *values;
    const int64_t *offsets;
    const uint8_t *group;
    const bool *reverse;
    const int32_t *bins;
    int64_t count, cycles, groups, bin_count;

    Reads(const In<uint8_t> &v, const In<int64_t> &o, const In<uint8_t> &g, const In<bool> &r, const In<int32_t> &b,
          int64_t bin_count, int64_t cells, int64_t cells_per_bin)
        : values(v.data()), offsets(o.data()), group(g.data()), reverse(r.data()), bins(b.data()),
          count((int64_t)o.size() - 1), cycles((int64_t)b.size()), bin_count(bin_count) {
        check_offsets(o.data(), o.size(), (int64_t)v.size(), "offsets outside of the values");
        require((int64_t)g.size() == count && (int64_t)r.size() == count, "the arrays differ in length");
        require(bin_count >= 1 && cells % (bin_count * cells_per_bin) == 0, "counts are not of this many bins");
        groups = cells / (bin_count * cells_per_bin);
        for (int64_t i = 0; i < cycles; i++) require(bins[i] >= 0 && bins[i] < bin_count, "there is no such bin");
        for (int64_t i = 0; i < count; i++) {
            if (group[i] == skip) continue;
            require(group[i] < groups, "there is no such group", i);
            require(offsets[i + 1] - offsets[i] <= cycles, "record longer than the cycles", i);
        }
    }
};

}  // namespace

void quality_cycles(In<uint8_t> qualities, In<int64_t> offsets, In<uint8_t> group, In<bool> reverse, In<int32_t> bins,
                    int64_t bin_count, int base, Out<int64_t> counts, Out<int64_t> means) {
    nb::gil_scoped_release unlocked;
    const Reads reads(qualities, offsets, group, reverse, bins, bin_count, (int64_t)counts.size(), qualities_told_apart);
    require((int64_t)means.size() == reads.count, "the arrays differ in length");
    for (int64_t i = 0; i < reads.count; i++) {
        const int64_t length = reads.offsets[i + 1] - reads.offsets[i];
        means.data()[i] = -1;
        if (reads.group[i] == skip || !length) continue;
        int64_t *table = counts.data() + reads.group[i] * bin_count * qualities_told_apart;
        const bool turn = reads.reverse[i];
        const uint8_t *p = reads.values + (turn ? reads.offsets[i + 1] - 1 : reads.offsets[i]);
        const int step = turn ? -1 : 1;
        int64_t sum = 0;
        for (int64_t cycle = 0; cycle < length; cycle++, p += step) {
            const int quality = *p - base;
            require(quality >= 0 && quality < qualities_told_apart, "quality outside of 0 to 93", i, cycle);
            table[reads.bins[cycle] * qualities_told_apart + quality]++;
            sum += quality;
        }
        means.data()[i] = sum / length;
    }
}

void base_cycles(In<uint8_t> bases, In<int64_t> offsets, In<uint8_t> group, In<bool> reverse, In<int32_t> bins,
                 int64_t bin_count, In<int64_t> limits, In<uint64_t> adapters, int width, Out<int64_t> counts,
                 Out<int64_t> first, Out<int64_t> strong) {
    nb::gil_scoped_release unlocked;
    const Reads reads(bases, offsets, group, reverse, bins, bin_count, (int64_t)counts.size(), letters);
    const size_t kinds = adapters.size();
    require(kinds <= 32 && width >= 6 && width <= 31, "too many adapters, or not of 6 to 31 bases");
    require((int64_t)first.size() == reads.groups * (int64_t)kinds * bin_count, "adapters differ from their counts");
    require((int64_t)limits.size() == reads.count && (int64_t)strong.size() == reads.count, "the arrays differ in length");
    // Few words end as an adapter does: those are compared whole.
    std::array<uint32_t, 4096> endings{};
    for (size_t a = 0; a < kinds; a++) endings[adapters.data()[a] & 4095] |= 1u << a;
    const uint64_t mask = (1ULL << 2 * width) - 1;
    for (int64_t i = 0; i < reads.count; i++) {
        strong.data()[i] = 0;
        if (reads.group[i] == skip) continue;
        const int64_t length = reads.offsets[i + 1] - reads.offsets[i], limit = limits.data()[i];
        int64_t *table = counts.data() + reads.group[i] * bin_count * letters;
        int64_t *starts = first.data() + reads.group[i] * (int64_t)kinds * bin_count;
        const bool turn = reads.reverse[i];
        const uint8_t *p = reads.values + (turn ? reads.offsets[i + 1] - 1 : reads.offsets[i]);
        const int step = turn ? -1 : 1;
        uint64_t word = 0;
        uint32_t found = 0;
        int64_t run = 0, gc = 0;
        for (int64_t cycle = 0; cycle < length; cycle++, p += step) {
            uint8_t c = classes[*p];
            if (turn && c < 4) c = (uint8_t)(3 - c);
            table[reads.bins[cycle] * letters + c]++;
            gc += (cycle < limit) & ((c == 1) | (c == 2));
            run = c < 4 ? run + 1 : 0;
            word = (word << 2 | (c & 3)) & mask;
            uint32_t candidates = endings[word & 4095] & ~found;
            if (!candidates || run < width) continue;
            for (size_t a = 0; a < kinds; a++) {
                if (!(candidates >> a & 1) || adapters.data()[a] != word) continue;
                found |= 1u << a;
                starts[(int64_t)a * bin_count + reads.bins[cycle + 1 - width]]++;
            }
        }
        strong.data()[i] = gc;
    }
}

void bind_cycles(nb::module_ &m) {
    m.def("quality_cycles", &quality_cycles, nb::arg("qualities").noconvert(), nb::arg("offsets").noconvert(),
          nb::arg("group").noconvert(), nb::arg("reverse").noconvert(), nb::arg("bins").noconvert(),
          nb::arg("bin_count"), nb::arg("base"), nb::arg("counts").noconvert(), nb::arg("means").noconvert());
    m.def("base_cycles", &base_cycles, nb::arg("bases").noconvert(), nb::arg("offsets").noconvert(),
          nb::arg("group").noconvert(), nb::arg("reverse").noconvert(), nb::arg("bins").noconvert(),
          nb::arg("bin_count"), nb::arg("limits").noconvert(), nb::arg("adapters").noconvert(), nb::arg("width"),
          nb::arg("counts").noconvert(), nb::arg("first").noconvert(), nb::arg("strong").noconvert());
}

}  // namespace agd
