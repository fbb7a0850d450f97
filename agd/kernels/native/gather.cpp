// Records of many sources in one order: the merge of sorted runs.
#include "common.hpp"
#include "spans.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace agd {

namespace {

// Where the records of one source are. The arrays are held, for whoever handed them over may let go of them meanwhile;
// what is looked at for every record are plain pointers.
struct Spans {
    const int64_t *starts, *ends, *rows = nullptr;
    const bool *turn = nullptr, *marked = nullptr;
    int64_t spans, count, width;

    explicit Spans(nb::tuple fields) {
        require(nb::len(fields) == 6, "a source has six fields");
        starts_ = nb::cast<In<int64_t>>(fields[0]);
        ends_ = nb::cast<In<int64_t>>(fields[1]);
        if (!fields[2].is_none()) turn_ = nb::cast<In<bool>>(fields[2]);
        if (!fields[3].is_none()) marked_ = nb::cast<In<bool>>(fields[3]);
        if (!fields[4].is_none()) rows_ = nb::cast<In<int64_t>>(fields[4]);
        require(ends_.size() == starts_.size(), "spans of a source differ in number");
        starts = starts_.data(), ends = ends_.data();
        if (turn_) turn = turn_->data();
        if (marked_) marked = marked_->data();
        if (rows_) rows = rows_->data();
        spans = (int64_t)starts_.size(), count = rows_ ? (int64_t)rows_->size() : spans;
        require((!turn_ || (int64_t)turn_->size() == count) && (!marked_ || (int64_t)marked_->size() == count),
                "a source has more or fewer marks than records");
        width = nb::cast<int64_t>(fields[5]);
        require(width >= 0 && width <= INT64_MAX / 4 / (spans + 1), "spans of one width lie outside of their source");
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
    In<int64_t> starts_, ends_;
    std::optional<In<bool>> turn_, marked_;
    std::optional<In<int64_t>> rows_;
};

struct Values {
    In<uint8_t> held;
    const uint8_t *data;
    int64_t size;
};

// The records lie all over the memory: what comes next is asked for while one is looked at, or copied.
constexpr int64_t AHEAD = 32;

}  // namespace

int64_t gather_starts(nb::sequence list, In<uint32_t> source, In<int64_t> row, Out<int64_t> out_starts,
                      Out<int64_t> out_offsets) {
    std::vector<Spans> sources;
    for (nb::handle item : list) sources.emplace_back(nb::cast<nb::tuple>(item));
    nb::gil_scoped_release unlocked;
    const int64_t n = (int64_t)row.size();
    require((int64_t)source.size() == n, "sources and rows differ in number");
    require((int64_t)out_starts.size() == n && (int64_t)out_offsets.size() == n + 1, "records and outputs differ in length");
    int64_t at[AHEAD], sum = 0;
    for (int64_t i = -AHEAD; i < n; i++) {
        if (i >= 0) {
            const Spans &s = sources[source.data()[i]];
            const int64_t k = at[i & (AHEAD - 1)], start = s.start(k), end = s.end(k);
            require(start >= 0 && end >= start && end <= INT64_MAX / 4 && sum <= INT64_MAX / 2,
                    "span outside of the source", i, start);
            const int64_t record = row.data()[i];
            out_starts.data()[i] = start << 2 | (s.marked && s.marked[record]) << 1 | (s.turn && s.turn[record]);
            out_offsets.data()[i] = sum;
            sum += end - start;
        }
        const int64_t next = i + AHEAD;
        if (next >= n) continue;
        require(source.data()[next] < sources.size(), "a record is of none of the sources", next);
        const Spans &s = sources[source.data()[next]];
        require((uint64_t)row.data()[next] < (uint64_t)s.count, "a row lies outside of its source", next);
        const int64_t k = at[next & (AHEAD - 1)] = s.at(row.data()[next]);
        require((uint64_t)k < (uint64_t)s.spans, "a record has none of the spans of its source", next, k);
        s.prefetch(k);
    }
    return out_offsets.data()[n] = sum;
}

void gather_spans(nb::sequence list, In<uint32_t> source, In<int64_t> starts, bool complement, Out<uint8_t> out,
                  In<int64_t> out_offsets) {
    std::vector<Values> sources;
    for (nb::handle item : list) {
        const auto values = nb::cast<In<uint8_t>>(item);
        sources.push_back({values, values.data(), (int64_t)values.size()});
    }
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
        const Values &values = sources[source.data()[next]];
        const int64_t start = starts.data()[next] >> 2, length = to[next + 1] - to[next];
        require(start >= 0 && start <= values.size && length <= values.size - start, "span outside of the source", next, start);
        prefetch_bytes(from[next & (AHEAD - 1)] = values.data + start, length);
    }
}

void bind_gather(nb::module_ &m) {
    const auto source = nb::arg("source").noconvert(), row = nb::arg("row").noconvert();
    m.def("gather_starts", &gather_starts, nb::arg("spans"), source, row, nb::arg("out_starts").noconvert(),
          nb::arg("out_offsets").noconvert());
    m.def("gather_spans", &gather_spans, nb::arg("values"), source, nb::arg("starts").noconvert(), nb::arg("complement"),
          nb::arg("out").noconvert(), nb::arg("out_offsets"));
}

}  // namespace agd
