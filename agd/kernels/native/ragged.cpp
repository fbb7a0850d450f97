// Copying and turning the records of ragged columns.
#include "common.hpp"
#include "vector.hpp"

#include <algorithm>
#include <array>

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

template <size_t STEP> AGD_INLINE void copy_ends(uint8_t *to, const uint8_t *from, int64_t size) {
    uint8_t first[STEP], last[STEP];
    std::memcpy(first, from, STEP);
    std::memcpy(last, from + size - STEP, STEP);
    std::memcpy(to, first, STEP);
    std::memcpy(to + size - STEP, last, STEP);
}

// memcpy without the call for what is short; writes nothing outside of to[0:size], for spans come in any order.
AGD_INLINE void copy_short(uint8_t *to, const uint8_t *from, int64_t size) {
    if (size > 64) std::memcpy(to, from, (size_t)size);
    else if (size > 32) copy_ends<32>(to, from, size);
    else if (size >= 16) copy_ends<16>(to, from, size);
    else if (size >= 8) copy_ends<8>(to, from, size);
    else if (size >= 4) copy_ends<4>(to, from, size);
    else
        for (int64_t i = 0; i < size; i++) to[i] = from[i];
}

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

// Complements p[0:n] if it is all ACGTN; otherwise changes nothing and says false.
AGD_MULTIVERSION static bool complement_acgtn(uint8_t *p, int64_t n) {
    const auto bad = [](const Block &b) __attribute__((always_inline)) {
        return (Block)~((Block)(b == 'A') | (Block)(b == 'C') | (Block)(b == 'G') | (Block)(b == 'T') | (Block)(b == 'N'));
    };
    if (n < 32 || any_of(p, n, bad, [](uint8_t) __attribute__((always_inline)) { return true; })) return false;
    // A and T differ by 0x15, C and G by 0x04; N stays.
    const auto turned = [](const Block &b) __attribute__((always_inline)) {
        const Block at = (Block)(b == 'A') | (Block)(b == 'T'), cg = (Block)(b == 'C') | (Block)(b == 'G');
        return (Block)(b ^ (at & 0x15) ^ (cg & 0x04));
    };
    Block last, block;  // the last one overlaps those before, which must not be turned twice
    std::memcpy(&last, p + n - 32, 32);
    for (int64_t i = 0; i + 32 <= n; i += 32) {
        std::memcpy(&block, p + i, 32);
        block = turned(block);
        std::memcpy(p + i, &block, 32);
    }
    last = turned(last);
    std::memcpy(p + n - 32, &last, 32);
    return true;
}

static void reverse_bytes(uint8_t *a, uint8_t *b) {
    for (; b - a >= 16; a += 8, b -= 8) {
        const uint64_t head = __builtin_bswap64(load64(a)), tail = __builtin_bswap64(load64(b - 8));
        std::memcpy(a, &tail, 8);
        std::memcpy(b - 8, &head, 8);
    }
    std::reverse(a, b);
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
        reverse_bytes(a, b);
        if (complement && !complement_acgtn(a, b - a))
            for (; a < b; a++) *a = table[*a];
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
