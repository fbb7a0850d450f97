// NM and MD: left out where they are as expected, and put back.
#include "tags.hpp"

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

    // Calls visit(record, begin, end, whether it has no value) for each field, and done(record) behind the last of a record.
    template <class Visit, class Done> void each(const Visit &visit, const Done &done) const {
        for (size_t i = 0; i < count; i++) {
            const uint8_t *p = tags + offsets[i], *end = tags + offsets[i + 1];
            while (p < end) {
                const bool marked = end - p >= 3 && p[2] == '*';
                const uint8_t *next = marked ? p + 3 : field_end(p, end);
                if (!next) throw KernelError(bad_tags, (int64_t)i, p - tags);
                visit(i, p, next, marked);
                p = next;
            }
            done(i);
        }
    }
};

int64_t aux_omit(In<uint8_t> tags, In<int64_t> offsets, In<int32_t> nm, In<uint8_t> md, In<int64_t> md_offsets,
                 Out<uint8_t> out, Out<int64_t> out_offsets) {
    nb::gil_scoped_release unlocked;
    const Records records(tags, offsets, nm, md, md_offsets, out_offsets);
    require((int64_t)out.size() >= records.offsets[records.count] - records.offsets[0], "no room for the tags");
    uint8_t *to = out.data();
    int64_t omitted = 0;
    out_offsets.data()[0] = 0;
    records.each(
        [&](size_t i, const uint8_t *p, const uint8_t *next, bool marked) {
            require(!marked || (field_tag(p) != NM && field_tag(p) != MD), "a tag without a value is there already", (int64_t)i);
            if (!marked && records.expected.is(i, p, next)) {
                std::memcpy(to, p, 2);
                to[2] = '*', to += 3, omitted++;
            } else {
                std::memcpy(to, p, (size_t)(next - p));
                to += next - p;
            }
        },
        [&](size_t i) { out_offsets.data()[i + 1] = to - out.data(); });
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
    const uint8_t *kept = nullptr, *kept_end = nullptr;  // fields to be copied together
    const auto flush = [&] {
        if (kept) copy(kept, kept_end - kept, tags_end);
        kept = kept_end = nullptr;
    };
    records.each(
        [&](size_t i, const uint8_t *p, const uint8_t *next, bool marked) {
            const uint16_t tag = field_tag(p);
            if (!kept) kept = p;
            kept_end = next;
            if (!marked || (tag != NM && tag != MD)) return;
            require(tag == NM ? e.has_nm(i) : e.has_md(i), "a tag was left out that cannot be computed", (int64_t)i);
            kept_end = p + 2;
            flush();
            put(tag == NM ? 'C' : 'Z');
            if (tag == MD) copy(e.md + e.offsets[i], e.md_size(i), md_end);
            put(tag == NM ? (uint8_t)e.nm[i] : 0);
        },
        [&](size_t i) {
            flush();
            out_offsets.data()[i + 1] = at;
        });
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
