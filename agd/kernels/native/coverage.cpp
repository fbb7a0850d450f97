// Depth of coverage: aligned blocks, differences of depth, qualities of aligned bases; see reference/coverage.py.
#include "common.hpp"

#include <algorithm>

namespace agd {

namespace {

// What an operation moves along: bit 0 the read, bit 1 the reference (SAM specification, section 1.4.6).
constexpr int moves[16] = {3, 1, 2, 2, 1, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0};

// Calls block(begin, end, read) for each M, = or X within [low, high): places on the reference, first base of the read.
template <class Block>
inline void each_block(const uint32_t *c, const uint32_t *stop, int64_t at, int64_t low, int64_t high, Block block) {
    int64_t read = 0;
    for (; c < stop; c++) {
        const int64_t length = *c >> 4;
        const int move = moves[*c & 15];
        if (move == 3) {
            const int64_t begin = std::max(at, low), end = std::min(at + length, high);
            if (begin < end) block(begin, end, read + (begin - at));
        }
        if (move & 1) read += length;
        if (move & 2) at += length;
    }
}

}  // namespace

int64_t aligned_blocks(In<int64_t> position, In<uint32_t> cigar, In<int64_t> offsets, In<int64_t> low,
                       In<int64_t> high, Out<int64_t> starts, Out<int64_t> ends) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)cigar.size(), "offsets outside of the CIGARs");
    const size_t n = position.size();
    require(offsets.size() == n + 1 && low.size() == n && high.size() == n && ends.size() == starts.size(),
            "the arrays differ in length");
    int64_t count = 0;
    const int64_t room = (int64_t)starts.size();
    for (size_t i = 0; i < n; i++) {
        const int64_t at = position.data()[i];
        require(at >= -1 && at < (int64_t)1 << 62, "position out of range", (int64_t)i);
        const int64_t first = count;
        each_block(cigar.data() + offsets.data()[i], cigar.data() + offsets.data()[i + 1], at, low.data()[i],
                   high.data()[i], [&](int64_t begin, int64_t end, int64_t) {
                       if (count > first && ends.data()[count - 1] == begin) {
                           ends.data()[count - 1] = end;
                           return;
                       }
                       require(count < room, "no room for the blocks", (int64_t)i);
                       starts.data()[count] = begin;
                       ends.data()[count++] = end;
                   });
    }
    return count;
}

void aligned_qualities(In<int64_t> position, In<uint32_t> cigar, In<int64_t> offsets, In<uint8_t> qualities,
                       In<int64_t> quality_offsets, int base, In<int64_t> low, In<int64_t> high, Out<int64_t> sums,
                       Out<int64_t> counts) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)cigar.size(), "offsets outside of the CIGARs");
    check_offsets(quality_offsets.data(), quality_offsets.size(), (int64_t)qualities.size(),
                  "offsets outside of the qualities");
    const size_t n = position.size();
    require(offsets.size() == n + 1 && quality_offsets.size() == n + 1 && low.size() == n && high.size() == n &&
                sums.size() == n && counts.size() == n,
            "the arrays differ in length");
    for (size_t i = 0; i < n; i++) {
        const int64_t at = position.data()[i];
        require(at >= -1 && at < (int64_t)1 << 62, "position out of range", (int64_t)i);
        const uint8_t *q = qualities.data() + quality_offsets.data()[i];
        const int64_t length = quality_offsets.data()[i + 1] - quality_offsets.data()[i];
        int64_t sum = 0, count = 0;
        each_block(cigar.data() + offsets.data()[i], cigar.data() + offsets.data()[i + 1], at, low.data()[i],
                   high.data()[i], [&](int64_t begin, int64_t end, int64_t read) {
                       const int64_t last = std::min(read + end - begin, length);
                       if (read >= last) return;
                       for (int64_t k = read; k < last; k++) sum += q[k];
                       count += last - read;
                   });
        sums.data()[i] = sum - count * base;
        counts.data()[i] = count;
    }
}

void add_spans(In<int64_t> starts, In<int64_t> ends, Out<int32_t> differences) {
    nb::gil_scoped_release unlocked;
    require(starts.size() == ends.size(), "the arrays differ in length");
    const int64_t size = (int64_t)differences.size();
    for (size_t i = 0; i < starts.size(); i++) {
        const int64_t start = starts.data()[i], end = ends.data()[i];
        require(0 <= start && start <= end && end < size, "span outside of the differences", (int64_t)i);
        differences.data()[start]++;
        differences.data()[end]--;
    }
}

void bind_coverage(nb::module_ &m) {
    m.def("aligned_blocks", &aligned_blocks, nb::arg("position"), nb::arg("cigar"), nb::arg("cigar_offsets"),
          nb::arg("low"), nb::arg("high"), nb::arg("starts").noconvert(), nb::arg("ends").noconvert());
    m.def("aligned_qualities", &aligned_qualities, nb::arg("position"), nb::arg("cigar"), nb::arg("cigar_offsets"),
          nb::arg("qualities"), nb::arg("quality_offsets"), nb::arg("base"), nb::arg("low"), nb::arg("high"),
          nb::arg("sums").noconvert(), nb::arg("counts").noconvert());
    m.def("add_spans", &add_spans, nb::arg("starts"), nb::arg("ends"), nb::arg("differences").noconvert());
}

}  // namespace agd
