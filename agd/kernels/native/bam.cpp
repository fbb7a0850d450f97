// BAM records (SAM specification, section 4.2) to arrays and back.
#include "nucleotides.hpp"
#include "tags.hpp"

#include <algorithm>

namespace agd {

// Record boundaries: see reference/bam.py for the contract of each kernel.
std::pair<int64_t, int64_t> bam_scan(In<uint8_t> buffer, bool final, Out<int64_t> offsets) {
    nb::gil_scoped_release unlocked;
    require(offsets.size() >= 1, "no room for offsets");
    const int64_t size = (int64_t)buffer.size(), room = (int64_t)offsets.size() - 1;
    int64_t records = 0, at = 0;
    offsets.data()[0] = 0;
    for (; records < room && at < size; records++) {
        if (size - at < 4) {
            require(!final, "the last record is truncated", records, at);
            break;
        }
        const int64_t block = load<int32_t>(buffer.data() + at);
        require(block >= 33, "block size is less than a record's fixed fields", records, at);
        if (block > size - at - 4) {
            require(!final, "the last record is truncated", records, at);
            break;
        }
        at += 4 + block;
        offsets.data()[records + 1] = at;
    }
    return {records, at};
}

namespace {

// The fixed fields of a record, and where its parts are; begin, end: the whole record with its block size.
struct Core {
    const uint8_t *begin, *name, *cigar, *bases, *qualities, *tags, *end;
    int32_t reference, position, mate_reference, mate_position, template_length;
    uint16_t flag;
    uint8_t mapping_quality;
    int64_t name_size, operations, length;

    Core(const uint8_t *buffer, int64_t from, int64_t to, int64_t record)
        : begin(buffer + from), end(buffer + to) {
        require(to - from >= 37 && load<int32_t>(begin) == to - from - 4, "block size and offsets differ", record, from);
        const uint8_t *p = begin + 4;
        reference = load<int32_t>(p);
        position = load<int32_t>(p + 4);
        name_size = p[8];
        mapping_quality = p[9];
        operations = load<uint16_t>(p + 12);
        flag = load<uint16_t>(p + 14);
        length = load<int32_t>(p + 16);
        mate_reference = load<int32_t>(p + 20);
        mate_position = load<int32_t>(p + 24);
        template_length = load<int32_t>(p + 28);
        require(name_size >= 1, "name size is 0", record, from + 12);
        require(length >= 0, "sequence length is negative", record, from + 20);
        const int64_t need = 36 + name_size + 4 * operations + (length + 1) / 2 + length;
        require(need <= to - from, "fields are longer than the record", record, from);
        name = p + 32;
        cigar = name + name_size;
        bases = cigar + 4 * operations;
        qualities = bases + (length + 1) / 2;
        tags = qualities + length;
        require(cigar[-1] == 0, "name does not end in NUL", record, name - buffer);
    }
    // Length of the name as the arrays hold it: without NUL, empty for "*".
    int64_t name_length() const { return name_size == 2 && name[0] == '*' ? 0 : name_size - 1; }
    bool qualities_missing() const {
        return length > 0 && qualities[0] == 0xff &&
               std::all_of(qualities, qualities + length, [](uint8_t q) { return q == 0xff; });
    }
};

// The CG field that holds the operations of a CIGAR too long for BAM (SAM specification, section 4.2.2), recognised
// exactly as htslib does; null if there is none.
const uint8_t *long_cigar(const Core &core, int64_t record, const uint8_t *origin) {
    if (!core.operations || core.reference < 0 || core.position < 0) return nullptr;
    if (load<uint32_t>(core.cigar) != ((uint32_t)core.length << 4 | 4)) return nullptr;
    const uint8_t *found = nullptr;
    each_field(core.tags, core.end, record, origin, [&](const uint8_t *field, const uint8_t *) {
        if (field_tag(field) == tag_id('C', 'G')) found = field;
        return !found;
    });
    if (!found || found[2] != 'B' || (found[3] != 'I' && found[3] != 'i')) return nullptr;
    const int64_t count = load<uint32_t>(found + 4);
    return count >= core.operations && count < 1 << 29 ? found : nullptr;
}

struct Sizes {
    int64_t names = 0, cigar = 0, bases = 0, qualities = 0, tags = 0;
    nb::tuple tuple() const { return nb::make_tuple(names, cigar, bases, qualities, tags); }
};

int bin_of(int64_t begin, int64_t end) {
    end--;
    for (int shift = 14, first = 4681; shift <= 26; shift += 3, first = (first - 1) / 8)
        if (begin >> shift == end >> shift) return (int)(first + (begin >> shift));
    return 0;
}

constexpr int64_t most_operations = 0xffff;

int64_t encoded_size(const Records<false> &in, int64_t i) {
    const int64_t name = std::max<int64_t>(in.names.size(i), 1), length = in.bases.size(i);
    require(name <= 254, "name is longer than 254 characters", i);
    require(length <= INT32_MAX, "sequence is too long for BAM", i);
    require(in.qualities.size(i) == 0 || in.qualities.size(i) == length, "bases and qualities differ in length", i);
    const int64_t operations = in.cigar.size(i), packed = (length + 1) / 2;
    const int64_t size = 36 + name + 1 + 4 * operations + packed + length + in.tags.size(i);
    // A long CIGAR: two operations in its place, and the CG field with its header.
    const int64_t all = operations > most_operations ? size + 16 : size;
    require(all - 4 <= INT32_MAX, "record is too long for BAM", i);
    return all;
}

uint8_t *pack_bases(const uint8_t *from, int64_t length, uint8_t *out) {
    int64_t i = 0;
    for (; i + 1 < length; i += 2) *out++ = (uint8_t)(base_codes[from[i]] << 4 | base_codes[from[i + 1]]);
    if (i < length) *out++ = (uint8_t)(base_codes[from[i]] << 4);
    return out;
}

void unpack_bases(const uint8_t *from, int64_t length, uint8_t *out) {
    for (int64_t i = 0; i < length / 2; i++) std::memcpy(out + 2 * i, &base_pairs[from[i]], 2);
    if (length & 1) out[length - 1] = (uint8_t)base_letters[from[length / 2] >> 4];
}

uint8_t *append(uint8_t *out, const void *from, int64_t size) {
    if (size) std::memcpy(out, from, (size_t)size);
    return out + size;
}

void check_core(const Records<false> &in, int64_t i) {
    constexpr int64_t most = INT32_MAX;
    require(in.reference[i] >= -1 && in.mate_reference[i] >= -1, "reference is less than -1", i);
    require(in.position[i] >= -1 && in.position[i] <= most, "position does not fit BAM", i);
    require(in.mate_position[i] >= -1 && in.mate_position[i] <= most, "mate position does not fit BAM", i);
    require(in.template_length[i] >= INT32_MIN && in.template_length[i] <= most, "template length does not fit BAM", i);
}

uint8_t *encode(const Records<false> &in, int64_t i, int64_t size, uint8_t *out) {
    check_core(in, i);
    const int64_t operations = in.cigar.size(i), length = in.bases.size(i);
    const uint32_t *cigar = in.cigar.begin(i);
    const bool is_long = operations > most_operations;
    for (int64_t k = 0; k < operations; k++) require((cigar[k] & 15) < cigar_codes, "unknown CIGAR operation", i);
    // htslib refuses to read such a record.
    require(!operations || !length || in.flag[i] & flags::unmapped ||
                cigar_length(cigar, operations, cigar_query) == length,
            "CIGAR and sequence differ in length", i);
    const int64_t covered = cigar_length(cigar, operations, cigar_reference);
    const int64_t span = in.flag[i] & flags::unmapped || covered == 0 ? 1 : covered;
    const char *name = in.names.size(i) ? (const char *)in.names.begin(i) : "*";
    const int64_t name_size = std::max<int64_t>(in.names.size(i), 1);

    out = store(out, (uint32_t)(size - 4));
    out = store(out, in.reference[i]);
    out = store(out, (int32_t)in.position[i]);
    out = store(out, (uint8_t)(name_size + 1));
    out = store(out, in.mapping_quality[i]);
    out = store(out, (uint16_t)bin_of(in.position[i], in.position[i] + span));
    out = store(out, (uint16_t)(is_long ? 2 : operations));
    out = store(out, in.flag[i]);
    out = store(out, (int32_t)length);
    out = store(out, in.mate_reference[i]);
    out = store(out, (int32_t)in.mate_position[i]);
    out = store(out, (int32_t)in.template_length[i]);
    out = append(out, name, name_size);
    *out++ = 0;
    if (is_long) {
        require(covered < 1 << 28 && length < 1 << 28, "CIGAR is too long even for the CG tag", i);
        out = store(out, (uint32_t)length << 4 | 4);
        out = store(out, (uint32_t)covered << 4 | 3);
    } else {
        out = append(out, cigar, 4 * operations);
    }
    out = pack_bases(in.bases.begin(i), length, out);
    const uint8_t *qualities = in.qualities.begin(i);
    if (in.qualities.size(i))
        for (int64_t k = 0; k < length; k++) out[k] = (uint8_t)(qualities[k] - 33);
    else if (length)
        std::memset(out, 0xff, (size_t)length);
    out = append(out + length, in.tags.begin(i), in.tags.size(i));
    if (is_long) {
        out = append(out, "CGBI", 4);
        out = store(out, (uint32_t)operations);
        out = append(out, cigar, 4 * operations);
    }
    return out;
}

}  // namespace

nb::tuple bam_measure(In<uint8_t> buffer, In<int64_t> offsets) {
    Sizes sizes;
    {
        nb::gil_scoped_release unlocked;
        const uint8_t *origin = buffer.data();
        const int64_t *at = offsets.data();
        check_offsets(at, offsets.size(), (int64_t)buffer.size(), "offsets outside of the buffer");
        for (int64_t i = 0; i + 1 < (int64_t)offsets.size(); i++) {
            const Core core(origin, at[i], at[i + 1], i);
            each_field(core.tags, core.end, i, origin, [](const uint8_t *, const uint8_t *) { return true; });
            const uint8_t *field = long_cigar(core, i, origin);
            const int64_t count = field ? load<uint32_t>(field + 4) : core.operations;
            sizes.names += core.name_length();
            sizes.cigar += count;
            sizes.bases += core.length;
            sizes.qualities += core.qualities_missing() ? 0 : core.length;
            sizes.tags += core.end - core.tags - (field ? 8 + 4 * count : 0);
        }
    }
    return sizes.tuple();
}

nb::tuple bam_decode(In<uint8_t> buffer, In<int64_t> offsets, int64_t references, nb::tuple arrays) {
    Records<true> out(arrays);
    nb::gil_scoped_release unlocked;
    const uint8_t *origin = buffer.data();
    const int64_t *at = offsets.data(), count = (int64_t)offsets.size() - 1;
    check_offsets(at, offsets.size(), (int64_t)buffer.size(), "offsets outside of the buffer");
    require(count <= out.count, "the arrays of the records are too small");
    for (int64_t i = 0; i < count; i++) {
        const Core core(origin, at[i], at[i + 1], i);
        require(core.reference >= -1 && core.reference < references, "reference is not in the header", i, at[i] + 4);
        require(core.mate_reference >= -1 && core.mate_reference < references, "mate reference is not in the header", i,
                at[i] + 24);
        require(core.position >= -1, "position is less than -1", i, at[i] + 8);
        require(core.mate_position >= -1, "mate position is less than -1", i, at[i] + 28);
        out.flag[i] = core.flag;
        out.reference[i] = core.reference;
        out.position[i] = core.position;
        out.mapping_quality[i] = core.mapping_quality;
        out.mate_reference[i] = core.mate_reference;
        out.mate_position[i] = core.mate_position;
        out.template_length[i] = core.template_length;

        const int64_t name = core.name_length();
        append(out.names.append(i, name), core.name, name);

        const uint8_t *field = long_cigar(core, i, origin);
        const int64_t operations = field ? load<uint32_t>(field + 4) : core.operations;
        uint32_t *cigar = out.cigar.append(i, operations);
        append((uint8_t *)cigar, field ? field + 8 : core.cigar, 4 * operations);
        for (int64_t k = 0; k < operations; k++)
            require((cigar[k] & 15) < cigar_codes, "unknown CIGAR operation", i, core.cigar - origin);
        require(!operations || !core.length || core.flag & flags::unmapped ||
                    cigar_length(cigar, operations, cigar_query) == core.length,
                "CIGAR and sequence differ in length", i, core.cigar - origin);

        unpack_bases(core.bases, core.length, out.bases.append(i, core.length));
        const int64_t scored = core.qualities_missing() ? 0 : core.length;
        uint8_t *qualities = out.qualities.append(i, scored);
        for (int64_t k = 0; k < scored; k++) qualities[k] = (uint8_t)(core.qualities[k] + 33);

        const int64_t size = core.end - core.tags;
        if (!field) {
            append(out.tags.append(i, size), core.tags, size);
        } else {
            const int64_t before = field - core.tags, removed = 8 + 4 * operations;
            uint8_t *tags = append(out.tags.append(i, size - removed), core.tags, before);
            append(tags, field + removed, size - before - removed);
        }
    }
    nb::gil_scoped_acquire locked;
    return nb::make_tuple(out.names.used, out.cigar.used, out.bases.used, out.qualities.used, out.tags.used);
}

// See reference/bam.py.
void bam_places(In<uint8_t> buffer, In<int64_t> offsets, int64_t references, Out<uint16_t> flag, Out<int32_t> reference,
                Out<int64_t> position, Out<int64_t> end) {
    nb::gil_scoped_release unlocked;
    const uint8_t *origin = buffer.data();
    const int64_t *at = offsets.data(), count = (int64_t)offsets.size() - 1;
    check_offsets(at, offsets.size(), (int64_t)buffer.size(), "offsets outside of the buffer");
    require(count == (int64_t)flag.size() && count == (int64_t)reference.size() && count == (int64_t)position.size() &&
                count == (int64_t)end.size(),
            "outputs and records differ in number");
    for (int64_t i = 0; i < count; i++) {
        const Core core(origin, at[i], at[i + 1], i);
        require(core.reference >= -1 && core.reference < references, "reference is not in the header", i, at[i] + 4);
        require(core.position >= -1, "position is less than -1", i, at[i] + 8);
        each_field(core.tags, core.end, i, origin, [](const uint8_t *, const uint8_t *) { return true; });
        const uint8_t *field = long_cigar(core, i, origin);
        const uint8_t *cigar = field ? field + 8 : core.cigar;
        const int64_t operations = field ? load<uint32_t>(field + 4) : core.operations;
        int64_t covered = 0;
        if (!(core.flag & flags::unmapped))
            for (int64_t k = 0; k < operations; k++) {
                const uint32_t operation = load<uint32_t>(cigar + 4 * k);
                if ((operation & 15) < cigar_codes && cigar_reference >> (operation & 15) & 1) covered += operation >> 4;
            }
        flag.data()[i] = core.flag;
        reference.data()[i] = core.reference;
        position.data()[i] = core.position;
        end.data()[i] = core.position + std::max<int64_t>(covered, 1);
    }
}

void bam_sizes(nb::tuple arrays, Out<int64_t> sizes) {
    const Records<false> in(arrays);
    nb::gil_scoped_release unlocked;
    require((int64_t)sizes.size() == in.count, "sizes and records differ in number");
    for (int64_t i = 0; i < in.count; i++) sizes.data()[i] = encoded_size(in, i);
}

void bam_encode(nb::tuple arrays, Out<uint8_t> out, In<int64_t> offsets) {
    const Records<false> in(arrays);
    nb::gil_scoped_release unlocked;
    require((int64_t)offsets.size() == in.count + 1, "offsets and records differ in number");
    check_offsets(offsets.data(), offsets.size(), (int64_t)out.size(), "offsets outside of the output");
    for (int64_t i = 0; i < in.count; i++) {
        const int64_t size = offsets.data()[i + 1] - offsets.data()[i];
        require(encoded_size(in, i) == size, "offsets differ from the sizes of the records", i);
        encode(in, i, size, out.data() + offsets.data()[i]);
    }
}

void bind_bam(nb::module_ &m) {
    m.def("bam_scan", &bam_scan, nb::arg("buffer").noconvert(), nb::arg("final"), nb::arg("offsets").noconvert());
    m.def("bam_measure", &bam_measure, nb::arg("buffer").noconvert(), nb::arg("offsets").noconvert());
    m.def("bam_decode", &bam_decode, nb::arg("buffer").noconvert(), nb::arg("offsets").noconvert(),
          nb::arg("references"), nb::arg("records"));
    m.def("bam_places", &bam_places, nb::arg("buffer").noconvert(), nb::arg("offsets").noconvert(),
          nb::arg("references"), nb::arg("flag").noconvert(), nb::arg("reference").noconvert(),
          nb::arg("position").noconvert(), nb::arg("end").noconvert());
    m.def("bam_sizes", &bam_sizes, nb::arg("records"), nb::arg("sizes").noconvert());
    m.def("bam_encode", &bam_encode, nb::arg("records"), nb::arg("out").noconvert(), nb::arg("offsets").noconvert());
}

}  // namespace agd
