// FASTQ beyond the scan: whether mates are in step, and the text of records.
#include "common.hpp"
#include "vector.hpp"

#include <bit>
#include <utility>

namespace agd {

namespace {

// 1-D with any stride: one column of a table of spans.
using Strided = nb::ndarray<const int64_t, nb::ndim<1>, nb::device::cpu>;

// Bytes of a line up to white space.
int64_t word_size(const uint8_t *line, int64_t size) {
    const auto blanks = [&](int64_t i) { return bits_of((Half)(load_half(line + i) <= ' ')); };
    int64_t n = 0;
    for (; n + 16 <= size; n += 16)
        if (const uint32_t found = blanks(n)) return n + std::countr_zero(found);
    if (size >= 16) {  // the last ones, with some that were looked at already
        const uint32_t found = blanks(size - 16);
        return found ? size - 16 + std::countr_zero(found) : size;
    }
    while (n < size && line[n] > ' ') n++;
    return n;
}

// Bytes of a header line up to white space, without a final /1 or /2 if asked, unless nothing else is left.
int64_t name_size(const uint8_t *line, int64_t size, bool trim) {
    const int64_t n = word_size(line, size);
    return trim && n > 2 && line[n - 2] == '/' && (line[n - 1] == '1' || line[n - 1] == '2') ? n - 2 : n;
}

struct Names {
    const uint8_t *text;
    int64_t size;
    Strided starts, ends;
    bool header;
    Names(const In<uint8_t> &text, const Strided &starts, const Strided &ends, bool header)
        : text(text.data()), size((int64_t)text.size()), starts(starts), ends(ends), header(header) {
        require(starts.size() == ends.size(), "starts and ends differ in number");
    }
    int64_t count() const { return (int64_t)starts.size(); }

    // The name of read i; of a header line the part up to white space, without /1 or /2.
    std::pair<const uint8_t *, int64_t> operator[](int64_t i) const {
        const int64_t start = starts.data()[i * starts.stride(0)], end = ends.data()[i * ends.stride(0)];
        require(start >= 0 && start <= end && end <= size, "span outside of the text", i, start);
        return {text + start, header ? name_size(text + start, end - start, true) : end - start};
    }
};

}  // namespace

// Which reads of text1 and text2 have the same name.
void same_names(In<uint8_t> text1, Strided starts1, Strided ends1, In<uint8_t> text2, Strided starts2, Strided ends2,
                bool header, Out<bool> same) {
    nb::gil_scoped_release unlocked;
    const Names one(text1, starts1, ends1, header), two(text2, starts2, ends2, header);
    require(one.count() == two.count() && one.count() == (int64_t)same.size(), "the two sides differ in number");
    for (int64_t i = 0; i < one.count(); i++) {
        const auto [a, n] = one[i];
        const auto [b, m] = two[i];
        same.data()[i] = n == m && !std::memcmp(a, b, (size_t)n);
    }
}

// Where the name ends in each header line: at white space, and before /1 or /2 where the read has a mate.
void name_ends(In<uint8_t> text, In<int64_t> offsets, In<bool> paired, Out<int64_t> ends) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)text.size(), "offsets outside of the text");
    const size_t count = offsets.size() - 1;
    require(paired.size() == count && ends.size() == count, "offsets, mates and ends differ in number");
    for (size_t i = 0; i < count; i++) {
        const int64_t start = offsets.data()[i], size = offsets.data()[i + 1] - start;
        ends.data()[i] = start + name_size(text.data() + start, size, paired.data()[i]);
    }
}

namespace {

struct Writer {
    uint8_t *out;
    int64_t room, at = 0;
    void put(const void *from, int64_t size) {
        require(size <= room - at, "the output is too small");
        if (size) std::memcpy(out + at, from, (size_t)size);
        at += size;
    }
    void fill(int value, int64_t size) {
        require(size <= room - at, "the output is too small");
        std::memset(out + at, value, (size_t)size);
        at += size;
    }
};

struct Ragged {
    const uint8_t *values;
    const int64_t *offsets;
    int64_t count;
    Ragged(const In<uint8_t> &values, const In<int64_t> &offsets, const char *what)
        : values(values.data()), offsets(offsets.data()), count((int64_t)offsets.size() - 1) {
        check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), what);
    }
    const uint8_t *start(int64_t i) const { return values + offsets[i]; }
    int64_t size(int64_t i) const { return offsets[i + 1] - offsets[i]; }
};

}  // namespace

// Four lines for each of `records`; returns the bytes written.
int64_t fastq_format(In<uint8_t> metadata, In<int64_t> metadata_offsets, In<uint8_t> bases, In<int64_t> bases_offsets,
                     In<uint8_t> qualities, In<int64_t> quality_offsets, In<int64_t> records, bool crlf, int missing,
                     Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    const Ragged names(metadata, metadata_offsets, "metadata offsets outside of the values");
    const Ragged sequences(bases, bases_offsets, "bases offsets outside of the values");
    const Ragged quals(qualities, quality_offsets, "quality offsets outside of the values");
    require(names.count == sequences.count && names.count == quals.count, "the columns differ in length");
    const char *line_end = crlf ? "\r\n" : "\n";
    const int64_t line_end_size = crlf ? 2 : 1;
    Writer w{out.data(), (int64_t)out.size()};
    for (int64_t k = 0; k < (int64_t)records.size(); k++) {
        const int64_t i = records.data()[k];
        require(i >= 0 && i < names.count, "there is no such record", i);
        const uint8_t *name = names.start(i);
        const int64_t name_size = names.size(i), length = sequences.size(i), quality_size = quals.size(i);
        require(quality_size == length || !quality_size, "bases and qualities differ in length", i);
        const void *cut = name_size ? std::memchr(name, '\n', (size_t)name_size) : nullptr;
        const int64_t head = cut ? (const uint8_t *)cut - name : name_size;
        w.put("@", 1);
        w.put(name, head);
        w.put(line_end, line_end_size);
        w.put(sequences.start(i), length);
        w.put(line_end, line_end_size);
        w.put("+", 1);
        if (cut) w.put(name + head + 1, name_size - head - 1);
        w.put(line_end, line_end_size);
        if (quality_size == length) w.put(quals.start(i), length);
        else w.fill(missing, length);
        w.put(line_end, line_end_size);
    }
    return w.at;
}

void bind_reads(nb::module_ &m) {
    m.def("same_names", &same_names, nb::arg("text1").noconvert(), nb::arg("starts1"), nb::arg("ends1"),
          nb::arg("text2").noconvert(), nb::arg("starts2"), nb::arg("ends2"), nb::arg("header"),
          nb::arg("same").noconvert());
    m.def("name_ends", &name_ends, nb::arg("text").noconvert(), nb::arg("offsets"), nb::arg("paired").noconvert(),
          nb::arg("ends").noconvert());
    m.def("fastq_format", &fastq_format, nb::arg("metadata").noconvert(), nb::arg("metadata_offsets"),
          nb::arg("bases").noconvert(), nb::arg("bases_offsets"), nb::arg("qualities").noconvert(),
          nb::arg("quality_offsets"), nb::arg("records"), nb::arg("crlf"), nb::arg("missing"),
          nb::arg("out").noconvert());
}

}  // namespace agd
