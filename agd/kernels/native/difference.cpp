// What CIGARs say about reads and reference: lengths, unclipped ends, and the differences between them (NM, MD).
#include "difference.hpp"
#include "simd.hpp"

#include <limits>

namespace agd {
namespace {

// Above this nothing real lies, and sums of CIGARs cannot overflow.
constexpr int64_t POSITION_LIMIT = 1LL << 62;

struct Cigars {
    const uint32_t *values;
    const int64_t *offsets;
    int64_t records;

    Cigars(const In<uint32_t> &v, const In<int64_t> &o) : values(v.data()), offsets(o.data()) {
        check_offsets(o.data(), o.size(), (int64_t)v.size(), "offsets outside of the CIGARs");
        records = (int64_t)o.size() - 1;
    }
    const uint32_t *begin(int64_t i) const { return values + offsets[i]; }
    const uint32_t *end(int64_t i) const { return values + offsets[i + 1]; }

    int64_t sum(int64_t i, uint32_t bits) const {
        int64_t total = 0;
        for (const uint32_t *c = begin(i); c < end(i); c++) {
            require(operation_code(*c) < OPERATIONS, "CIGAR operation is not one of MIDNSHP=X", i, c - values);
            total += in(*c, bits) ? operation_length(*c) : 0;
        }
        return total;
    }
};

void reference_spans(In<uint32_t> cigar, In<int64_t> cigar_offsets, Out<int64_t> query, Out<int64_t> reference) {
    nb::gil_scoped_release unlocked;
    const Cigars cigars(cigar, cigar_offsets);
    require((int64_t)query.size() == cigars.records && (int64_t)reference.size() == cigars.records,
            "outputs and CIGARs differ in number");
    for (int64_t i = 0; i < cigars.records; i++) {
        query.data()[i] = cigars.sum(i, BOTH_BITS | READ_ONLY_BITS);
        reference.data()[i] = cigars.sum(i, BOTH_BITS | REFERENCE_ONLY_BITS);
    }
}

// Clipped bases up to the first operation that is no clip, walking from `c` in steps of `step`.
int64_t clipped(const uint32_t *c, int64_t operations, int step, uint32_t counted) {
    int64_t total = 0;
    for (; operations-- && in(*c, 1u << S | 1u << H); c += step) total += in(*c, counted) ? operation_length(*c) : 0;
    return total;
}

void unclipped_ends(In<int64_t> position, In<uint32_t> cigar, In<int64_t> cigar_offsets, bool hard, Out<int64_t> start,
                    Out<int64_t> end) {
    nb::gil_scoped_release unlocked;
    const Cigars cigars(cigar, cigar_offsets);
    require((int64_t)position.size() == cigars.records && (int64_t)start.size() == cigars.records &&
                (int64_t)end.size() == cigars.records,
            "positions, outputs and CIGARs differ in number");
    const uint32_t counted = 1u << S | (hard ? 1u << H : 0);
    for (int64_t i = 0; i < cigars.records; i++) {
        const int64_t p = position.data()[i], n = cigars.end(i) - cigars.begin(i);
        require(p >= -1 && p < POSITION_LIMIT, "position out of range", i);
        const int64_t span = std::max<int64_t>(1, cigars.sum(i, BOTH_BITS | REFERENCE_ONLY_BITS));
        start.data()[i] = p - clipped(cigars.begin(i), n, 1, counted);
        end.data()[i] = p + span + clipped(cigars.end(i) - 1, n, -1, counted);
    }
}

struct Genome {
    const uint8_t *letters;
    const int64_t *offsets;
    int64_t contigs;

    Genome(const In<int64_t> &o, const uint8_t *letters, int64_t size)
        : letters(letters), offsets(o.data()), contigs((int64_t)o.size() - 1) {
        check_offsets(o.data(), o.size(), size, "offsets outside of the reference sequences");
    }
    int64_t length(int32_t contig, int64_t record) const {
        require(contig < contigs, "reference is not one of the contigs", record);
        return offsets[contig + 1] - offsets[contig];
    }
};

// Most characters that the MD of a record can take: "0A" for a base, "0^" before a deletion, one more digit at the end.
AGD_INLINE int64_t md_room(const Cigars &cigars, int64_t i, int64_t bases, int64_t contig_length) {
    int64_t deletions = 0, aligned = 0, deleted = 0;
    for (const uint32_t *c = cigars.begin(i); c < cigars.end(i); c++) {
        const int64_t length = operation_length(*c);
        require(operation_code(*c) < OPERATIONS, "CIGAR operation is not one of MIDNSHP=X", i, c - cigars.values);
        if (in(*c, BOTH_BITS)) aligned += length;
        if (operation_code(*c) == D) deletions++, deleted += length;
    }
    return 2 * std::min(bases, aligned) + std::min(contig_length, deleted) + 2 * deletions + 1;
}

int64_t md_bound(In<int64_t> contig_offsets, In<int32_t> reference, In<uint32_t> cigar, In<int64_t> cigar_offsets,
                 In<int64_t> base_offsets) {
    nb::gil_scoped_release unlocked;
    const Cigars cigars(cigar, cigar_offsets);
    const int64_t unbounded = std::numeric_limits<int64_t>::max();
    const Genome genome(contig_offsets, nullptr, unbounded);
    require((int64_t)reference.size() == cigars.records && base_offsets.size() == cigar_offsets.size(),
            "references, bases and CIGARs differ in number");
    check_offsets(base_offsets.data(), base_offsets.size(), unbounded, "offsets outside of the bases");
    int64_t total = 0;
    for (int64_t i = 0; i < cigars.records; i++)
        if (reference.data()[i] >= 0)
            total += md_room(cigars, i, base_offsets.data()[i + 1] - base_offsets.data()[i],
                             genome.length(reference.data()[i], i));
    return total;
}

int64_t nm_md(In<uint8_t> genome_letters, In<int64_t> contig_offsets, In<int32_t> reference, In<int64_t> position,
              In<uint32_t> cigar, In<int64_t> cigar_offsets, In<uint8_t> bases, In<int64_t> base_offsets,
              Out<int32_t> nm, Out<uint8_t> md, Out<int64_t> md_offsets) {
    nb::gil_scoped_release unlocked;
    const Cigars cigars(cigar, cigar_offsets);
    const Genome genome(contig_offsets, genome_letters.data(), (int64_t)genome_letters.size());
    check_offsets(base_offsets.data(), base_offsets.size(), (int64_t)bases.size(), "offsets outside of the bases");
    const size_t n = (size_t)cigars.records;
    require(reference.size() == n && position.size() == n && base_offsets.size() == n + 1 && nm.size() == n &&
                md_offsets.size() == n + 1,
            "arrays of records differ in length");
    const int64_t room = (int64_t)md.size();
    md_offsets.data()[0] = 0;
    return vectorised([&]() AGD_INLINED {
      int64_t used = 0;
      for (int64_t i = 0; i < cigars.records; i++) {
        const int32_t contig = reference.data()[i];
        const int64_t at = position.data()[i], *read = base_offsets.data() + i;
        nm.data()[i] = -1;
        if (contig >= 0 && at >= 0 && read[1] > read[0] && cigars.begin(i) < cigars.end(i)) {
            const int64_t contig_length = genome.length(contig, i);
            require(md_room(cigars, i, read[1] - read[0], contig_length) <= room - used, "no room for the MD texts", i);
            const uint8_t *first = genome.letters + genome.offsets[contig], *last = first + contig_length;
            Walk walk{bases.data() + read[0], bases.data() + read[1], first + std::min(at, contig_length), last,
                      (char *)md.data() + used};
            for (const uint32_t *c = cigars.begin(i); c < cigars.end(i) && walk.step(*c);) c++;
            walk.count();
            require(walk.nm <= std::numeric_limits<int32_t>::max(), "NM does not fit 32 bits", i);
            nm.data()[i] = (int32_t)walk.nm;
            used = walk.out - (char *)md.data();
        }
        md_offsets.data()[i + 1] = used;
      }
      return used;
    });
}

}  // namespace

void bind_difference(nb::module_ &m) {
    m.def("reference_spans", &reference_spans, nb::arg("cigar"), nb::arg("cigar_offsets"), nb::arg("query").noconvert(),
          nb::arg("reference").noconvert());
    m.def("unclipped_ends", &unclipped_ends, nb::arg("position"), nb::arg("cigar"), nb::arg("cigar_offsets"),
          nb::arg("hard"), nb::arg("start").noconvert(), nb::arg("end").noconvert());
    m.def("md_bound", &md_bound, nb::arg("contig_offsets"), nb::arg("reference"), nb::arg("cigar"),
          nb::arg("cigar_offsets"), nb::arg("base_offsets"));
    m.def("nm_md", &nm_md, nb::arg("genome"), nb::arg("contig_offsets"), nb::arg("reference"), nb::arg("position"),
          nb::arg("cigar"), nb::arg("cigar_offsets"), nb::arg("bases"), nb::arg("base_offsets"),
          nb::arg("nm").noconvert(), nb::arg("md").noconvert(), nb::arg("md_offsets").noconvert());
}

}  // namespace agd
