// Records of many sources in one order: the merge of sorted runs.
#include "common.hpp"
#include "spans.hpp"

#include <optional>
#include <vector>

namespace agd {

namespace {

// One source: spans of its values, and which of them are wanted.
struct Source {
    In<uint8_t> values;
    In<int64_t> starts, ends;
    std::optional<In<bool>> turn;
    std::optional<In<int64_t>> rows;

    explicit Source(nb::tuple fields) {
        require(nb::len(fields) == 5, "a source has five fields");
        values = nb::cast<In<uint8_t>>(fields[0]);
        starts = nb::cast<In<int64_t>>(fields[1]);
        ends = nb::cast<In<int64_t>>(fields[2]);
        if (!fields[3].is_none()) turn = nb::cast<In<bool>>(fields[3]);
        if (!fields[4].is_none()) rows = nb::cast<In<int64_t>>(fields[4]);
        require(ends.size() == starts.size() && (!turn || turn->size() == starts.size()),
                "spans of a source differ in number");
    }

    int64_t count() const { return (int64_t)(rows ? rows->size() : starts.size()); }
};

struct Span {
    const uint8_t *from;
    int64_t length;
    bool turn;
};

struct Place {
    const Source *source;
    int64_t row;
};

// All sources end to end: record `index` of the whole is a record of one of them.
struct Sources {
    std::vector<Source> sources;
    std::vector<int64_t> bases{0};
    std::vector<uint32_t> table;  // the source of each record, where the table pays

    explicit Sources(nb::sequence list) {
        for (nb::handle item : list) {
            sources.emplace_back(nb::cast<nb::tuple>(item));
            bases.push_back(bases.back() + sources.back().count());
        }
    }

    void prepare(int64_t lookups) {
        if (sources.size() < 2 || bases.back() > 4 * lookups) return;
        table.resize((size_t)bases.back());
        for (size_t k = 0; k < sources.size(); k++)
            std::fill(table.begin() + bases[k], table.begin() + bases[k + 1], (uint32_t)k);
    }

    size_t source_of(int64_t index) const {
        if (!table.empty()) return table[(size_t)index];
        return (size_t)(std::upper_bound(bases.begin() + 1, bases.end() - 1, index) - bases.begin()) - 1;
    }

    // Source and row of a record; asks the memory for its span.
    Place find(int64_t index, int64_t record) const {
        require(index >= 0 && index < bases.back(), "an index lies outside of the sources", record);
        const size_t k = source_of(index);
        const Source &s = sources[k];
        int64_t row = index - bases[k];
        if (s.rows) {
            row = s.rows->data()[row];
            require(row >= 0 && row < (int64_t)s.starts.size(), "a row lies outside of its source", record);
        }
        __builtin_prefetch(s.starts.data() + row);
        __builtin_prefetch(s.ends.data() + row);
        return {&s, row};
    }

    Span span(const Place &place, int64_t record) const {
        const Source &s = *place.source;
        const int64_t start = s.starts.data()[place.row], end = s.ends.data()[place.row];
        require(start >= 0 && end >= start && end <= (int64_t)s.values.size(), "span outside of the source", record, start);
        return {s.values.data() + start, end - start, s.turn && s.turn->data()[place.row]};
    }
};

// The records lie all over the memory: what comes next is asked for while one is copied, in two steps.
constexpr int64_t FAR = 32, NEAR = 16;

}  // namespace

int64_t gather_lengths(nb::sequence list, In<int64_t> order, Out<int64_t> out_offsets) {
    Sources sources(list);
    nb::gil_scoped_release unlocked;
    const int64_t n = (int64_t)order.size();
    require((int64_t)out_offsets.size() == n + 1, "order and offsets differ in length");
    sources.prepare(n);
    int64_t sum = 0;
    Place places[FAR];
    for (int64_t i = -FAR; i < n; i++) {
        if (i >= 0) {
            out_offsets.data()[i] = sum;
            sum += sources.span(places[i % FAR], i).length;
        }
        if (i + FAR < n) places[(i + FAR) % FAR] = sources.find(order.data()[i + FAR], i + FAR);
    }
    return out_offsets.data()[n] = sum;
}

void gather_spans(nb::sequence list, In<int64_t> order, bool complement, Out<uint8_t> out, In<int64_t> out_offsets) {
    Sources sources(list);
    nb::gil_scoped_release unlocked;
    const int64_t n = (int64_t)order.size();
    require((int64_t)out_offsets.size() == n + 1, "order and offsets differ in length");
    check_offsets(out_offsets.data(), out_offsets.size(), (int64_t)out.size(), "offsets outside of the output");
    sources.prepare(n);
    Place places[FAR];
    Span spans[NEAR];
    for (int64_t i = -FAR; i < n; i++) {
        if (i >= 0) {
            const Span span = spans[i % NEAR];
            const int64_t target = out_offsets.data()[i];
            require(out_offsets.data()[i + 1] - target == span.length, "offsets do not fit the records", i);
            uint8_t *to = out.data() + target;
            if (span.turn) copy_turned(to, span.from, span.length, complement);
            else copy_short(to, span.from, span.length);
        }
        const int64_t near = i + NEAR, far = i + FAR;
        if (near >= 0 && near < n) {
            const Span span = spans[near % NEAR] = sources.span(places[near % FAR], near);
            for (int64_t at = 0; at < span.length && at < 512; at += 64) __builtin_prefetch(span.from + at);
        }
        if (far < n) places[far % FAR] = sources.find(order.data()[far], far);
    }
}

void bind_gather(nb::module_ &m) {
    const auto sources = nb::arg("sources"), order = nb::arg("order");
    m.def("gather_lengths", &gather_lengths, sources, order, nb::arg("out_offsets").noconvert());
    m.def("gather_spans", &gather_spans, sources, order, nb::arg("complement"), nb::arg("out").noconvert(),
          nb::arg("out_offsets"));
}

}  // namespace agd
