// Arrays to SAM lines; see reference/sam.py for the contract of each kernel.
#include "references.hpp"
#include "tags.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>

namespace agd {

namespace {

constexpr int64_t most_digits = 20;  // of an int64, with its sign

template <class T> uint8_t *put_number(uint8_t *out, T value) {
    return (uint8_t *)std::to_chars((char *)out, (char *)out + most_digits, value).ptr;
}

uint8_t *put(uint8_t *out, const void *from, int64_t size) {
    if (size) std::memcpy(out, from, (size_t)size);
    return out + size;
}

constexpr int64_t most_real = 32;  // characters of a float or double

// A number as %g lays it out, with as many digits as it takes to get the same number back, but at least six: what
// samtools has printed comes back as it was.
template <class T> uint8_t *put_real(uint8_t *out, T value) {
    char *text = (char *)out;
    if (value == 0 || !std::isfinite(value) || std::fabs(value) < std::numeric_limits<T>::min())
        // Zero and the like, and subnormal numbers, where fewer than six digits can be enough.
        for (int digits = 6;; digits++) {
            const int size = std::snprintf(text, most_real, "%.*g", digits, (double)value);
            if (digits == 17 || !(std::isfinite(value)) || (T)std::strtod(text, nullptr) == value) return out + size;
        }
    char digits[most_real];
    const auto [stop, error] = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific);
    (void)error;  // there is room
    const char *p = digits, *e = std::find(digits, stop, 'e');
    if (*p == '-') *text++ = *p++;
    int exponent = 0;
    std::from_chars(e + 1 + (e[1] == '+'), stop, exponent);
    char mantissa[most_real];
    int count = 0;
    for (; p < e; p++)
        if (*p != '.') mantissa[count++] = *p;
    if (exponent < -4 || exponent >= std::max(6, count)) {
        *text++ = mantissa[0];
        if (count > 1) *text++ = '.';
        text = std::copy(mantissa + 1, mantissa + count, text);
        *text++ = 'e';
        *text++ = exponent < 0 ? '-' : '+';
        if (std::abs(exponent) < 10) *text++ = '0';
        text = std::to_chars(text, text + 3, std::abs(exponent)).ptr;
    } else if (exponent < 0) {
        text = std::fill_n(text, -exponent + 1, '0');
        text[exponent] = '.';
        text = std::copy(mantissa, mantissa + count, text);
    } else {
        for (int i = 0; i < std::max(count, exponent + 1); i++) {
            if (i == exponent + 1) *text++ = '.';
            *text++ = i < count ? mantissa[i] : '0';
        }
    }
    return (uint8_t *)text;
}

template <class T> uint8_t *put_item(uint8_t *out, const uint8_t *at) {
    if constexpr (std::is_floating_point_v<T>)
        return put_real(out, load<T>(at));
    else
        return put_number(out, load<T>(at));
}

template <class T> uint8_t *put_items(uint8_t *out, const uint8_t *at, const uint8_t *end) {
    for (; at < end; at += sizeof(T)) {
        *out++ = ',';
        out = put_item<T>(out, at);
    }
    return out;
}

// Characters that a field takes at most, with the tab before it.
int64_t field_bound(const uint8_t *field, const uint8_t *next) {
    switch (field[2]) {
    case 'Z': case 'H': return next - field + 2;
    case 'f': case 'd': return 6 + most_real;
    case 'B': {
        const int64_t count = load<uint32_t>(field + 4);
        switch (field[3]) {
        case 'c': case 'C': return 7 + 5 * count;
        case 's': case 'S': return 7 + 7 * count;
        case 'i': case 'I': return 7 + 12 * count;
        default: return 7 + (1 + most_real) * count;
        }
    }
    default: return 6 + 11;
    }
}

uint8_t *put_field(uint8_t *out, const uint8_t *field, const uint8_t *next, int64_t record) {
    const uint8_t type = field[2], *value = field + 3;
    int64_t number;
    *out++ = '\t';
    out = put(out, field, 2);
    *out++ = ':';
    if (field_integer(field, number)) return put_number(put(out, "i:", 2), number);
    *out++ = type;
    *out++ = ':';
    switch (type) {
    case 'Z': case 'H':
        require(std::none_of(value, next - 1, [](uint8_t c) { return c < ' '; }),
                "a tag has a control character, which SAM text cannot hold", record);
        return put(out, value, next - value - 1);
    case 'A': *out++ = *value; return out;
    case 'f': return put_item<float>(out, value);
    case 'd': return put_item<double>(out, value);
    default:  // B
        *out++ = *value;
        const uint8_t *items = value + 5;
        switch (*value) {
        case 'c': return put_items<int8_t>(out, items, next);
        case 'C': return put_items<uint8_t>(out, items, next);
        case 's': return put_items<int16_t>(out, items, next);
        case 'S': return put_items<uint16_t>(out, items, next);
        case 'i': return put_items<int32_t>(out, items, next);
        case 'I': return put_items<uint32_t>(out, items, next);
        default: return put_items<float>(out, items, next);
        }
    }
}

// Text of a ragged field, "*" if it is empty; nothing in it may end the field.
uint8_t *put_text(uint8_t *out, const uint8_t *begin, const uint8_t *end, const char *reason, int64_t record) {
    if (begin == end) {
        *out++ = '*';
        return out;
    }
    uint8_t bad = 0;
    for (const uint8_t *p = begin; p < end; p++) bad |= (uint8_t)(*p - 33) > 93;
    require(!bad, reason, record);
    return put(out, begin, end - begin);
}

class Formatter {
  public:
    Formatter(const Records<false> &in, const References &references) : in_(in), references_(references) {}

    int64_t bound(int64_t i) const {
        int64_t size = 11 + 5 + 3 + 3 * most_digits;  // tabs and newline, FLAG, MAPQ, POS, PNEXT, TLEN
        size += name_of(in_.reference[i], i).size() + name_of(in_.mate_reference[i], i).size();
        size += in_.names.size(i) + 10 * in_.cigar.size(i) + in_.bases.size(i) + in_.qualities.size(i) + 4;
        each_field(in_.tags.begin(i), in_.tags.end(i), i, in_.tags.values,
                   [&](const uint8_t *field, const uint8_t *next) { return size += field_bound(field, next), true; });
        return size;
    }

    uint8_t *line(int64_t i, uint8_t *out) const {
        const int32_t reference = in_.reference[i], mate = in_.mate_reference[i];
        out = put_text(out, in_.names.begin(i), in_.names.end(i), "name has a character outside of [!-~]", i);
        *out++ = '\t';
        out = tab(put_number(out, in_.flag[i]));
        out = tab(put_name(out, reference, i));
        out = tab(put_number(out, in_.position[i] + 1));
        out = tab(put_number(out, in_.mapping_quality[i]));
        out = tab(cigar(i, out));
        if (mate >= 0 && mate == reference)
            *out++ = '=';
        else
            out = put_name(out, mate, i);
        *out++ = '\t';
        out = tab(put_number(out, in_.mate_position[i] + 1));
        out = tab(put_number(out, in_.template_length[i]));
        const int64_t scored = in_.qualities.size(i);
        require(!scored || scored == in_.bases.size(i), "bases and qualities differ in length", i);
        out = tab(put_text(out, in_.bases.begin(i), in_.bases.end(i), "bases have a character outside of [!-~]", i));
        out = put_text(out, in_.qualities.begin(i), in_.qualities.end(i), "qualities are outside of 0 to 93", i);
        each_field(in_.tags.begin(i), in_.tags.end(i), i, in_.tags.values,
                   [&](const uint8_t *field, const uint8_t *next) { return out = put_field(out, field, next, i), true; });
        *out++ = '\n';
        return out;
    }

  private:
    const Records<false> &in_;
    const References &references_;

    static uint8_t *tab(uint8_t *out) {
        *out = '\t';
        return out + 1;
    }

    std::string_view name_of(int32_t index, int64_t i) const {
        if (index == -1) return "*";
        require(index >= 0 && index < references_.count(), "reference is not in the header", i);
        return references_.name(index);
    }

    uint8_t *put_name(uint8_t *out, int32_t index, int64_t i) const {
        const std::string_view name = name_of(index, i);
        return put(out, name.data(), (int64_t)name.size());
    }

    uint8_t *cigar(int64_t i, uint8_t *out) const {
        const uint32_t *begin = in_.cigar.begin(i), *end = in_.cigar.end(i);
        if (begin == end) *out++ = '*';
        for (; begin < end; begin++) {
            require((*begin & 15) < cigar_codes, "unknown CIGAR operation", i);
            out = put_number(out, *begin >> 4);
            *out++ = (uint8_t)cigar_letters[*begin & 15];
        }
        return out;
    }
};

}  // namespace

int64_t sam_format_bound(nb::tuple arrays, In<uint8_t> ref_names, In<int64_t> ref_offsets) {
    const Records<false> in(arrays);
    nb::gil_scoped_release unlocked;
    const References references(ref_names, ref_offsets);
    const Formatter formatter(in, references);
    int64_t size = 0;
    for (int64_t i = 0; i < in.count; i++) size += formatter.bound(i);
    return size;
}

int64_t sam_format(nb::tuple arrays, In<uint8_t> ref_names, In<int64_t> ref_offsets, Out<uint8_t> out) {
    const Records<false> in(arrays);
    nb::gil_scoped_release unlocked;
    const References references(ref_names, ref_offsets);
    const Formatter formatter(in, references);
    uint8_t *at = out.data(), *end = at + out.size();
    for (int64_t i = 0; i < in.count; i++) {
        require(formatter.bound(i) <= end - at, "the output is smaller than sam_format_bound says", i);
        at = formatter.line(i, at);
    }
    return at - out.data();
}

void bind_sam_format(nb::module_ &m) {
    m.def("sam_format_bound", &sam_format_bound, nb::arg("records"), nb::arg("ref_names").noconvert(),
          nb::arg("ref_offsets").noconvert());
    m.def("sam_format", &sam_format, nb::arg("records"), nb::arg("ref_names").noconvert(),
          nb::arg("ref_offsets").noconvert(), nb::arg("out").noconvert());
}

}  // namespace agd
