// Order-independent checksums of records, those of `samtools checksum`; see reference/checksum.py for the contract.
#include "crc32.hpp"
#include "nucleotides.hpp"
#include "tags.hpp"

#include <algorithm>
#include <vector>

namespace agd {

namespace {

constexpr uint64_t prime = 0x7fffffff;
constexpr int64_t columns = 8, rows = 3;  // count, seq, name, qual, aux, pos, cigar, mate; all, pass, fail

// The CRC as a factor: 0 is none, and the prime is 0.
uint64_t factor(uint32_t crc) {
    const uint64_t value = crc & prime;
    return value == 0 || value == prime ? 1 : value;
}

struct Field {
    uint16_t tag;
    const uint8_t *begin, *end;
    // Order of the two letters as they are read.
    int letters() const { return (tag & 0xff) << 8 | tag >> 8; }
};

class Hasher {
  public:
    Hasher(const Records<false> &in, uint16_t flag_mask, bool reverse, const In<uint8_t> &tags, bool inverse)
        : in_(in), flag_mask_(flag_mask), reverse_(reverse), inverse_(inverse) {
        require(tags.size() % 2 == 0, "tags are not pairs of letters");
        for (size_t k = 0; k < tags.size(); k += 2) wanted_.push_back(load<uint16_t>(tags.data() + k));
        found_.resize(wanted_.size());
    }

    // CRCs of seq, name, qual, aux, pos, cigar and mate; the last three only if asked.
    void hash(int64_t i, bool placed, uint32_t crcs[columns - 1]) {
        const int64_t length = in_.bases.size(i);
        const bool turned = reverse_ && in_.flag[i] & flags::reverse;
        bases(i, length, turned);
        const uint32_t seq = crc32(0, buffer_.data(), (size_t)length + 1);
        crcs[0] = seq;
        static const uint8_t star[] = {'*', 0}, zero = 0;
        const int64_t name = in_.names.size(i);
        const uint32_t named = name ? crc32(crc32(0, in_.names.begin(i), (size_t)name), &zero, 1) : crc32(0, star, 2);
        crcs[1] = crc32(named, buffer_.data(), (size_t)length + 1);
        crcs[2] = crc32(seq, qualities(i, length, turned), (size_t)length);
        aux(i);
        crcs[3] = crc32(seq, buffer_.data(), buffer_.size());
        if (!placed) return;
        uint8_t fixed[20];
        uint8_t *end = store(store(fixed, in_.reference[i]), in_.position[i]);
        crcs[4] = crc32(seq, fixed, (size_t)(end - fixed));
        end = store(fixed, (uint32_t)in_.mapping_quality[i]);
        crcs[5] = crc32(crc32(seq, fixed, 4), (const uint8_t *)in_.cigar.begin(i), 4 * (size_t)in_.cigar.size(i));
        end = store(store(store(fixed, in_.mate_reference[i]), in_.mate_position[i]), in_.template_length[i]);
        crcs[6] = crc32(seq, fixed, (size_t)(end - fixed));
    }

  private:
    const Records<false> &in_;
    const uint16_t flag_mask_;
    const bool reverse_, inverse_;
    std::vector<uint16_t> wanted_;
    std::vector<Field> found_;
    std::vector<uint8_t> buffer_;  // the bytes that a CRC is taken of

    // The low byte of the flag, then the letters that BAM would hold, as sequenced.
    void bases(int64_t i, int64_t length, bool turned) {
        buffer_.resize((size_t)length + 1);
        buffer_[0] = (uint8_t)(in_.flag[i] & flag_mask_);
        const uint8_t *from = in_.bases.begin(i);
        uint8_t *to = buffer_.data() + 1;
        if (turned)
            for (int64_t k = 0; k < length; k++) to[k] = folded_complements[from[length - 1 - k]];
        else
            for (int64_t k = 0; k < length; k++) to[k] = folded_bases[from[k]];
    }

    const uint8_t *qualities(int64_t i, int64_t length, bool turned) {
        const uint8_t *from = in_.qualities.begin(i);
        if (in_.qualities.size(i) && !turned) return from;
        buffer_.resize((size_t)std::max<int64_t>(length, 1));
        if (in_.qualities.size(i))
            std::reverse_copy(from, from + length, buffer_.data());
        else
            std::fill(buffer_.begin(), buffer_.end(), (uint8_t)' ');  // 0xff + 33, modulo 256
        return buffer_.data();
    }

    // The wanted fields, integers in their smallest type: in the order in which they are wanted, or (inverse) all but
    // those, in the order of their names.
    void aux(int64_t i) {
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
        if (inverse_)
            std::stable_sort(found_.begin(), found_.end(),
                             [](const Field &a, const Field &b) { return a.letters() < b.letters(); });
        buffer_.clear();
        for (const Field &field : found_) {
            if (!field.begin) continue;
            int64_t value;
            if (field_integer(field.begin, value)) {
                uint8_t packed[7];
                uint8_t *end = store_integer(store(packed, field.tag), value);
                buffer_.insert(buffer_.end(), +packed, end);
            } else {
                buffer_.insert(buffer_.end(), field.begin, field.end);
            }
        }
    }

    static bool legal(uint8_t letter) { return letter >= '0' && letter <= 'z'; }
};

}  // namespace

void checksum(nb::tuple arrays, In<int64_t> groups, Out<uint64_t> sums, int64_t flag_mask, int64_t exclude,
              bool reverse, In<uint8_t> tags, bool inverse, bool placed) {
    const Records<false> in(arrays);
    nb::gil_scoped_release unlocked;
    require((int64_t)groups.size() == in.count, "groups and records differ in number");
    require(sums.size() % (rows * columns) == 0, "sums are not 24 numbers for each group");
    const int64_t count = (int64_t)sums.size() / (rows * columns);
    Hasher hasher(in, (uint16_t)flag_mask, reverse, tags, inverse);
    for (int64_t i = 0; i < in.count; i++) {
        if (in.flag[i] & exclude) continue;
        const int64_t group = groups.data()[i];
        require(group >= 0 && group < count, "group is out of range", i);
        require(!in.qualities.size(i) || in.qualities.size(i) == in.bases.size(i), "bases and qualities differ in length", i);
        uint32_t crcs[columns - 1];
        hasher.hash(i, placed, crcs);
        uint64_t *all = sums.data() + group * rows * columns;
        uint64_t *part = all + (in.flag[i] & flags::qc_fail ? 2 : 1) * columns;
        all[0]++;
        part[0]++;
        for (int64_t k = 1; k < (placed ? columns : 5); k++) {
            const uint64_t by = factor(crcs[k - 1]);
            all[k] = all[k] % prime * by % prime;
            part[k] = part[k] % prime * by % prime;
        }
    }
}

uint32_t crc32_of(In<uint8_t> data, uint32_t crc, bool portable) {
    nb::gil_scoped_release unlocked;
    return portable ? crc32_portable(crc, data.data(), data.size()) : crc32(crc, data.data(), data.size());
}

void bind_checksum(nb::module_ &m) {
    m.def("checksum", &checksum, nb::arg("records"), nb::arg("groups").noconvert(), nb::arg("sums").noconvert(),
          nb::arg("flag_mask"), nb::arg("exclude"), nb::arg("reverse"), nb::arg("tags").noconvert(), nb::arg("inverse"),
          nb::arg("placed"));
    m.def("crc32", &crc32_of, nb::arg("data").noconvert(), nb::arg("crc") = 0, nb::arg("portable") = false);
}

}  // namespace agd
