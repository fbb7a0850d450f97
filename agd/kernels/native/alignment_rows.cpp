// Alignments as rows of bytes, which can be moved one by one: fixed fields, CIGAR and tags of a record side by side.
#include "alignment.hpp"
#include "spans.hpp"

#include <nanobind/stl/pair.h>

namespace agd {
namespace {

// What each row begins with; the CIGAR and the tags follow. Rows stay on the machine: fields are as it holds them.
struct Head {
    int64_t position, mate_position, template_length;
    int32_t reference, mate_reference;
    uint32_t operations;  // of the CIGAR
    uint16_t flag;
    uint8_t mapping_quality, unused;
};
constexpr int64_t HEAD = sizeof(Head);
static_assert(HEAD == 40, "agd.kernels.alignments counts with 40 bytes");

constexpr Head NONE{-1, -1, 0, -1, -1, 0, 0, 0, 0};

void alignment_pack(nb::tuple alignments, Out<uint8_t> rows, Out<int64_t> offsets) {
    const Arrays<In> a(alignments);
    nb::gil_scoped_release unlocked;
    check_alignments(a);
    require(offsets.size() == a.flag.size() + 1, "offsets and alignments differ in number");
    const int64_t room = (int64_t)rows.size(), *const c = a.cigar_offsets.data(), *const t = a.tag_offsets.data();
    int64_t at = offsets.data()[0] = 0;
    for (size_t i = 0; i < a.flag.size(); i++) {
        if (!a.valid || a.valid->data()[i]) {
            const int64_t operations = c[i + 1] - c[i], tags = t[i + 1] - t[i];
            require(operations <= UINT32_MAX, "a CIGAR of too many operations", (int64_t)i);
            require(HEAD + 4 * operations + tags <= room - at, "no room for the rows", (int64_t)i);
            const Head head{a.position.data()[i], a.mate_position.data()[i], a.template_length.data()[i],
                            a.reference.data()[i], a.mate_reference.data()[i], (uint32_t)operations,
                            a.flag.data()[i], a.mapping_quality.data()[i], 0};
            uint8_t *to = rows.data() + at;
            std::memcpy(to, &head, HEAD);
            copy_short(to + HEAD, (const uint8_t *)(a.cigar.data() + c[i]), 4 * operations);
            copy_short(to + HEAD + 4 * operations, a.tags.data() + t[i], tags);
            at += HEAD + 4 * operations + tags;
        }
        offsets.data()[i + 1] = at;
    }
    require(at == room, "room of the output is not the size of the rows");
}

std::pair<int64_t, int64_t> alignment_unpack(In<uint8_t> rows, In<int64_t> offsets, nb::tuple alignments) {
    Arrays<Out> a(alignments);
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)rows.size(), "offsets outside of the rows");
    require(offsets.size() == a.flag.size() + 1, "offsets and alignments differ in number");
    int64_t cigar = 0, tags = 0;
    a.cigar_offsets.data()[0] = a.tag_offsets.data()[0] = 0;
    for (size_t i = 0; i < a.flag.size(); i++) {
        const int64_t first = offsets.data()[i], size = offsets.data()[i + 1] - first;
        Head head = NONE;
        int64_t rest = 0;
        if (size) {
            require(size >= HEAD, "row is too short", (int64_t)i, first);
            std::memcpy(&head, rows.data() + first, HEAD);
            rest = size - HEAD - 4 * (int64_t)head.operations;
            require(rest >= 0, "CIGAR is longer than its row", (int64_t)i, first);
        }
        require(head.operations <= a.cigar.size() - (size_t)cigar, "no room for the CIGARs", (int64_t)i, first);
        require(rest <= (int64_t)a.tags.size() - tags, "no room for the tags", (int64_t)i, first);
        a.flag.data()[i] = head.flag;
        a.reference.data()[i] = head.reference;
        a.position.data()[i] = head.position;
        a.mapping_quality.data()[i] = head.mapping_quality;
        a.mate_reference.data()[i] = head.mate_reference;
        a.mate_position.data()[i] = head.mate_position;
        a.template_length.data()[i] = head.template_length;
        const uint8_t *from = rows.data() + first + HEAD;
        copy_short((uint8_t *)(a.cigar.data() + cigar), from, 4 * (int64_t)head.operations);
        copy_short(a.tags.data() + tags, from + 4 * (int64_t)head.operations, rest);
        a.cigar_offsets.data()[i + 1] = cigar += head.operations;
        a.tag_offsets.data()[i + 1] = tags += rest;
        if (a.valid) a.valid->data()[i] = size > 0;
    }
    return {cigar, tags};
}

}  // namespace

void bind_alignment_rows(nb::module_ &m) {
    m.def("alignment_pack", &alignment_pack, nb::arg("alignments"), nb::arg("rows").noconvert(),
          nb::arg("offsets").noconvert());
    m.def("alignment_unpack", &alignment_unpack, nb::arg("rows"), nb::arg("offsets"), nb::arg("alignments"));
}

}  // namespace agd
