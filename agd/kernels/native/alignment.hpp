// The arrays that hold alignments.
#pragma once

#include "common.hpp"

#include <optional>

namespace agd {

// The twelve arrays of agd.kernels.alignments.arrays(), in their order; T<...> is In (to encode) or Out (to decode).
template <template <class> class Array> struct Arrays {
    Array<uint16_t> flag;
    Array<int32_t> reference;
    Array<int64_t> position;
    Array<uint8_t> mapping_quality;
    Array<int32_t> mate_reference;
    Array<int64_t> mate_position, template_length;
    Array<uint32_t> cigar;
    Array<int64_t> cigar_offsets;
    Array<uint8_t> tags;
    Array<int64_t> tag_offsets;
    std::optional<Array<bool>> valid;

    explicit Arrays(nb::tuple t) {
        require(t.size() == 12, "alignments are twelve arrays");
        get(t, 0, flag), get(t, 1, reference), get(t, 2, position), get(t, 3, mapping_quality);
        get(t, 4, mate_reference), get(t, 5, mate_position), get(t, 6, template_length);
        get(t, 7, cigar), get(t, 8, cigar_offsets), get(t, 9, tags), get(t, 10, tag_offsets);
        if (!t[11].is_none()) {
            valid.emplace();
            get(t, 11, *valid);
        }
        const size_t n = flag.size();
        require(reference.size() == n && position.size() == n && mapping_quality.size() == n &&
                    mate_reference.size() == n && mate_position.size() == n && template_length.size() == n &&
                    cigar_offsets.size() == n + 1 && tag_offsets.size() == n + 1 && (!valid || valid->size() == n),
                "arrays of alignments differ in length");
    }

    template <class A> static void get(nb::tuple &t, size_t i, A &array) {
        if (!nb::try_cast<A>(t[i], array, false))
            throw KernelError("array " + std::to_string(i) + " of the alignments is not contiguous or of another dtype");
    }
};

inline void check_alignments(const Arrays<In> &a) {
    check_offsets(a.cigar_offsets.data(), a.cigar_offsets.size(), (int64_t)a.cigar.size(), "offsets outside of the CIGARs");
    check_offsets(a.tag_offsets.data(), a.tag_offsets.size(), (int64_t)a.tags.size(), "offsets outside of the tags");
}

}  // namespace agd
