// Order-independent checksums of records, those of `samtools checksum`; see reference/checksum.py for the contract.
#include "crc32.hpp"
#include "nucleotides.hpp"
#include "spans.hpp"
#include "tags.hpp"

#include <algorithm>
#include <vector>

namespace agd {

namespace {

constexpr uint64_t prime = 0x7fffffff;
constexpr int64_t columns = 8, rows = 3;  // count, seq, name, qual, aux, pos, cigar, mate; all, pass, fail
constexpr int64_t parts = 3;              // of a record: bases, name with a zero byte, qualities

// The CRC as a factor: 0 is none, and the prime is 0.
uint64_t factor(uint32_t crc) {
    const uint64_t value = crc & prime;
    return value == 0 || value == prime ? 1 : value;
}

// Product modulo the prime of numbers that are at most the prime, which stands for 0 too.
uint64_t times(uint64_t a, uint64_t b) {
    const uint64_t x = a * b, folded = (x & prime) + (x >> 31);
    return folded >= prime ? folded - prime : folded;
}

struct Field {
    uint16_t tag;
    const uint8_t *begin, *end;
    // Order of the two letters as they are read.
    int letters() const { return (tag & 0xff) << 8 | tag >> 8; }
};

// CRCs of the parts of a record that are long, each for itself.
class PartHasher {
  public:
    PartHasher(const Records<false> &in, bool reverse) : in_(in), reverse_(reverse) {}

    void hash(int64_t i, uint32_t crcs[parts]) {
        const size_t length = (size_t)in_.bases.size(i), name = (size_t)in_.names.size(i);
        const bool turned = reverse_ && in_.flag[i] & flags::reverse;
        static const uint8_t star[] = {'*', 0}, zero = 0;
        crcs[0] = crc32(0, bases(i, length, turned), length);
        crcs[1] = name ? crc32(crc32(0, in_.names.begin(i), name), &zero, 1) : crc32(0, star, 2);
        crcs[2] = crc32(0, qualities(i, length, turned), length);
    }

  private:
    const Records<false> &in_;
    const bool reverse_;
    std::vector<uint8_t> buffer_;

    // The letters that BAM would hold, as sequenced.
    const uint8_t *bases(int64_t i, size_t length, bool turned) {
        const uint8_t *from = in_.bases.begin(i);
        const bool plain = is_acgtn(from, (int64_t)length);
        if (plain && !turned) return from;
        buffer_.resize(length);
        if (plain) {
            copy_turned(buffer_.data(), from, (int64_t)length, true);
            return buffer_.data();
        }
        std::copy(from, from + length, buffer_.data());
        const auto &table = turned ? folded_complements : folded_bases;
        if (turned) std::reverse(buffer_.begin(), buffer_.end());
        for (uint8_t &letter : buffer_) letter = table[letter];
        return buffer_.data();
    }

    const uint8_t *qualities(int64_t i, size_t length, bool turned) {
        const uint8_t *from = in_.qualities.begin(i);
        if (!in_.qualities.size(i)) {
            buffer_.assign(length, (uint8_t)' ');  // 0xff + 33, modulo 256
        } else {
            if (!turned) return from;
            buffer_.resize(length);
            copy_turned(buffer_.data(), from, (int64_t)length, false);
        }
        return buffer_.data();
    }
};

class Hasher {
  public:
    Hasher(const Records<false> &in, uint16_t flag_mask, const In<uint8_t> &tags, bool inverse)
        : in_(in), flag_mask_(flag_mask), inverse_(inverse) {
        require(tags.size() % 2 == 0, "tags are not pairs of letters");
        for (size_t k = 0; k < tags.size(); k += 2) wanted_.push_back(load<uint16_t>(tags.data() + k));
        found_.resize(wanted_.size());
        for (int byte = 0; byte < 256; byte++) {
            const uint8_t flag = (uint8_t)byte;
            flags_[byte] = crc32(0, &flag, 1);
        }
    }

    // CRCs of seq, name, qual, aux, pos, cigar and mate, from those of the parts: the first three, four or all of them.
    void hash(int64_t i, const uint32_t part[parts], int wanted, uint32_t crcs[columns - 1]) {
        const size_t length = (size_t)in_.bases.size(i);
        const uint32_t seq = over_bases_(flags_[in_.flag[i] & flag_mask_ & 0xff], length) ^ part[0];
        crcs[0] = seq;
        crcs[1] = over_flag_(part[1], length + 1) ^ seq;
        crcs[2] = over_bases_(seq, length) ^ part[2];
        if (wanted < 4) return;
        const size_t bytes = aux(i);
        crcs[3] = crc32(seq, buffer_.data(), bytes);
        if (wanted < 5) return;
        uint8_t fixed[20];
        uint8_t *end = store(store(fixed, in_.reference[i]), in_.position[i]);
        crcs[4] = crc32(seq, fixed, (size_t)(end - fixed));
        const uint8_t *cigar = (const uint8_t *)in_.cigar.begin(i);
        const size_t size = 4 * (size_t)in_.cigar.size(i);
        end = store(fixed, (uint32_t)in_.mapping_quality[i]);
        const bool fits = size <= sizeof fixed - 4;  // as it does but for some: one CRC rather than two
        if (fits) end = std::copy(cigar, cigar + size, end);
        crcs[5] = crc32(seq, fixed, (size_t)(end - fixed));
        if (!fits) crcs[5] = crc32(crcs[5], cigar, size);
        end = store(store(store(fixed, in_.mate_reference[i]), in_.mate_position[i]), in_.template_length[i]);
        crcs[6] = crc32(seq, fixed, (size_t)(end - fixed));
    }

  private:
    const Records<false> &in_;
    const uint16_t flag_mask_;
    const bool inverse_;
    uint32_t flags_[256];
    Crc32Shift over_bases_, over_flag_;
    std::vector<uint16_t> wanted_;
    std::vector<Field> found_;
    std::vector<uint8_t> buffer_;  // begins with the bytes that a CRC is taken of

    // Puts the wanted fields into the buffer, integers in their smallest type: in the order in which they are wanted, or
    // (inverse) all but those, in the order of their names. Returns the bytes that they take.
    size_t aux(int64_t i) {
        if (inverse_)
            found_.clear();
        else
            std::fill(found_.begin(), found_.end(), Field{0, nullptr, nullptr});
        each_field(in_.tags.begin(i), in_.tags.end(i), i, in_.tags.values, [&](const uint8_t *p, const uint8_t *next) {
            const uint16_t tag = field_tag(p);
            const auto place = std::find(wanted_.begin(), wanted_.end(), tag);
            if (inverse_ && place == wanted_.end() && legal(p[0]) && legal(p[1])) found_.push_back({tag, p, next});
            if (!inverse_ && place != wanted_.end()) found_[(size_t)(place - wanted_.begin())] = {tag, p, next};
            return true;
        });
        if (inverse_) sort_fields();
        // No field grows when its integer is packed.
        if (buffer_.size() < (size_t)in_.tags.size(i)) buffer_.resize((size_t)in_.tags.size(i));
        uint8_t *end = buffer_.data();
        for (const Field &field : found_) {
            int64_t value;
            if (!field.begin) continue;
            if (field_integer(field.begin, value))
                end = store_integer(store(end, field.tag), value);
            else
                end = std::copy(field.begin, field.end, end);
        }
        return (size_t)(end - buffer_.data());
    }

    // Stable, for equal names must stay in their order. There are few fields as a rule, so by insertion.
    void sort_fields() {
        if (found_.size() > 64) {
            std::stable_sort(found_.begin(), found_.end(),
                             [](const Field &a, const Field &b) { return a.letters() < b.letters(); });
            return;
        }
        for (size_t k = 1; k < found_.size(); k++) {
            const Field field = found_[k];
            size_t at = k;
            for (; at && found_[at - 1].letters() > field.letters(); at--) found_[at] = found_[at - 1];
            found_[at] = field;
        }
    }

    static bool legal(uint8_t letter) { return letter >= '0' && letter <= 'z'; }
};

// Counts the records of a row into another one.
void add(uint64_t *to, const uint64_t *row) {
    to[0] += row[0];
    for (int64_t k = 1; k < columns; k++) to[k] = times(to[k] % prime, row[k]) % prime;
}

}  // namespace

void record_crcs(nb::tuple arrays, bool reverse, Out<uint32_t> crcs) {
    const Records<false> in(arrays);
    nb::gil_scoped_release unlocked;
    require((int64_t)crcs.size() == parts * in.count, "crcs are not three numbers for each record");
    PartHasher hasher(in, reverse);
    for (int64_t i = 0; i < in.count; i++) {
        require(!in.qualities.size(i) || in.qualities.size(i) == in.bases.size(i), "bases and qualities differ in length", i);
        hasher.hash(i, crcs.data() + parts * i);
    }
}

void checksum(nb::tuple arrays, In<uint32_t> crcs, In<int64_t> groups, Out<uint64_t> sums, int64_t flag_mask,
              int64_t exclude, In<uint8_t> tags, bool inverse, int wanted) {
    const Records<false> in(arrays);
    nb::gil_scoped_release unlocked;
    require((int64_t)groups.size() == in.count, "groups and records differ in number");
    require((int64_t)crcs.size() == parts * in.count, "crcs are not three numbers for each record");
    require(sums.size() % (rows * columns) == 0, "sums are not 24 numbers for each group");
    require(wanted == 4 || wanted == 5 || wanted == columns, "columns are not 4, 5 or 8");
    const int64_t count = (int64_t)sums.size() / (rows * columns);
    // Those that pass and those that fail of each group; all are both.
    std::vector<uint64_t> found((size_t)(count * 2 * columns), 1);
    for (int64_t row = 0; row < count * 2; row++) found[(size_t)(row * columns)] = 0;
    Hasher hasher(in, (uint16_t)flag_mask, tags, inverse);
    for (int64_t i = 0; i < in.count; i++) {
        if (in.flag[i] & exclude) continue;
        const int64_t group = groups.data()[i];
        require(group >= 0 && group < count, "group is out of range", i);
        uint32_t crc[columns - 1];
        hasher.hash(i, crcs.data() + parts * i, wanted - 1, crc);
        uint64_t *row = found.data() + (group * 2 + (in.flag[i] & flags::qc_fail ? 1 : 0)) * columns;
        row[0]++;
        for (int64_t k = 1; k < wanted; k++) row[k] = times(row[k], factor(crc[k - 1]));
    }
    for (int64_t group = 0; group < count; group++) {
        const uint64_t *pass = found.data() + group * 2 * columns, *fail = pass + columns;
        uint64_t *all = sums.data() + group * rows * columns;
        add(all, pass);
        add(all, fail);
        add(all + columns, pass);
        add(all + 2 * columns, fail);
    }
}

uint64_t span_product(In<uint8_t> values, In<int64_t> offsets) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    uint64_t product = 1;
    for (size_t i = 0; i + 1 < offsets.size(); i++) {
        const int64_t start = offsets.data()[i], end = offsets.data()[i + 1];
        product = product * factor(crc32(0, values.data() + start, (size_t)(end - start))) % prime;
    }
    return product;
}

uint32_t crc32_of(In<uint8_t> data, uint32_t crc, bool portable) {
    nb::gil_scoped_release unlocked;
    return portable ? crc32_portable(crc, data.data(), data.size()) : crc32(crc, data.data(), data.size());
}

void bind_checksum(nb::module_ &m) {
    m.def("record_crcs", &record_crcs, nb::arg("records"), nb::arg("reverse"), nb::arg("crcs").noconvert());
    m.def("checksum", &checksum, nb::arg("records"), nb::arg("crcs").noconvert(), nb::arg("groups").noconvert(),
          nb::arg("sums").noconvert(), nb::arg("flag_mask"), nb::arg("exclude"), nb::arg("tags").noconvert(),
          nb::arg("inverse"), nb::arg("columns"));
    m.def("span_product", &span_product, nb::arg("values").noconvert(), nb::arg("offsets").noconvert());
    m.def("crc32", &crc32_of, nb::arg("data").noconvert(), nb::arg("crc") = 0, nb::arg("portable") = false);
}

}  // namespace agd
