// Alignments as protobuf (schemas/alignment.proto): arrays to messages and back.
#include "alignment.hpp"

#include <nanobind/stl/pair.h>

#include <bit>
#include <limits>

namespace agd {
namespace {

// Field numbers of schemas/alignment.proto, each with the wire type it is written in.
enum Field : uint32_t {
    FLAG = 1, REFERENCE, POSITION, MAPPING_QUALITY, CIGAR, MATE_REFERENCE, MATE_POSITION, TEMPLATE_LENGTH, TAGS
};
constexpr uint8_t VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;
constexpr uint8_t key(Field field, uint8_t wire) { return (uint8_t)(field << 3 | wire); }

constexpr int64_t LAST = std::numeric_limits<int64_t>::max();

// Values of one record as they are written: never negative, 0 for absent.
struct Message {
    uint64_t flag = 0, reference = 0, position = 0, mapping_quality = 0, mate_reference = 0, mate_position = 0,
             template_length = 0, cigar_bytes = 0, tag_bytes = 0;
    const uint8_t *cigar = nullptr, *tags = nullptr;
};

uint64_t zigzag(int64_t v) { return (uint64_t)v << 1 ^ (uint64_t)(v >> 63); }
int64_t unzigzag(uint64_t v) { return (int64_t)(v >> 1) ^ -(int64_t)(v & 1); }

bool load(const Arrays<In> &a, size_t i, Message &m) {
    if (a.valid && !a.valid->data()[i]) return false;
    const int64_t reference = a.reference.data()[i], mate_reference = a.mate_reference.data()[i];
    const int64_t position = a.position.data()[i], mate_position = a.mate_position.data()[i];
    require(reference >= -1 && mate_reference >= -1, "reference below -1", (int64_t)i);
    require(position >= -1 && position < LAST && mate_position >= -1 && mate_position < LAST, "position out of range",
            (int64_t)i);
    const int64_t *c = a.cigar_offsets.data() + i, *t = a.tag_offsets.data() + i;
    m.flag = a.flag.data()[i];
    m.reference = (uint64_t)(reference + 1);
    m.position = (uint64_t)(position + 1);
    m.mapping_quality = a.mapping_quality.data()[i];
    m.mate_reference = (uint64_t)(mate_reference + 1);
    m.mate_position = (uint64_t)(mate_position + 1);
    m.template_length = zigzag(a.template_length.data()[i]);
    m.cigar = (const uint8_t *)(a.cigar.data() + c[0]);
    m.cigar_bytes = (uint64_t)(c[1] - c[0]) * 4;
    m.tags = a.tags.data() + t[0];
    m.tag_bytes = (uint64_t)(t[1] - t[0]);
    return true;
}

uint64_t varint_size(uint64_t v) { return (9 * (uint64_t)std::bit_width(v) + 64) >> 6; }
uint64_t number_size(uint64_t v) { return v ? 1 + varint_size(v) : 0; }
uint64_t bytes_size(uint64_t length) { return length ? 1 + varint_size(length) + length : 0; }

uint64_t message_size(const Message &m) {
    return 1 + varint_size(m.flag) + number_size(m.reference) + number_size(m.position) +
           number_size(m.mapping_quality) + bytes_size(m.cigar_bytes) + number_size(m.mate_reference) +
           number_size(m.mate_position) + number_size(m.template_length) + bytes_size(m.tag_bytes);
}

uint8_t *put_varint(uint8_t *p, uint64_t v) {
    for (; v >= 0x80; v >>= 7) *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

uint8_t *put_number(uint8_t *p, Field field, uint64_t v) {
    if (!v) return p;
    *p++ = key(field, VARINT);
    return put_varint(p, v);
}

uint8_t *put_bytes(uint8_t *p, Field field, const uint8_t *from, uint64_t length) {
    if (!length) return p;
    *p++ = key(field, BYTES);
    p = put_varint(p, length);
    std::memcpy(p, from, length);
    return p + length;
}

uint8_t *put_message(uint8_t *p, const Message &m) {
    *p++ = key(FLAG, VARINT);
    p = put_varint(p, m.flag);
    p = put_number(p, REFERENCE, m.reference);
    p = put_number(p, POSITION, m.position);
    p = put_number(p, MAPPING_QUALITY, m.mapping_quality);
    p = put_bytes(p, CIGAR, m.cigar, m.cigar_bytes);
    p = put_number(p, MATE_REFERENCE, m.mate_reference);
    p = put_number(p, MATE_POSITION, m.mate_position);
    p = put_number(p, TEMPLATE_LENGTH, m.template_length);
    return put_bytes(p, TAGS, m.tags, m.tag_bytes);
}

void alignment_sizes(nb::tuple alignments, Out<int64_t> sizes) {
    const Arrays<In> a(alignments);
    nb::gil_scoped_release unlocked;
    check_alignments(a);
    require(sizes.size() == a.flag.size(), "sizes and alignments differ in number");
    Message m;
    for (size_t i = 0; i < a.flag.size(); i++) sizes.data()[i] = load(a, i, m) ? (int64_t)message_size(m) : 0;
}

void alignment_encode(nb::tuple alignments, Out<uint8_t> out, In<int64_t> offsets) {
    const Arrays<In> a(alignments);
    nb::gil_scoped_release unlocked;
    check_alignments(a);
    require(offsets.size() == a.flag.size() + 1, "offsets and alignments differ in number");
    check_offsets(offsets.data(), offsets.size(), (int64_t)out.size(), "offsets outside of the output");
    Message m;
    for (size_t i = 0; i < a.flag.size(); i++) {
        const int64_t room = offsets.data()[i + 1] - offsets.data()[i];
        const bool valid = load(a, i, m);
        // Nothing is written before it is known to fit exactly.
        require(room == (valid ? (int64_t)message_size(m) : 0), "room of the output is not the size of the record",
                (int64_t)i, offsets.data()[i]);
        if (valid) put_message(out.data() + offsets.data()[i], m);
    }
}

// Reads one message; every failure names the record and the offset within the data.
struct Reader {
    const uint8_t *base, *p, *end;
    int64_t record;

    [[noreturn]] void fail(const char *reason, const uint8_t *at) const { throw KernelError(reason, record, at - base); }

    uint64_t varint() {
        const uint8_t *start = p;
        if (p < end && *p < 0x80) [[likely]]
            return *p++;
        if (end - p >= 8) {
            // Eight bytes at once: find the end, then squeeze out the top bit of each.
            uint64_t word;
            std::memcpy(&word, p, 8);
            const uint64_t stops = ~word & 0x8080808080808080;
            if (stops) [[likely]] {
                word &= stops ^ (stops - 1);
                p += (std::countr_zero(stops) >> 3) + 1;
                word = (word & 0x007f007f007f007f) | (word & 0x7f007f007f007f00) >> 1;
                word = (word & 0x00003fff00003fff) | (word & 0x3fff00003fff0000) >> 2;
                return (word & 0x000000000fffffff) | (word & 0x0fffffff00000000) >> 4;
            }
        }
        uint64_t v = 0;
        for (int shift = 0; shift < 70; shift += 7) {
            if (p == end) fail("varint is cut short", start);
            const uint8_t byte = *p++;
            if (shift == 63 && byte > 1) fail("varint does not fit 64 bits", start);
            v |= (uint64_t)(byte & 0x7f) << shift;
            if (byte < 0x80) return v;
        }
        fail("varint is longer than ten bytes", start);
    }

    uint64_t number(uint64_t largest, const char *reason) {
        const uint8_t *start = p;
        const uint64_t v = varint();
        if (v > largest) fail(reason, start);
        return v;
    }

    const uint8_t *bytes(uint64_t &length) {
        const uint8_t *start = p;
        length = varint();
        if (length > (uint64_t)(end - p)) fail("field is longer than its record", start);
        p += length;
        return p - length;
    }

    void fixed(int64_t size) {
        if (end - p < size) fail("field is longer than its record", p);
        p += size;
    }

    void skip(uint64_t tag, const uint8_t *start) {
        uint64_t length;
        if (tag >> 32 || !(tag >> 3)) fail("field number out of range", start);
        switch (tag & 7) {
            case VARINT: varint(); break;
            case FIXED64: fixed(8); break;
            case BYTES: bytes(length); break;
            case FIXED32: fixed(4); break;
            default: fail("wire type is not one of proto3", start);
        }
    }

    // Later fields replace earlier ones of the same number; unknown numbers and wire types are skipped, as protobuf does.
    void message(Message &m) {
        while (p < end) {
            const uint8_t *start = p;
            const uint64_t tag = varint();
            switch (tag) {
                case key(FLAG, VARINT): m.flag = number(0xffff, "flag above 65535"); break;
                case key(REFERENCE, VARINT): m.reference = number(1ULL << 31, "reference above 2^31 - 1"); break;
                case key(POSITION, VARINT): m.position = number(LAST, "position does not fit 63 bits"); break;
                case key(MAPPING_QUALITY, VARINT): m.mapping_quality = number(255, "mapping quality above 255"); break;
                case key(MATE_REFERENCE, VARINT):
                    m.mate_reference = number(1ULL << 31, "mate reference above 2^31 - 1");
                    break;
                case key(MATE_POSITION, VARINT): m.mate_position = number(LAST, "mate position does not fit 63 bits"); break;
                case key(TEMPLATE_LENGTH, VARINT): m.template_length = varint(); break;
                case key(TAGS, BYTES): m.tags = bytes(m.tag_bytes); break;
                case key(CIGAR, BYTES):
                    m.cigar = bytes(m.cigar_bytes);
                    if (m.cigar_bytes % 4) fail("CIGAR is not made of whole operations", start);
                    break;
                default: skip(tag, start);
            }
        }
    }
};

std::pair<int64_t, int64_t> alignment_decode(In<uint8_t> data, In<int64_t> offsets, nb::tuple alignments) {
    Arrays<Out> a(alignments);
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)data.size(), "offsets outside of the data");
    require(offsets.size() == a.flag.size() + 1, "offsets and alignments differ in number");
    int64_t cigar = 0, tags = 0;
    a.cigar_offsets.data()[0] = a.tag_offsets.data()[0] = 0;
    for (size_t i = 0; i < a.flag.size(); i++) {
        const int64_t first = offsets.data()[i], last = offsets.data()[i + 1];
        Message m;
        Reader{data.data(), data.data() + first, data.data() + last, (int64_t)i}.message(m);
        a.flag.data()[i] = (uint16_t)m.flag;
        a.reference.data()[i] = (int32_t)((int64_t)m.reference - 1);
        a.position.data()[i] = (int64_t)m.position - 1;
        a.mapping_quality.data()[i] = (uint8_t)m.mapping_quality;
        a.mate_reference.data()[i] = (int32_t)((int64_t)m.mate_reference - 1);
        a.mate_position.data()[i] = (int64_t)m.mate_position - 1;
        a.template_length.data()[i] = unzigzag(m.template_length);
        const int64_t operations = (int64_t)m.cigar_bytes / 4;
        require(operations <= (int64_t)a.cigar.size() - cigar, "no room for the CIGARs", (int64_t)i, first);
        require((int64_t)m.tag_bytes <= (int64_t)a.tags.size() - tags, "no room for the tags", (int64_t)i, first);
        if (operations) std::memcpy(a.cigar.data() + cigar, m.cigar, m.cigar_bytes);
        if (m.tag_bytes) std::memcpy(a.tags.data() + tags, m.tags, m.tag_bytes);
        a.cigar_offsets.data()[i + 1] = cigar += operations;
        a.tag_offsets.data()[i + 1] = tags += (int64_t)m.tag_bytes;
        if (a.valid) a.valid->data()[i] = last > first;
    }
    return {cigar, tags};
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "CIGARs are copied as little-endian words");

void bind_alignment(nb::module_ &m) {
    m.def("alignment_sizes", &alignment_sizes, nb::arg("alignments"), nb::arg("sizes").noconvert());
    m.def("alignment_encode", &alignment_encode, nb::arg("alignments"), nb::arg("out").noconvert(), nb::arg("offsets"));
    m.def("alignment_decode", &alignment_decode, nb::arg("data"), nb::arg("offsets"), nb::arg("alignments"));
}

}  // namespace agd
