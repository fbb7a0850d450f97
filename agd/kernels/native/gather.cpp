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
    int64_t size, spans, count;

    explicit Source(nb::tuple fields) {
        require(nb::len(fields) == 5, "a source has five fields");
        values_ = nb::cast<In<uint8_t>>(fields[0]);
        starts_ = nb::cast<In<int64_t>>(fields[1]);
        ends_ = nb::cast<In<int64_t>>(fields[2]);
        if (!fields[3].is_none()) turn_ = nb::cast<In<bool>>(fields[3]);
        if (!fields[4].is_none()) rows_ = nb::cast<In<int64_t>>(fields[4]);
        require(ends_.size() == starts_.size() && (!turn_ || turn_->size() == starts_.size()),
                "spans of a source differ in number");
        values = values_.data(), starts = starts_.data(), ends = ends_.data();
        if (turn_) turn = turn_->data();
        if (rows_) rows = rows_->data();
        size = (int64_t)values_.size(), spans = (int64_t)starts_.size(), count = rows_ ? (int64_t)rows_->size() : spans;
    }

    // Span of a record.
    int64_t at(int64_t record) const { return rows ? rows[record] : record; }

private:
    In<uint8_t> values_;
    In<int64_t> starts_, ends_;
    std::optional<In<bool>> turn_;
    std::optional<In<int64_t>> rows_;
};

struct Span {
    const uint8_t *from;
    int64_t length;
    bool turn;
};

// Records by source and row.
struct Records {
    std::vector<Source> sources;
    const uint32_t *source;
    const int64_t *row;
    int64_t count;

    Records(nb::sequence list, const In<uint32_t> &source, const In<int64_t> &row)
        : source(source.data()), row(row.data()), count((int64_t)row.size()) {
        for (nb::handle item : list) sources.emplace_back(nb::cast<nb::tuple>(item));
        require(source.size() == row.size(), "sources and rows differ in number");
    }

    // Asks the memory for the span of a record.
    void prefetch(int64_t record) const {
        require(source[record] < sources.size(), "a record is of none of the sources", record);
        const Source &s = sources[source[record]];
        require((uint64_t)row[record] < (uint64_t)s.count, "a row lies outside of its source", record);
        const int64_t at = s.at(row[record]);
        require((uint64_t)at < (uint64_t)s.spans, "a record has none of the spans of its source", record, at);
        __builtin_prefetch(s.starts + at);
        __builtin_prefetch(s.ends + at);
    }

    // Of a record that was prefetched, and so checked.
    Span span(int64_t record) const {
        const Source &s = sources[source[record]];
        const int64_t at = s.at(row[record]), start = s.starts[at], end = s.ends[at];
        require(start >= 0 && end >= start && end <= s.size, "span outside of the source", record, start);
        return {s.values + start, end - start, s.turn && s.turn[at]};
    }
};

// Asks for the lines that hold from[0:length], the first ones where it is long, into the second cache: the first one is
// small, and busy with what is copied.
inline void prefetch_bytes(const uint8_t *from, int64_t length) {
    const uint8_t *end = from + std::min<int64_t>(length, 512);
    for (const uint8_t *line = from - ((uintptr_t)from & 63); line < end; line += 64) __builtin_prefetch(line, 0, 2);
}

// The records lie all over the memory: what comes next is asked for while one is copied, in two steps.
constexpr int64_t FAR = 64, NEAR = 32;

}  // namespace

int64_t gather_lengths(nb::sequence list, In<uint32_t> source, In<int64_t> row, Out<int64_t> out_offsets) {
    const Records records(list, source, row);
    nb::gil_scoped_release unlocked;
    const int64_t n = records.count;
    require((int64_t)out_offsets.size() == n + 1, "records and offsets differ in length");
    int64_t sum = 0;
    for (int64_t i = -FAR; i < n; i++) {
        if (i >= 0) {
            out_offsets.data()[i] = sum;
            sum += records.span(i).length;
        }
        if (i + FAR < n) records.prefetch(i + FAR);
    }
    return out_offsets.data()[n] = sum;
}

void gather_spans(nb::sequence list, In<uint32_t> source, In<int64_t> row, bool complement, Out<uint8_t> out,
                  In<int64_t> out_offsets) {
    const Records records(list, source, row);
    nb::gil_scoped_release unlocked;
    const int64_t n = records.count;
    require((int64_t)out_offsets.size() == n + 1, "records and offsets differ in length");
    check_offsets(out_offsets.data(), out_offsets.size(), (int64_t)out.size(), "offsets outside of the output");
    // Field by field: spans that are copied whole are stored in halves and loaded as one, and such a load waits until
    // all stores before it, those of the records too, have reached the cache.
    const uint8_t *from[NEAR];
    int64_t length[NEAR];
    bool turn[NEAR];
    for (int64_t i = -FAR; i < n; i++) {
        if (i >= 0) {
            const int64_t k = i & (NEAR - 1), target = out_offsets.data()[i];
            require(out_offsets.data()[i + 1] - target == length[k], "offsets do not fit the records", i);
            uint8_t *to = out.data() + target;
            if (turn[k]) copy_turned(to, from[k], length[k], complement);
            else copy_short(to, from[k], length[k]);
        }
        const int64_t near = i + NEAR, far = i + FAR;
        if (near >= 0 && near < n) {
            const Span span = records.span(near);
            const int64_t k = near & (NEAR - 1);
            from[k] = span.from, length[k] = span.length, turn[k] = span.turn;
            prefetch_bytes(span.from, span.length);
        }
        if (far < n) records.prefetch(far);
    }
}

void bind_gather(nb::module_ &m) {
    const auto sources = nb::arg("sources");
    const auto source = nb::arg("source").noconvert(), row = nb::arg("row").noconvert();
    m.def("gather_lengths", &gather_lengths, sources, source, row, nb::arg("out_offsets").noconvert());
    m.def("gather_spans", &gather_spans, sources, source, row, nb::arg("complement"), nb::arg("out").noconvert(),
          nb::arg("out_offsets"));
}

}  // namespace agd
