// What a chunk of alignments holds, so that readers can leave it unread (spec/manifest.md).
#include "owned.hpp"
#include "records.hpp"
#include "vector.hpp"

#include <nanobind/stl/optional.h>

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>
#include <vector>

namespace agd {
namespace {

void reference_lengths(In<uint32_t> cigar, In<int64_t> offsets, Out<int64_t> out) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)cigar.size(), "offsets outside of the CIGARs");
    require(out.size() + 1 == offsets.size(), "lengths and CIGARs differ in number");
    for (size_t i = 0; i < out.size(); i++) {
        const int64_t *o = offsets.data() + i;
        out.data()[i] = cigar_length(cigar.data() + o[0], o[1] - o[0], cigar_reference);
    }
}

// First position and end of what is placed on each reference. Neighbours are mostly on the same one.
class Spans {
    struct Span { int64_t start, end; };
    std::unordered_map<int32_t, Span> of_;
    Span last_{INT64_MAX, INT64_MIN};
    int32_t reference_ = -1;

    void keep() {
        if (reference_ < 0) return;
        Span &span = of_.try_emplace(reference_, last_).first->second;
        span = {std::min(span.start, last_.start), std::max(span.end, last_.end)};
    }

public:
    AGD_INLINE void add(int32_t reference, int64_t start, int64_t end) {
        if (reference != reference_) {
            keep();
            reference_ = reference, last_ = {start, end};
        }
        last_ = {std::min(last_.start, start), std::max(last_.end, end)};
    }
    size_t size() const { return of_.size(); }  // without the last reference
    // Reference, start and end of each, by reference.
    std::vector<int64_t> finish() {
        keep();
        std::vector<std::array<int64_t, 3>> rows;
        for (const auto &[reference, span] : of_) rows.push_back({reference, span.start, span.end});
        std::sort(rows.begin(), rows.end());
        std::vector<int64_t> flat;
        for (const auto &row : rows) flat.insert(flat.end(), row.begin(), row.end());
        return flat;
    }
};

constexpr uint16_t PAIRED = 0x1, NOT_BOTH_MAPPED_OR_PRIMARY = 0x90C;

nb::tuple summarise_alignments(In<uint16_t> flag, In<int32_t> reference, In<int64_t> position,
                               In<int32_t> mate_reference, In<uint8_t> mapping_quality, In<uint32_t> cigar,
                               In<int64_t> cigar_offsets, std::optional<In<bool>> valid, int64_t most_spans) {
    std::vector<int64_t> counts(1 << 16), distant(4), rows;
    {
        nb::gil_scoped_release unlocked;
        const size_t n = flag.size();
        require(reference.size() == n && position.size() == n && mate_reference.size() == n &&
                    mapping_quality.size() == n && cigar_offsets.size() == n + 1 && (!valid || valid->size() == n),
                "arrays of records differ in length");
        check_offsets(cigar_offsets.data(), n + 1, (int64_t)cigar.size(), "offsets outside of the CIGARs");
        Spans spans;
        for (size_t i = 0; i < n; i++) {
            if (valid && !valid->data()[i]) continue;
            const uint16_t f = flag.data()[i];
            const int32_t r = reference.data()[i];
            counts[f]++;
            if ((f & (PAIRED | NOT_BOTH_MAPPED_OR_PRIMARY)) == PAIRED && r != mate_reference.data()[i]) {
                const int failed = (f & flags::qc_fail) != 0;
                distant[(size_t)failed]++;
                if (mapping_quality.data()[i] >= 5) distant[(size_t)(2 + failed)]++;
            }
            const int64_t start = position.data()[i], *o = cigar_offsets.data() + i;
            if (r < 0 || start < 0 || (int64_t)spans.size() > most_spans) continue;
            const int64_t length = cigar_length(cigar.data() + o[0], o[1] - o[0], cigar_reference);
            spans.add(r, start, (int64_t)((uint64_t)start + (uint64_t)std::max<int64_t>(length, 1)));
        }
        rows = spans.finish();
    }
    nb::object found = nb::none();
    if ((int64_t)rows.size() <= 3 * most_spans) found = owned(std::move(rows));
    return nb::make_tuple(owned(std::move(counts)), owned(std::move(distant)), found);
}

}  // namespace

void bind_summary(nb::module_ &m) {
    m.def("reference_lengths", &reference_lengths, nb::arg("cigar"), nb::arg("cigar_offsets"), nb::arg("out").noconvert());
    m.def("summarise_alignments", &summarise_alignments, nb::arg("flag"), nb::arg("reference"), nb::arg("position"),
          nb::arg("mate_reference"), nb::arg("mapping_quality"), nb::arg("cigar"), nb::arg("cigar_offsets"),
          nb::arg("valid").none(), nb::arg("most_spans"));
}

}  // namespace agd
