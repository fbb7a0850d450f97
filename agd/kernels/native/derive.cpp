// Tags that can be computed: left out where they are as expected, and put back.
#include "tags.hpp"

namespace agd {
namespace {

// What is expected as the value of one tag of every record.
struct Expected {
    uint16_t tag;
    uint8_t kind;
    const uint8_t *values;
    const int64_t *offsets;
    const bool *present;

    int64_t size(size_t i) const { return offsets[i + 1] - offsets[i] + (kind == 'Z'); }
    bool is(size_t i, const uint8_t *field, const uint8_t *end) const {
        const int64_t n = offsets[i + 1] - offsets[i];
        return present[i] && field_tag(field) == tag && field[2] == kind && end - field - 3 == size(i) &&
               std::memcmp(field + 3, values + offsets[i], (size_t)n) == 0;
    }
};

Expected checked(int tag, int kind, const In<uint8_t> &values, const In<int64_t> &offsets, const In<bool> &present) {
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the expected values");
    require(present.size() + 1 == offsets.size(), "expected values differ in number");
    return {(uint16_t)tag, (uint8_t)kind, values.data(), offsets.data(), present.data()};
}

int64_t aux_omit(In<uint8_t> tags, In<int64_t> offsets, int tag, int kind, In<uint8_t> expected,
                 In<int64_t> expected_offsets, In<bool> present, Out<uint8_t> out, Out<int64_t> out_offsets) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)tags.size(), "offsets outside of the tags");
    const Expected e = checked(tag, kind, expected, expected_offsets, present);
    const size_t n = offsets.size() - 1;
    require(present.size() == n && out_offsets.size() == n + 1, "tags and expected values differ in number");
    require((int64_t)out.size() >= offsets.data()[n] - offsets.data()[0], "no room for the tags");
    uint8_t *to = out.data();
    int64_t omitted = 0;
    out_offsets.data()[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = tags.data() + offsets.data()[i], *end = tags.data() + offsets.data()[i + 1];
        while (p < end) {
            const bool marked = end - p >= 3 && p[2] == '*';
            const uint8_t *next = marked ? p + 3 : field_end(p, end);
            if (!next) throw KernelError(bad_tags, (int64_t)i, p - tags.data());
            require(!marked || field_tag(p) != e.tag, "a tag without a value is there already", (int64_t)i);
            if (e.is(i, p, next)) {
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

// Two passes: with an empty `out` the offsets are written only.
int64_t aux_restore(In<uint8_t> tags, In<int64_t> offsets, int tag, int kind, In<uint8_t> expected,
                    In<int64_t> expected_offsets, In<bool> present, Out<uint8_t> out, Out<int64_t> out_offsets) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)tags.size(), "offsets outside of the tags");
    const Expected e = checked(tag, kind, expected, expected_offsets, present);
    const size_t n = offsets.size() - 1;
    require(present.size() == n && out_offsets.size() == n + 1, "tags and expected values differ in number");
    const bool writing = out.size() != 0;
    int64_t at = 0;
    auto copy = [&](const uint8_t *from, int64_t size) {
        if (writing) {
            require((int64_t)out.size() - at >= size, "no room for the tags");
            std::memcpy(out.data() + at, from, (size_t)size);
        }
        at += size;
    };
    out_offsets.data()[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = tags.data() + offsets.data()[i], *end = tags.data() + offsets.data()[i + 1];
        while (p < end) {
            const bool marked = end - p >= 3 && p[2] == '*';
            const uint8_t *next = marked ? p + 3 : field_end(p, end);
            if (!next) throw KernelError(bad_tags, (int64_t)i, p - tags.data());
            if (marked && field_tag(p) == e.tag) {
                require(e.present[i], "a tag was left out that cannot be computed", (int64_t)i);
                const uint8_t head[3] = {p[0], p[1], e.kind}, zero = 0;
                copy(head, 3);
                copy(e.values + e.offsets[i], e.offsets[i + 1] - e.offsets[i]);
                if (e.kind == 'Z') copy(&zero, 1);
            } else {
                copy(p, next - p);
            }
            p = next;
        }
        out_offsets.data()[i + 1] = at;
    }
    return at;
}

}  // namespace

void bind_derive(nb::module_ &m) {
    m.def("aux_omit", &aux_omit, nb::arg("tags"), nb::arg("offsets"), nb::arg("tag"), nb::arg("kind"),
          nb::arg("expected"), nb::arg("expected_offsets"), nb::arg("present"), nb::arg("out"), nb::arg("out_offsets"));
    m.def("aux_restore", &aux_restore, nb::arg("tags"), nb::arg("offsets"), nb::arg("tag"), nb::arg("kind"),
          nb::arg("expected"), nb::arg("expected_offsets"), nb::arg("present"), nb::arg("out"), nb::arg("out_offsets"));
}

}  // namespace agd
