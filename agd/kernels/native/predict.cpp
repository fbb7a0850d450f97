// The bases that alignments lead to expect.
#include "difference.hpp"
#include "simd.hpp"

namespace agd {
namespace {

// Copies letters in upper case; returns whether one of them is 0.
AGD_INLINE bool copy_upper(uint8_t *to, const uint8_t *from, int64_t n) {
    const auto turned = [&](int64_t i) AGD_INLINED {
        Block x;
        std::memcpy(&x, from + i, 32);
        x ^= (Block)((x >= 'a') & (x <= 'z')) & 0x20;
        std::memcpy(to + i, &x, 32);
        return (Block)(x == 0);
    };
    if (n < 32) {
        bool zero = false;
        for (int64_t i = 0; i < n; i++) zero |= !(to[i] = (uint8_t)upper(from[i]));
        return zero;
    }
    Block zero{};
    for (int64_t i = 0; i + 32 <= n; i += 32) zero |= turned(i);
    zero |= turned(n - 32);  // overlaps the one before it
    return any(zero);
}

std::pair<int64_t, bool> predict_bases(In<uint8_t> genome, In<int64_t> contig_offsets, In<int32_t> reference, In<int64_t> position,
                      In<uint32_t> cigar, In<int64_t> cigar_offsets, In<bool> turned, In<int64_t> offsets,
                      Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    const size_t n = reference.size();
    require(position.size() == n && cigar_offsets.size() == n + 1 && turned.size() == n && offsets.size() == n + 1,
            "arrays of records differ in length");
    check_offsets(contig_offsets.data(), contig_offsets.size(), (int64_t)genome.size(),
                  "offsets outside of the reference sequences");
    check_offsets(cigar_offsets.data(), n + 1, (int64_t)cigar.size(), "offsets outside of the CIGARs");
    check_offsets(offsets.data(), n + 1, (int64_t)out.size(), "offsets outside of the output");
    const int64_t contigs = (int64_t)contig_offsets.size() - 1;
    int64_t predicted = 0;
    bool lacking = false;
    const auto predict = [&](size_t i) AGD_INLINED {
        uint8_t *begin = out.data() + offsets.data()[i], *end = out.data() + offsets.data()[i + 1];
        const int64_t contig = reference.data()[i], place = position.data()[i];
        if (contig < 0 || contig >= contigs || place < 0) return false;
        const int64_t first = contig_offsets.data()[contig], length = contig_offsets.data()[contig + 1] - first;
        const uint32_t *from = cigar.data() + cigar_offsets.data()[i], *to = cigar.data() + cigar_offsets.data()[i + 1];
        int64_t query = 0, span = 0;
        bool known = true;
        for (const uint32_t *c = from; c < to; c++) {
            if (operation_code(*c) >= OPERATIONS) known = false;
            if (in(*c, BOTH_BITS | READ_ONLY_BITS)) query += operation_length(*c);
            if (in(*c, BOTH_BITS | REFERENCE_ONLY_BITS)) span += operation_length(*c);
        }
        if (!known || query != end - begin || place > length || span > length - place) return false;
        const uint8_t *at = genome.data() + first + place;
        uint8_t *p = begin;
        for (const uint32_t *c = from; c < to; c++) {
            const int64_t size = operation_length(*c);
            if (in(*c, BOTH_BITS)) {
                lacking |= copy_upper(p, at, size);
                predicted += size;
            } else if (in(*c, READ_ONLY_BITS)) {
                std::memset(p, 0, (size_t)size);
            }
            if (in(*c, BOTH_BITS | READ_ONLY_BITS)) p += size;
            if (in(*c, BOTH_BITS | REFERENCE_ONLY_BITS)) at += size;
        }
        if (turned.data()[i]) {
            std::reverse(begin, end);
            for (p = begin; p < end; p++) *p = *p ? folded_complements[*p] : 0;
        }
        return true;
    };
    vectorised([&]() AGD_INLINED {
        for (size_t i = 0; i < n; i++)
            if (!predict(i)) std::memset(out.data() + offsets.data()[i], 0, (size_t)(offsets.data()[i + 1] - offsets.data()[i]));
        return 0;
    });
    return {predicted, lacking};
}

// Puts letters, in their order, where there is nothing yet; as many as there are such places.
void fill_zeros(Out<uint8_t> values, In<uint8_t> letters) {
    nb::gil_scoped_release unlocked;
    uint8_t *p = values.data(), *end = p + values.size();
    const uint8_t *from = letters.data(), *stop = from + letters.size();
    while (p < end && (p = (uint8_t *)std::memchr(p, 0, (size_t)(end - p)))) {
        for (; p < end && !*p; p++) {
            require(from < stop, "fewer letters than places", -1, p - values.data());
            *p = *from++;
        }
        if (p == end) break;
    }
    require(from == stop, "more letters than places");
}

}  // namespace

void bind_predict(nb::module_ &m) {
    m.def("fill_zeros", &fill_zeros, nb::arg("values").noconvert(), nb::arg("letters").noconvert());
    m.def("predict_bases", &predict_bases, nb::arg("genome"), nb::arg("contig_offsets"), nb::arg("reference"),
          nb::arg("position"), nb::arg("cigar"), nb::arg("cigar_offsets"), nb::arg("turned"), nb::arg("offsets"),
          nb::arg("out"));
}

}  // namespace agd
