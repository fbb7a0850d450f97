// SAM lines to arrays; see reference/sam.py for the contract of each kernel.
#include "references.hpp"
#include "tags.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

namespace agd {

namespace {

bool all_printable(const uint8_t *p, const uint8_t *end) {
    uint8_t bad = 0;
    for (; p < end; p++) bad |= (uint8_t)(*p - 33) > 93;
    return !bad;
}

// The letters that SEQ may have: [A-Za-z=.]
bool all_bases(const uint8_t *p, const uint8_t *end) {
    uint8_t bad = 0;
    for (; p < end; p++) bad |= ((uint8_t)((*p | 0x20) - 'a') > 25) & (*p != '=') & (*p != '.');
    return !bad;
}

bool is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }
bool is_letter(uint8_t c) { return (uint8_t)((c | 0x20) - 'a') < 26; }

constexpr std::array<uint8_t, 256> cigar_table = [] {
    std::array<uint8_t, 256> table{};
    table.fill(255);
    for (int i = 0; i < (int)cigar_codes; i++) table[(uint8_t)cigar_letters[i]] = (uint8_t)i;
    return table;
}();

constexpr int64_t most_position = ((int64_t)1 << 62) - 1;

// A decimal fraction as htslib reads it (to a double first); false if it is none or goes on after it.
bool parse_float(const uint8_t *p, const uint8_t *end, double &value) {
    if (p < end && *p == '+') {
        p++;
        if (p < end && *p == '-') return false;
    }
#if defined(__cpp_lib_to_chars)
    const auto [stop, error] = std::from_chars((const char *)p, (const char *)end, value);
    if (error == std::errc()) return stop == (const char *)end;
    if (error != std::errc::result_out_of_range || stop != (const char *)end) return false;
#else
    if (p < end && (*p == ' ' || *p == '+')) return false;
#endif
    // Out of the range of a double: infinite or zero, which strtod tells.
    const std::string copy((const char *)p, (size_t)(end - p));
    char *last;
    value = std::strtod(copy.c_str(), &last);
    return !copy.empty() && last == copy.c_str() + copy.size();
}

class Parser {
  public:
    Parser(const uint8_t *text, ReferenceIndex &index, Records<true> &out) : text_(text), index_(index), out_(out) {}

    // Parses the line [p, end), without its line end, as the next record.
    void parse(int64_t record, const uint8_t *p, const uint8_t *end) {
        record_ = record;
        p_ = p;
        end_ = end;
        name();
        out_.flag[record] = (uint16_t)number(0, 65535, "FLAG is not an integer from 0 to 65535");
        const int32_t reference = reference_name("RNAME is not a reference sequence of the header");
        out_.reference[record] = reference;
        out_.position[record] = number(0, most_position, "POS is not an integer from 0 to 2^62 - 1") - 1;
        out_.mapping_quality[record] = (uint8_t)number(0, 255, "MAPQ is not an integer from 0 to 255");
        const uint8_t *cigar_at = p_;
        const int64_t query = cigar();
        if (end_ - p_ >= 2 && p_[0] == '=' && p_[1] == '\t') {
            p_ += 2;
            out_.mate_reference[record] = reference;
        } else {
            out_.mate_reference[record] = reference_name("RNEXT is not a reference sequence of the header");
        }
        out_.mate_position[record] = number(0, most_position, "PNEXT is not an integer from 0 to 2^62 - 1") - 1;
        out_.template_length[record] = number(-most_position, most_position, "TLEN is not an integer within 2^62");
        const bool star = end_ - p_ >= 2 && p_[0] == '*' && p_[1] == '\t';
        const int64_t length = bases(star);
        if (query >= 0 && !star && query != length) fail("CIGAR and SEQ differ in length", cigar_at);
        qualities(length);
        tags();
    }

  private:
    const uint8_t *text_, *p_ = nullptr, *end_ = nullptr;
    ReferenceIndex &index_;
    Records<true> &out_;
    int64_t record_ = 0;

    [[noreturn]] void fail(const char *reason, const uint8_t *at) const { throw KernelError(reason, record_, at - text_); }

    // The field up to the next tab, which is passed over.
    std::pair<const uint8_t *, const uint8_t *> field() {
        const uint8_t *begin = p_;
        const void *tab = std::memchr(p_, '\t', (size_t)(end_ - p_));
        if (!tab) fail("line has fewer than 11 fields", begin);
        p_ = (const uint8_t *)tab + 1;
        return {begin, (const uint8_t *)tab};
    }

    void name() {
        const auto [begin, end] = field();
        const int64_t length = end - begin;
        if (length < 1 || length > 254) fail("QNAME has not 1 to 254 characters", begin);
        if (*begin == '@') fail("QNAME begins with @; header lines come before all records", begin);
        if (!all_printable(begin, end)) fail("QNAME has a character outside of [!-~]", begin);
        const bool missing = length == 1 && *begin == '*';
        std::memcpy(out_.names.append(record_, missing ? 0 : length), begin, missing ? 0 : (size_t)length);
    }

    int64_t number(int64_t least, int64_t most, const char *reason) {
        const uint8_t *begin = p_;
        const bool negative = least < 0 && p_ < end_ && *p_ == '-';
        p_ += negative;
        const uint8_t *digits = p_;
        uint64_t value = 0;
        for (; p_ < end_ && is_digit(*p_) && p_ - digits < 19; p_++) value = value * 10 + (*p_ - '0');
        if (p_ == digits || (p_ < end_ && *p_ != '\t')) fail(reason, begin);
        if (value > (uint64_t)(negative ? -least : most)) fail(reason, begin);
        if (p_ == end_) fail("line has fewer than 11 fields", begin);
        p_++;
        return negative ? -(int64_t)value : (int64_t)value;
    }

    int32_t reference_name(const char *reason) {
        const auto [begin, end] = field();
        if (end - begin == 1 && *begin == '*') return -1;
        const int32_t index = index_.find({(const char *)begin, (size_t)(end - begin)});
        if (index < 0) fail(reason, begin);
        return index;
    }

    // Returns the length of the query, -1 for "*".
    int64_t cigar() {
        if (end_ - p_ >= 2 && p_[0] == '*' && p_[1] == '\t') {
            p_ += 2;
            out_.cigar.append(record_, 0);
            return -1;
        }
        const uint8_t *begin = p_;
        int64_t query = 0, count = 0;
        const int64_t room = out_.cigar.room - out_.cigar.used;
        uint32_t *operations = out_.cigar.values + out_.cigar.used;
        for (; p_ < end_ && *p_ != '\t'; p_++, count++) {
            const uint8_t *digits = p_;
            uint32_t length = 0;
            for (; p_ < end_ && is_digit(*p_) && p_ - digits < 9; p_++) length = length * 10 + (*p_ - '0');
            const uint8_t code = p_ < end_ ? cigar_table[*p_] : 255;
            if (p_ == digits || code == 255 || length >= 1 << 28) fail("CIGAR is not * or ([0-9]+[MIDNSHPX=])+", begin);
            require(count < room, "the arrays of the records are too small", record_);
            operations[count] = length << 4 | code;
            if (consumes(cigar_query, code)) query += length;
        }
        if (p_ == end_) fail("line has fewer than 11 fields", begin);
        if (!count) fail("CIGAR is not * or ([0-9]+[MIDNSHPX=])+", begin);
        p_++;
        out_.cigar.append(record_, count);
        return query;
    }

    int64_t bases(bool star) {
        const auto [begin, end] = field();
        const int64_t length = star ? 0 : end - begin;
        if (!all_bases(begin, begin + length)) fail("SEQ has a character outside of [A-Za-z=.]", begin);
        std::memcpy(out_.bases.append(record_, length), begin, (size_t)length);
        return length;
    }

    void qualities(int64_t length) {
        const uint8_t *begin = p_;
        if (p_ < end_ && *p_ == '*' && (p_ + 1 == end_ || p_[1] == '\t')) {
            p_++;
            out_.qualities.append(record_, 0);
            return;
        }
        if (end_ - p_ < length || (p_ + length < end_ && p_[length] != '\t')) fail("SEQ and QUAL differ in length", begin);
        p_ += length;
        if (!all_printable(begin, p_)) {
            if (std::find(begin, p_, '\t') < p_) fail("SEQ and QUAL differ in length", begin);
            fail("QUAL has a character outside of [!-~]", begin);
        }
        std::memcpy(out_.qualities.append(record_, length), begin, (size_t)length);
    }

    void tags() {
        auto &out = out_.tags;
        out.append(record_, 0);
        while (p_ < end_) {
            p_++;  // the tab
            if (p_ == end_) break;  // htslib, too, lets a line end in a tab
            const void *tab = std::memchr(p_, '\t', (size_t)(end_ - p_));
            const uint8_t *end = tab ? (const uint8_t *)tab : end_;
            tag(p_, end);
            p_ = end;
        }
    }

    uint8_t *room_for_tag(int64_t size) { return out_.tags.append(record_, size); }

    // One field, such as NM:i:5, in [p, end).
    void tag(const uint8_t *p, const uint8_t *end) {
        if (end - p < 5 || p[2] != ':' || p[4] != ':' || !is_letter(p[0]) || !(is_letter(p[1]) || is_digit(p[1])))
            fail("tag is not of the form [A-Za-z][A-Za-z0-9]:TYPE:VALUE", p);
        const uint8_t *name = p, *value = p + 5;
        const int64_t length = end - value;
        uint8_t *out;
        switch (p[3]) {
        case 'i': {
            uint8_t packed[5];
            const uint8_t *stop = store_integer(packed, integer(value, end, INT32_MIN, UINT32_MAX, name));
            out = room_for_tag(2 + (stop - packed));
            std::memcpy(out + 2, packed, (size_t)(stop - packed));
            break;
        }
        case 'A':
            if (length != 1 || !all_printable(value, end)) fail("tag of type A is not one printable character", name);
            out = room_for_tag(4);
            out[2] = 'A';
            out[3] = *value;
            break;
        case 'f':
            out = room_for_tag(7);
            out[2] = 'f';
            store(out + 3, (float)real(value, end, name));
            break;
        case 'd':
            out = room_for_tag(11);
            out[2] = 'd';
            store(out + 3, real(value, end, name));
            break;
        case 'Z':
            if (std::any_of(value, end, [](uint8_t c) { return c < ' '; }))
                fail("tag of type Z has a control character", name);
            out = text(p[3], value, length);
            break;
        case 'H':
            if (length % 2 || !std::all_of(value, end, [](uint8_t c) {
                    return is_digit(c) || (uint8_t)((c | 0x20) - 'a') < 6;
                }))
                fail("tag of type H is not pairs of hexadecimal digits", name);
            out = text(p[3], value, length);
            break;
        case 'B': out = array(value, end, name); break;
        default: fail("tag has a type other than A, i, f, Z, H and B", name);
        }
        std::memcpy(out, name, 2);
    }

    uint8_t *text(uint8_t type, const uint8_t *value, int64_t length) {
        uint8_t *out = room_for_tag(length + 4);
        out[2] = type;
        std::memcpy(out + 3, value, (size_t)length);
        out[3 + length] = 0;
        return out;
    }

    uint8_t *array(const uint8_t *value, const uint8_t *end, const uint8_t *name) {
        const uint8_t type = value < end ? *value : 0;
        const int size = array_item_size(type);
        if (!size || (value + 1 < end && value[1] != ',')) fail("tag of type B has not one of the types cCsSiIf", name);
        const int64_t count = std::count(value + 1, end, (uint8_t)',');
        uint8_t *out = room_for_tag(8 + size * count), *at = out + 8;
        out[2] = 'B';
        out[3] = type;
        store(out + 4, (uint32_t)count);
        for (const uint8_t *p = value + 1; p < end;) {
            p++;
            const void *comma = std::memchr(p, ',', (size_t)(end - p));
            const uint8_t *stop = comma ? (const uint8_t *)comma : end;
            switch (type) {
            case 'c': at = store(at, (int8_t)integer(p, stop, INT8_MIN, INT8_MAX, name)); break;
            case 'C': at = store(at, (uint8_t)integer(p, stop, 0, UINT8_MAX, name)); break;
            case 's': at = store(at, (int16_t)integer(p, stop, INT16_MIN, INT16_MAX, name)); break;
            case 'S': at = store(at, (uint16_t)integer(p, stop, 0, UINT16_MAX, name)); break;
            case 'i': at = store(at, (int32_t)integer(p, stop, INT32_MIN, INT32_MAX, name)); break;
            case 'I': at = store(at, (uint32_t)integer(p, stop, 0, UINT32_MAX, name)); break;
            default: at = store(at, (float)real(p, stop, name));
            }
            p = stop;
        }
        return out;
    }

    int64_t integer(const uint8_t *p, const uint8_t *end, int64_t least, int64_t most, const uint8_t *name) const {
        const bool negative = p < end && *p == '-';
        p += p < end && (*p == '-' || *p == '+');
        int64_t value = 0;
        if (p == end || end - p > 18) fail("tag is not an integer that its type can hold", name);
        for (; p < end; p++) {
            if (!is_digit(*p)) fail("tag is not an integer that its type can hold", name);
            value = value * 10 + (*p - '0');
        }
        if (negative) value = -value;
        if (value < least || value > most) fail("tag is not an integer that its type can hold", name);
        return value;
    }

    double real(const uint8_t *p, const uint8_t *end, const uint8_t *name) const {
        double value;
        if (!parse_float(p, end, value)) fail("tag is not a number", name);
        return value;
    }
};

// Calls visit(record, begin, end) for each complete line, without its line end; returns the bytes of these lines.
template <class Visit> int64_t each_line(const uint8_t *text, int64_t size, bool final, Visit visit) {
    int64_t at = 0;
    for (int64_t record = 0; at < size; record++) {
        const void *newline = std::memchr(text + at, '\n', (size_t)(size - at));
        if (!newline && !final) break;
        const uint8_t *end = newline ? (const uint8_t *)newline : text + size;
        const uint8_t *stop = end > text + at && end[-1] == '\r' ? end - 1 : end;
        if (!visit(record, text + at, stop)) break;
        at = (newline ? end + 1 : end) - text;
    }
    return at;
}

}  // namespace

nb::tuple sam_capacity(In<uint8_t> text) {
    int64_t records = 0, names = 0, cigar = 0, bases = 0, qualities = 0, tags = 0;
    {
        nb::gil_scoped_release unlocked;
        each_line(text.data(), (int64_t)text.size(), true, [&](int64_t record, const uint8_t *p, const uint8_t *end) {
            records = record + 1;
            for (int column = 0; p < end; column++) {
                // After the eleventh column all is tags; a field grows to at most twice its text with the tab.
                const void *tab = column < 11 ? std::memchr(p, '\t', (size_t)(end - p)) : nullptr;
                const uint8_t *stop = tab ? (const uint8_t *)tab : end;
                if (column == 0) names += stop - p;
                if (column == 5) cigar += (stop - p) / 2;
                if (column == 9) bases += stop - p;
                if (column == 10) qualities += stop - p;
                if (column == 11) tags += 2 * (stop - p + 1);
                p = stop + 1;
            }
            return true;
        });
    }
    return nb::make_tuple(records, names, cigar, bases, qualities, tags);
}

nb::tuple sam_parse(In<uint8_t> text, In<uint8_t> ref_names, In<int64_t> ref_offsets, nb::tuple arrays, bool final) {
    Records<true> out(arrays);
    int64_t records = 0, consumed;
    {
        nb::gil_scoped_release unlocked;
        const References references(ref_names, ref_offsets);
        ReferenceIndex index(references);
        Parser parser(text.data(), index, out);
        consumed = each_line(text.data(), (int64_t)text.size(), final,
                             [&](int64_t record, const uint8_t *p, const uint8_t *end) {
                                 if (record == out.count) return false;
                                 parser.parse(record, p, end);
                                 records = record + 1;
                                 return true;
                             });
    }
    return nb::make_tuple(records, consumed, out.names.used, out.cigar.used, out.bases.used, out.qualities.used,
                          out.tags.used);
}

void bind_sam_format(nb::module_ &m);

void bind_sam(nb::module_ &m) {
    m.def("sam_capacity", &sam_capacity, nb::arg("text").noconvert());
    m.def("sam_parse", &sam_parse, nb::arg("text").noconvert(), nb::arg("ref_names").noconvert(),
          nb::arg("ref_offsets").noconvert(), nb::arg("records"), nb::arg("final"));
    bind_sam_format(m);
}

}  // namespace agd
