// NM and MD: left out where they are as expected, and put back.
#include "tags.hpp"
#include "vector.hpp"

namespace agd {
namespace {

constexpr uint16_t NM = tag_id('N', 'M'), MD = tag_id('M', 'D');

// What the tags of each record are expected to be: NM as one byte, MD as text.
struct Expected {
    const int32_t *nm;
    const uint8_t *md;
    const int64_t *offsets;

    bool has_nm(size_t i) const { return nm[i] >= 0 && nm[i] < 256; }
    bool has_md(size_t i) const { return nm[i] >= 0; }
    int64_t md_size(size_t i) const { return offsets[i + 1] - offsets[i]; }
    bool is(size_t i, const uint8_t *field, const uint8_t *end) const {
        const uint16_t tag = field_tag(field);
        if (tag == NM) return field[2] == 'C' && has_nm(i) && field[3] == nm[i];
        return tag == MD && field[2] == 'Z' && has_md(i) && end - field - 4 == md_size(i) &&
               std::memcmp(field + 3, md + offsets[i], (size_t)md_size(i)) == 0;
    }
};

struct Records {
    const uint8_t *tags;
    const int64_t *offsets;
    size_t count;
    Expected expected;

    Records(const In<uint8_t> &tags, const In<int64_t> &offsets, const In<int32_t> &nm, const In<uint8_t> &md,
            const In<int64_t> &md_offsets, const Out<int64_t> &out_offsets)
        : tags(tags.data()), offsets(offsets.data()), count(nm.size()), expected{nm.data(), md.data(), md_offsets.data()} {
        check_offsets(offsets.data(), offsets.size(), (int64_t)tags.size(), "offsets outside of the tags");
        check_offsets(md_offsets.data(), md_offsets.size(), (int64_t)md.size(), "offsets outside of the expected values");
        require(offsets.size() == count + 1 && md_offsets.size() == count + 1 && out_offsets.size() == count + 1,
                "tags and expected values differ in number");
    }

    // End of the field that begins at p in record i; `marked`: whether it has no value.
    const uint8_t *field_end_of(size_t i, const uint8_t *p, bool &marked) const {
        const uint8_t *end = tags + offsets[i + 1];
        marked = end - p >= 3 && p[2] == '*';
        const uint8_t *next = marked ? p + 3 : field_end(p, end);
        if (!next) throw KernelError(bad_tags, (int64_t)i, p - tags);
        return next;
    }
};

// Whether any of [p, end) is the type of a field without a value, or looks like it; up to `stop` may be read.
AGD_INLINE bool holds_mark(const uint8_t *p, const uint8_t *end, const uint8_t *stop) {
    if (end - p >= 32 || stop - p < 32) return std::memchr(p, '*', (size_t)(end - p));
    Half low, high;
    std::memcpy(&low, p, 16);
    std::memcpy(&high, p + 16, 16);
    return (bits_of((Half)(low == '*')) | bits_of((Half)(high == '*')) << 16) & ((1u << (end - p)) - 1);
}

int64_t aux_omit(In<uint8_t> tags, In<int64_t> offsets, In<int32_t> nm, In<uint8_t> md, In<int64_t> md_offsets,
                 Out<uint8_t> out, Out<int64_t> out_offsets) {
    nb::gil_scoped_release unlocked;
    const Records records(tags, offsets, nm, md, md_offsets, out_offsets);
    require((int64_t)out.size() >= records.offsets[records.count] - records.offsets[0], "no room for the tags");
    uint8_t *to = out.data();
    int64_t omitted = 0;
    out_offsets.data()[0] = 0;
    for (size_t i = 0; i < records.count; i++) {
        const uint8_t *p = records.tags + records.offsets[i], *end = records.tags + records.offsets[i + 1];
        for (bool marked; p < end;) {
            const uint8_t *next = records.field_end_of(i, p, marked);
            require(!marked || (field_tag(p) != NM && field_tag(p) != MD), "a tag without a value is there already", (int64_t)i);
            if (!marked && records.expected.is(i, p, next)) {
                std::memcpy(to, p, 2);
                to[2] = '*', to += 3, omitted++;
            } else {
                std::memcpy(to, p, (size_t)(next - p));
                to += next - p;
            }
            p = next;
        }
        out_offsets.data()[i + 1] = to - out.data();
    }
    return omitted;
}

// Where `out` is too small, it is written no further, but the offsets are.
int64_t aux_restore(In<uint8_t> tags, In<int64_t> offsets, In<int32_t> nm, In<uint8_t> md, In<int64_t> md_offsets,
                    Out<uint8_t> out, Out<int64_t> out_offsets) {
    nb::gil_scoped_release unlocked;
    const Records records(tags, offsets, nm, md, md_offsets, out_offsets);
    const Expected &e = records.expected;
    const int64_t room = (int64_t)out.size();
    const uint8_t *const tags_end = tags.data() + tags.size(), *const md_end = md.data() + md.size();
    int64_t at = 0;
    const auto copy = [&](const uint8_t *from, int64_t size, const uint8_t *stop) {
        if (size <= room - at) {
            // What is written too far is written again by what follows.
            if (size <= 32 && room - at >= 32 && stop - from >= 32) std::memcpy(out.data() + at, from, 32);
            else std::memcpy(out.data() + at, from, (size_t)size);
        }
        at += size;
    };
    const auto put = [&](uint8_t byte) {
        if (at < room) out.data()[at] = byte;
        at++;
    };
    out_offsets.data()[0] = 0;
    for (size_t i = 0; i < records.count; i++) {
        const uint8_t *p = records.tags + records.offsets[i], *end = records.tags + records.offsets[i + 1], *kept = p;
        // Values are mostly missing at the beginning: what follows the last of them need not be looked at.
        for (bool marked; p < end && ((end - p >= 3 && p[2] == '*') || holds_mark(p, end, tags_end));) {
            const uint8_t *next = records.field_end_of(i, p, marked);
            const uint16_t tag = field_tag(p);
            if (marked && (tag == NM || tag == MD)) {
                require(tag == NM ? e.has_nm(i) : e.has_md(i), "a tag was left out that cannot be computed", (int64_t)i);
                copy(kept, p + 2 - kept, tags_end);
                put(tag == NM ? 'C' : 'Z');
                if (tag == MD) copy(e.md + e.offsets[i], e.md_size(i), md_end);
                put(tag == NM ? (uint8_t)e.nm[i] : 0);
                kept = next;
            }
            p = next;
        }
        copy(kept, end - kept, tags_end);
        out_offsets.data()[i + 1] = at;
    }
    return at;
}

}  // namespace

void bind_derive(nb::module_ &m) {
    m.def("aux_omit", &aux_omit, nb::arg("tags"), nb::arg("offsets"), nb::arg("nm"), nb::arg("md"), nb::arg("md_offsets"),
          nb::arg("out"), nb::arg("out_offsets"));
    m.def("aux_restore", &aux_restore, nb::arg("tags"), nb::arg("offsets"), nb::arg("nm"), nb::arg("md"),
          nb::arg("md_offsets"), nb::arg("out"), nb::arg("out_offsets"));
}

}  // namespace agd
