// Records of many sources in one order: the merge of sorted runs.
#include "common.hpp"
#include "spans.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace agd {

namespace {

// One source: spans of its values. The arrays are held, for whoever handed them over may let go of them meanwhile; what
// is looked at for every record are plain pointers.
struct Source {
    const uint8_t *values;
    const int64_t *starts, *ends, *rows = nullptr;
    const bool *turn = nullptr;
    int64_t size, spans, count, width;

    explicit Source(nb::tuple fields) {
        require(nb::len(fields) == 6, "a source has six fields");
        values_ = nb::cast<In<uint8_t>>(fields[0]);
        starts_ = nb::cast<In<int64_t>>(fields[1]);
        ends_ = nb::cast<In<int64_t>>(fields[2]);
        if (!fields[3].is_none()) turn_ = nb::cast<In<bool>>(fields[3]);
        if (!fields[4].is_none()) rows_ = nb::cast<In<int64_t>>(fields[4]);
        require(ends_.size() == starts_.size(), "spans of a source differ in number");
        values = values_.data(), starts = starts_.data(), ends = ends_.data();
        if (turn_) turn = turn_->data();
        if (rows_) rows = rows_->data();
        size = (int64_t)values_.size(), spans = (int64_t)starts_.size(), count = rows_ ? (int64_t)rows_->size() : spans;
        require(!turn_ || (int64_t)turn_->size() == count, "a source has more or fewer marks than records");
        width = nb::cast<int64_t>(fields[5]);
        require(width >= 0 && (!width || spans <= size / width), "spans of one width lie outside of their source");
    }

    // Span of a record.
    int64_t at(int64_t record) const { return rows ? rows[record] : record; }

    // Where span k is. Those of one width need not be looked up.
    int64_t start(int64_t k) const { return width ? k * width : starts[k]; }
    int64_t end(int64_t k) const { return width ? (k + 1) * width : ends[k]; }

    void prefetch(int64_t k) const {
        if (!width) __builtin_prefetch(starts + k), __builtin_prefetch(ends + k);
    }

private:
    In<uint8_t> values_;
    In<int64_t> starts_, ends_;
    std::optional<In<bool>> turn_;
    std::optional<In<int64_t>> rows_;
};

std::vector<Source> sources_of(nb::sequence list) {
    std::vector<Source> sources;
    for (nb::handle item : list) sources.emplace_back(nb::cast<nb::tuple>(item));
    return sources;
}

// Asks for the lines that hold from[0:length], the first ones where it is long, into the second cache: the first one is
// small, and busy with what is copied.
inline void prefetch_bytes(const uint8_t *from, int64_t length) {
    const uint8_t *end = from + std::min<int64_t>(length, 512);
    for (const uint8_t *line = from - ((uintptr_t)from & 63); line < end; line += 64) __builtin_prefetch(line, 0, 2);
}

// The records lie all over the memory: what comes next is asked for while one is looked at, or copied.
constexpr int64_t AHEAD = 32;

}  // namespace

int64_t gather_starts(nb::sequence list, In<uint32_t> source, In<int64_t> row, Out<int64_t> out_starts,
                      Out<int64_t> out_offsets) {
    const std::vector<Source> sources = sources_of(list);
    nb::gil_scoped_release unlocked;
    const int64_t n = (int64_t)row.size();
    require((int64_t)source.size() == n, "sources and rows differ in number");
    require((int64_t)out_starts.size() == n && (int64_t)out_offsets.size() == n + 1, "records and outputs differ in length");
    int64_t at[AHEAD], sum = 0;
    for (int64_t i = -AHEAD; i < n; i++) {
        if (i >= 0) {
            const Source &s = sources[source.data()[i]];
            const int64_t k = at[i & (AHEAD - 1)], start = s.start(k), end = s.end(k);
            require(start >= 0 && end >= start && end <= s.size, "span outside of the source", i, start);
            out_starts.data()[i] = start << 1 | (s.turn && s.turn[row.data()[i]]);
            out_offsets.data()[i] = sum;
            sum += end - start;
        }
        const int64_t next = i + AHEAD;
        if (next >= n) continue;
        require(source.data()[next] < sources.size(), "a record is of none of the sources", next);
        const Source &s = sources[source.data()[next]];
        require((uint64_t)row.data()[next] < (uint64_t)s.count, "a row lies outside of its source", next);
        const int64_t k = at[next & (AHEAD - 1)] = s.at(row.data()[next]);
        require((uint64_t)k < (uint64_t)s.spans, "a record has none of the spans of its source", next, k);
        s.prefetch(k);
    }
    return out_offsets.data()[n] = sum;
}

void gather_spans(nb::sequence list, In<uint32_t> source, In<int64_t> starts, bool complement, Out<uint8_t> out,
                  In<int64_t> out_offsets) {
    const std::vector<Source> sources = sources_of(list);
    nb::gil_scoped_release unlocked;
    const int64_t n = (int64_t)starts.size();
    require((int64_t)source.size() == n && (int64_t)out_offsets.size() == n + 1, "records and offsets differ in length");
    check_offsets(out_offsets.data(), out_offsets.size(), (int64_t)out.size(), "offsets outside of the output");
    const uint8_t *from[AHEAD];
    const int64_t *const to = out_offsets.data();
    for (int64_t i = -AHEAD; i < n; i++) {
        if (i >= 0) {
            const uint8_t *record = from[i & (AHEAD - 1)];
            if (starts.data()[i] & 1) copy_turned(out.data() + to[i], record, to[i + 1] - to[i], complement);
            else copy_short(out.data() + to[i], record, to[i + 1] - to[i]);
        }
        const int64_t next = i + AHEAD;
        if (next >= n) continue;
        require(source.data()[next] < sources.size(), "a record is of none of the sources", next);
        const Source &s = sources[source.data()[next]];
        const int64_t start = starts.data()[next] >> 1, length = to[next + 1] - to[next];
        require(start >= 0 && length <= s.size - start, "span outside of the source", next, start);
        prefetch_bytes(from[next & (AHEAD - 1)] = s.values + start, length);
    }
}

void bind_gather(nb::module_ &m) {
    const auto sources = nb::arg("sources");
    const auto source = nb::arg("source").noconvert(), row = nb::arg("row").noconvert();
    m.def("gather_starts", &gather_starts, sources, source, row, nb::arg("out_starts").noconvert(),
          nb::arg("out_offsets").noconvert());
    m.def("gather_spans", &gather_spans, sources, source, nb::arg("starts").noconvert(), nb::arg("complement"),
          nb::arg("out").noconvert(), nb::arg("out_offsets"));
}

}  // namespace agd
