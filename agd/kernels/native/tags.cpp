// Finding, numbering and joining aux fields; see reference/tags.py for the contract of each kernel.
#include "tags.hpp"

#include <string_view>
#include <unordered_map>
#include <vector>

namespace agd {

namespace {

using Flags = nb::ndarray<bool, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// The tags of records, with their offsets checked.
struct Tags {
    const uint8_t *data;
    const int64_t *offsets;
    int64_t count;

    Tags(const In<uint8_t> &tags, const In<int64_t> &at)
        : data(tags.data()), offsets(at.data()), count((int64_t)at.size() - 1) {
        check_offsets(offsets, at.size(), (int64_t)tags.size(), "offsets outside of the tags");
    }
    const uint8_t *begin(int64_t i) const { return data + offsets[i]; }
    const uint8_t *end(int64_t i) const { return data + offsets[i + 1]; }
    template <class Visit> void each(int64_t i, Visit visit) const { each_field(begin(i), end(i), i, data, visit); }
    // The first field named tag, or null; length gets its size.
    const uint8_t *find(int64_t i, uint16_t tag, int64_t &length) const {
        const uint8_t *found = nullptr;
        each(i, [&](const uint8_t *field, const uint8_t *next) {
            if (field_tag(field) != tag) return true;
            found = field;
            length = next - field;
            return false;
        });
        return found;
    }
};

void same_length(const Tags &tags, size_t a, size_t b) {
    require((int64_t)a == tags.count && (int64_t)b == tags.count, "the arrays differ in length");
}

}  // namespace

void aux_validate(In<uint8_t> tags, In<int64_t> offsets) {
    nb::gil_scoped_release unlocked;
    const Tags in(tags, offsets);
    for (int64_t i = 0; i < in.count; i++) in.each(i, [](const uint8_t *, const uint8_t *) { return true; });
}

int64_t aux_spans(In<uint8_t> tags, In<int64_t> offsets, uint16_t tag, Out<int64_t> starts, Out<int64_t> ends) {
    nb::gil_scoped_release unlocked;
    const Tags in(tags, offsets);
    same_length(in, starts.size(), ends.size());
    int64_t count = 0;
    for (int64_t i = 0; i < in.count; i++) {
        int64_t length = 0;
        const uint8_t *field = in.find(i, tag, length);
        starts.data()[i] = field ? field - in.data : in.offsets[i + 1];
        ends.data()[i] = starts.data()[i] + length;
        count += field != nullptr;
    }
    return count;
}

int64_t aux_numbers(In<uint8_t> tags, In<int64_t> offsets, uint16_t tag, Out<int64_t> out, Flags present) {
    nb::gil_scoped_release unlocked;
    const Tags in(tags, offsets);
    same_length(in, out.size(), present.size());
    int64_t count = 0;
    for (int64_t i = 0; i < in.count; i++) {
        int64_t length, value = 0;
        const uint8_t *field = in.find(i, tag, length);
        const bool found = field && field_integer(field, value);
        out.data()[i] = value;
        present.data()[i] = found;
        count += found;
    }
    return count;
}

int64_t aux_codes(In<uint8_t> tags, In<int64_t> offsets, uint16_t tag, Out<int64_t> codes, Out<int64_t> firsts) {
    nb::gil_scoped_release unlocked;
    const Tags in(tags, offsets);
    same_length(in, codes.size(), firsts.size());
    std::unordered_map<std::string_view, int64_t> numbers;
    std::string_view last;  // records of one value follow each other as a rule
    int64_t last_code = 0;
    for (int64_t i = 0; i < in.count; i++) {
        const uint8_t *found = nullptr;
        int64_t length = 0, code = 0;
        in.each(i, [&](const uint8_t *field, const uint8_t *next) {
            if (field_tag(field) == tag && field[2] == 'Z') {
                found = field + 3;
                length = next - found - 1;
            }
            return true;
        });
        if (found) {
            const std::string_view value((const char *)found, (size_t)length);
            if (!last_code || value != last) {
                const auto [entry, fresh] = numbers.try_emplace(value, (int64_t)numbers.size() + 1);
                if (fresh) firsts.data()[entry->second - 1] = found - in.data;
                last = value;
                last_code = entry->second;
            }
            code = last_code;
        }
        codes.data()[i] = code;
    }
    return (int64_t)numbers.size();
}

int64_t aux_merge(In<uint8_t> tags, In<int64_t> offsets, In<uint8_t> others, In<int64_t> other_offsets,
                  Out<uint8_t> out, Out<int64_t> out_offsets) {
    nb::gil_scoped_release unlocked;
    const Tags in(tags, offsets), winners(others, other_offsets);
    require(in.count == winners.count && (int64_t)out_offsets.size() == in.count + 1, "the arrays differ in length");
    const int64_t room = (int64_t)out.size();
    int64_t used = 0;
    std::vector<uint16_t> taken;
    out_offsets.data()[0] = 0;
    for (int64_t i = 0; i < in.count; i++) {
        const auto append = [&](const uint8_t *from, const uint8_t *to) {
            require(to - from <= room - used, "the output is too small", i);
            if (to > from) std::memcpy(out.data() + used, from, (size_t)(to - from));
            used += to - from;
        };
        taken.clear();
        winners.each(i, [&](const uint8_t *field, const uint8_t *) { return taken.push_back(field_tag(field)), true; });
        const uint8_t *kept = in.begin(i);  // start of the run of fields that is kept but not yet copied
        in.each(i, [&](const uint8_t *field, const uint8_t *next) {
            for (uint16_t tag : taken)
                if (tag == field_tag(field)) {
                    append(kept, field);
                    kept = next;
                    break;
                }
            return true;
        });
        append(kept, in.end(i));
        append(winners.begin(i), winners.end(i));
        out_offsets.data()[i + 1] = used;
    }
    return used;
}

void bind_tags(nb::module_ &m) {
    m.def("aux_validate", &aux_validate, nb::arg("tags").noconvert(), nb::arg("offsets").noconvert());
    m.def("aux_spans", &aux_spans, nb::arg("tags").noconvert(), nb::arg("offsets").noconvert(), nb::arg("tag"),
          nb::arg("starts").noconvert(), nb::arg("ends").noconvert());
    m.def("aux_numbers", &aux_numbers, nb::arg("tags").noconvert(), nb::arg("offsets").noconvert(), nb::arg("tag"),
          nb::arg("out").noconvert(), nb::arg("present").noconvert());
    m.def("aux_codes", &aux_codes, nb::arg("tags").noconvert(), nb::arg("offsets").noconvert(), nb::arg("tag"),
          nb::arg("codes").noconvert(), nb::arg("firsts").noconvert());
    m.def("aux_merge", &aux_merge, nb::arg("tags").noconvert(), nb::arg("offsets").noconvert(),
          nb::arg("others").noconvert(), nb::arg("other_offsets").noconvert(), nb::arg("out").noconvert(),
          nb::arg("out_offsets").noconvert());
}

}  // namespace agd
