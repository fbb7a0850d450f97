// Copying and turning the records of ragged columns.
#include "common.hpp"
#include "spans.hpp"

namespace agd {

// 1-D with any stride: a column of a table of spans.
using Strided = nb::ndarray<const int64_t, nb::ndim<1>, nb::device::cpu>;

namespace {

struct Spans {
    const int64_t *data;
    int64_t stride;
    explicit Spans(const Strided &array) : data(array.data()), stride(array.stride(0)) {}
    int64_t operator[](int64_t i) const { return data[i * stride]; }
};

}  // namespace

// Copies source[starts[i]:ends[i]] to out[targets[i]:...] for every i.
template <class T>
void copy_spans(In<T> source, Strided starts, Strided ends, Out<T> out, Strided targets) {
    nb::gil_scoped_release unlocked;
    const int64_t n = (int64_t)starts.size(), size = (int64_t)source.size(), room = (int64_t)out.size();
    require((int64_t)ends.size() == n && (int64_t)targets.size() >= n, "spans and targets differ in number");
    const T *from = source.data();
    T *to = out.data();
    const Spans s(starts), e(ends), t(targets);
    for (int64_t i = 0; i < n; i++) {
        const int64_t start = s[i], end = e[i], target = t[i], length = end - start;
        require(start >= 0 && end >= start && end <= size, "span outside of the source", i, start);
        require(target >= 0 && target <= room - length, "span outside of the output", i, target);
        copy_short((uint8_t *)(to + target), (const uint8_t *)(from + start), length * (int64_t)sizeof(T));
    }
}

// Turns values[offsets[i]:offsets[i+1]] around, in place, where mask[i]; complements the bases too if asked.
void reverse_spans(Out<uint8_t> values, In<int64_t> offsets, nb::ndarray<const bool, nb::ndim<1>, nb::c_contig> mask,
                   bool complement) {
    nb::gil_scoped_release unlocked;
    require(mask.size() + 1 == offsets.size(), "mask and offsets differ in length");
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    for (size_t i = 0; i < mask.size(); i++) {
        if (!mask.data()[i]) continue;
        uint8_t *a = values.data() + offsets.data()[i], *b = values.data() + offsets.data()[i + 1];
        turn_span(a, b, complement);
    }
}

void bind_ragged(nb::module_ &m) {
    const auto source = nb::arg("source").noconvert(), out = nb::arg("out").noconvert();
    const auto starts = nb::arg("starts"), ends = nb::arg("ends"), targets = nb::arg("targets");
    m.def("copy_spans", &copy_spans<uint8_t>, source, starts, ends, out, targets);
    m.def("copy_spans", &copy_spans<uint32_t>, source, starts, ends, out, targets);
    m.def("copy_spans", &copy_spans<uint64_t>, source, starts, ends, out, targets);
    m.def("reverse_spans", &reverse_spans, nb::arg("values").noconvert(), nb::arg("offsets"), nb::arg("mask"),
          nb::arg("complement"));
}

}  // namespace agd
