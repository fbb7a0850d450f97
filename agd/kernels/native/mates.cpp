// What the records of a pair say of each other: put back from the links between them (spec/codecs/alignments.md).
#include "difference.hpp"
#include "records.hpp"

namespace agd {
namespace {

// How far on the mates of records are that are not the second of two, their flags, and what those of the second ones say
// that these do not imply.
int64_t fold_mates(In<int32_t> mates, In<uint16_t> flag, Out<uint32_t> links, Out<uint16_t> flags,
                   Out<uint16_t> differences) {
    nb::gil_scoped_release unlocked;
    const size_t n = mates.size();
    require(flag.size() == n && links.size() == n && flags.size() == n && differences.size() == n,
            "arrays of records differ in length");
    size_t others = 0, seconds = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t mate = mates.data()[i];
        require(mate < 0 || ((size_t)mate < n && mate != (int32_t)i && mates.data()[mate] == (int32_t)i),
                "mates do not name each other", (int64_t)i);
        // Both are written, for nobody can tell which it will be.
        const bool second = mate >= 0 && mate < (int32_t)i;
        links.data()[others] = mate < 0 ? 0 : (uint32_t)(mate - (int32_t)i);
        flags.data()[others] = flag.data()[i];
        differences.data()[seconds] = flag.data()[i] ^ mate_flag(flag.data()[mate < 0 ? (int32_t)i : mate]);
        others += !second, seconds += second;
    }
    return (int64_t)others;
}

// Index of the mate of every record, or -1, from the links of the records that no link leads to.
int64_t expand_links(In<uint32_t> stored, Out<int32_t> mates) {
    nb::gil_scoped_release unlocked;
    const size_t n = mates.size();
    require(n < INT32_MAX, "too many records");
    int32_t *to = mates.data();
    std::fill(to, to + n, -1);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (to[i] >= 0) continue;
        require(used < stored.size(), "links end too early", (int64_t)i);
        const uint32_t d = stored.data()[used++];
        if (!d) continue;
        require(d < n - i && to[i + d] < 0, "link to no record, or to one that has a mate", (int64_t)i);
        to[i] = (int32_t)(i + d);
        to[i + d] = (int32_t)i;
    }
    return (int64_t)used;
}

// The mates of records, each of which names the other.
struct Mates {
    const int32_t *of;
    size_t count;

    explicit Mates(const In<int32_t> &mates) : of(mates.data()), count(mates.size()) {
        for (size_t i = 0; i < count; i++)
            require(of[i] < 0 || ((size_t)of[i] < count && of[i] != (int32_t)i && of[of[i]] == (int32_t)i),
                    "mates do not name each other", (int64_t)i);
    }
    bool second(size_t i) const { return of[i] >= 0 && of[i] < (int32_t)i; }
};

void expand_flags(In<int32_t> mates, In<uint16_t> stored, In<uint16_t> differences, Out<uint16_t> flag) {
    nb::gil_scoped_release unlocked;
    const Mates m(mates);
    require(flag.size() == m.count, "arrays of records differ in length");
    require(stored.size() + differences.size() == m.count, "flags and records differ in number");
    size_t used = 0, different = 0;
    for (size_t i = 0; i < m.count; i++) {
        if (m.second(i)) {
            require(different < differences.size(), "flags and records differ in number");
            flag.data()[i] = mate_flag(flag.data()[m.of[i]]) ^ differences.data()[different++];
        } else {
            require(used < stored.size(), "flags and records differ in number");
            flag.data()[i] = stored.data()[used++];
        }
    }
}

void expand_mate_fields(In<int32_t> mates, In<int64_t> own, In<int64_t> differences, Out<int64_t> out) {
    nb::gil_scoped_release unlocked;
    const Mates m(mates);
    require(own.size() == m.count && out.size() == m.count, "arrays of records differ in length");
    size_t used = 0;
    for (size_t i = 0; i < m.count; i++) {
        if (m.of[i] >= 0) {
            out.data()[i] = own.data()[m.of[i]];
        } else {
            require(used < differences.size(), "fewer differences than records without a mate", (int64_t)i);
            out.data()[i] = (int64_t)((uint64_t)own.data()[i] + (uint64_t)differences.data()[used++]);
        }
    }
    require(used == differences.size(), "more differences than records without a mate");
}

void pair_lengths(In<int32_t> mates, In<uint16_t> flag, In<int64_t> reference, In<int64_t> position, In<uint32_t> cigar,
                  In<int64_t> cigar_offsets, Out<int64_t> out) {
    nb::gil_scoped_release unlocked;
    const Mates m(mates);
    require(flag.size() == m.count && reference.size() == m.count && position.size() == m.count &&
                cigar_offsets.size() == m.count + 1 && out.size() == m.count,
            "arrays of records differ in length");
    check_offsets(cigar_offsets.data(), cigar_offsets.size(), (int64_t)cigar.size(), "offsets outside of the CIGARs");
    const auto five = [&](size_t i) {
        uint64_t at = (uint64_t)position.data()[i];
        if (!(flag.data()[i] & 0x10)) return at;
        at--;
        for (int64_t k = cigar_offsets.data()[i]; k < cigar_offsets.data()[i + 1]; k++)
            if (in(cigar.data()[k], BOTH_BITS | REFERENCE_ONLY_BITS)) at += (uint64_t)operation_length(cigar.data()[k]);
        return at;
    };
    for (size_t i = 0; i < m.count; i++) {
        if (m.of[i] < 0) out.data()[i] = 0;
        if (!m.second(i)) continue;
        const size_t first = (size_t)m.of[i];
        int64_t apart = 0;
        if (reference.data()[first] == reference.data()[i] && !(flag.data()[first] & 0xC)) {
            apart = (int64_t)(five(i) - five(first));
            apart += (apart > 0) - (apart < 0);
        }
        out.data()[first] = apart;
        out.data()[i] = -apart;
    }
}

}  // namespace

void bind_mates(nb::module_ &m) {
    const auto mates = nb::arg("mates").noconvert(), stored = nb::arg("stored").noconvert();
    m.def("fold_mates", &fold_mates, mates, nb::arg("flag").noconvert(), nb::arg("links").noconvert(),
          nb::arg("flags").noconvert(), nb::arg("differences").noconvert());
    m.def("expand_links", &expand_links, stored, mates);
    m.def("expand_flags", &expand_flags, mates, stored, nb::arg("differences").noconvert(), nb::arg("flag").noconvert());
    m.def("expand_mate_fields", &expand_mate_fields, mates, nb::arg("own").noconvert(), nb::arg("differences").noconvert(),
          nb::arg("out").noconvert());
    m.def("pair_lengths", &pair_lengths, mates, nb::arg("flag").noconvert(), nb::arg("reference").noconvert(),
          nb::arg("position").noconvert(), nb::arg("cigar").noconvert(), nb::arg("cigar_offsets").noconvert(),
          nb::arg("out").noconvert());
}

}  // namespace agd
