// Copying and turning the records of ragged columns.
#include "common.hpp"

#include <algorithm>
#include <array>

namespace agd {

// Copies source[starts[i]:ends[i]] to out[targets[i]:...] for every i.
template <class T>
void copy_spans(In<T> source, In<int64_t> starts, In<int64_t> ends, Out<T> out, In<int64_t> targets) {
    nb::gil_scoped_release unlocked;
    const int64_t n = (int64_t)starts.size(), size = (int64_t)source.size(), room = (int64_t)out.size();
    require((int64_t)ends.size() == n && (int64_t)targets.size() >= n, "spans and targets differ in number");
    const T *from = source.data();
    T *to = out.data();
    const int64_t *s = starts.data(), *e = ends.data(), *t = targets.data();
    for (int64_t i = 0; i < n; i++) {
        const int64_t length = e[i] - s[i];
        require(s[i] >= 0 && length >= 0 && e[i] <= size, "span outside of the source", i, s[i]);
        require(t[i] >= 0 && t[i] <= room - length, "span outside of the output", i, t[i]);
        std::memcpy(to + t[i], from + s[i], (size_t)length * sizeof(T));
    }
}

static const uint8_t *complement_table() {
    static const auto table = [] {
        std::array<uint8_t, 256> t{};
        for (int i = 0; i < 256; i++) t[i] = (uint8_t)i;
        const char *from = "ACGTUMRWSYKVHDBNacgtumrwsykvhdbn", *to = "TGCAAKYWSRMBDHVNtgcaakywsrmbdhvn";
        for (int i = 0; from[i]; i++) t[(uint8_t)from[i]] = (uint8_t)to[i];
        return t;
    }();
    return table.data();
}

// Turns values[offsets[i]:offsets[i+1]] around, in place, where mask[i]; complements the bases too if asked.
void reverse_spans(Out<uint8_t> values, In<int64_t> offsets, nb::ndarray<const bool, nb::ndim<1>, nb::c_contig> mask,
                   bool complement) {
    nb::gil_scoped_release unlocked;
    require(mask.size() + 1 == offsets.size(), "mask and offsets differ in length");
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    const uint8_t *table = complement_table();
    for (size_t i = 0; i < mask.size(); i++) {
        if (!mask.data()[i]) continue;
        uint8_t *a = values.data() + offsets.data()[i], *b = values.data() + offsets.data()[i + 1];
        std::reverse(a, b);
        if (complement)
            for (; a < b; a++) *a = table[*a];
    }
}

void bind_ragged(nb::module_ &m) {
    m.def("copy_spans", &copy_spans<uint8_t>, nb::arg("source").noconvert(), nb::arg("starts"), nb::arg("ends"),
          nb::arg("out").noconvert(), nb::arg("targets"));
    m.def("copy_spans", &copy_spans<uint32_t>, nb::arg("source").noconvert(), nb::arg("starts"), nb::arg("ends"),
          nb::arg("out").noconvert(), nb::arg("targets"));
    m.def("copy_spans", &copy_spans<uint64_t>, nb::arg("source").noconvert(), nb::arg("starts"), nb::arg("ends"),
          nb::arg("out").noconvert(), nb::arg("targets"));
    m.def("reverse_spans", &reverse_spans, nb::arg("values").noconvert(), nb::arg("offsets"), nb::arg("mask"),
          nb::arg("complement"));
}

}  // namespace agd
