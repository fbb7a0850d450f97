// What the codecs of alignments and tags need: finding mates, numbers for equal CIGARs, aux fields by tag.
#include "owned.hpp"
#include "tags.hpp"
#include "vector.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace agd {
namespace {

constexpr uint16_t PAIRED = 0x1, NOT_PRIMARY = 0x900;
// Reads that wait for a mate with the same four coordinates are looked through this far.
constexpr int MOST_WAITING = 16;
constexpr size_t AHEAD = 16;

struct Place {
    int32_t reference, mate_reference;
    int64_t position, mate_position;
    bool operator==(const Place &) const = default;
};

// The same for both mates, whose places lie next to each other in the table then.
uint32_t hash_of(const Place &p) {
    const auto mixed = [](int32_t reference, int64_t position) {
        const uint64_t h = ((uint64_t)position ^ (uint64_t)(uint32_t)reference << 32) * 0x9e3779b97f4a7c15;
        return h ^ h >> 29;
    };
    const uint64_t h = (mixed(p.reference, p.position) + mixed(p.mate_reference, p.mate_position)) * 0xc2b2ae3d27d4eb4f;
    return (uint32_t)(h >> 32);
}

// Queues of records that wait for their mates, one for each place; open addressing, at most four fifths full. A place
// keeps its slot when its queue is empty.
class Waiting {
    struct Slot { uint32_t hash = 0; int32_t of = -1, head = -1, tail = -1; };
    std::vector<Slot> slots_;
    size_t mask_;

public:
    explicit Waiting(size_t records) : slots_(std::bit_ceil(records + records / 4 + 2)), mask_(slots_.size() - 1) {}
    void prefetch(uint32_t hash) const { __builtin_prefetch(&slots_[hash & mask_]); }
    // The slot of the records that place(record) says are at a place of this hash, or a free one.
    template <class PlaceOf> Slot &find(const Place &place, uint32_t hash, const PlaceOf &place_of) {
        for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
            Slot &slot = slots_[at];
            if (slot.of < 0) slot.hash = hash;
            if (slot.of < 0 || (slot.hash == hash && place_of(slot.of) == place)) return slot;
        }
    }
};

int64_t link_mates(In<uint16_t> flag, In<int32_t> reference, In<int64_t> position, In<int32_t> mate_reference,
                   In<int64_t> mate_position, Out<int32_t> mates) {
    nb::gil_scoped_release unlocked;
    const size_t n = flag.size();
    require(n < INT32_MAX && reference.size() == n && position.size() == n && mate_reference.size() == n &&
                mate_position.size() == n && mates.size() == n,
            "arrays of records differ in length");
    const auto place_of = [&](int64_t i) {
        return Place{reference.data()[i], mate_reference.data()[i], position.data()[i], mate_position.data()[i]};
    };
    Waiting waiting(n);
    std::vector<int32_t> next(n, -1);
    std::array<uint32_t, AHEAD> hashes;  // of the records that come next, whose slots are asked for before
    int64_t linked = 0;
    const auto announce = [&](size_t i) {
        if (i < n) waiting.prefetch(hashes[i % AHEAD] = hash_of(place_of((int64_t)i)));
    };
    for (size_t i = 0; i < AHEAD; i++) announce(i);
    for (size_t i = 0; i < n; i++) {
        const uint32_t hash = hashes[i % AHEAD];
        announce(i + AHEAD);
        mates.data()[i] = -1;
        const uint16_t f = flag.data()[i];
        if (!(f & PAIRED) || f & NOT_PRIMARY) continue;
        const Place own = place_of((int64_t)i), mate{own.mate_reference, own.reference, own.mate_position, own.position};
        auto &queue = waiting.find(mate, hash, place_of);
        int32_t before = -1, at = queue.head;
        for (int tried = 0; at >= 0; before = at, at = next[(size_t)at]) {
            if (((mate_flag(flag.data()[at]) ^ f) & 0xff) == 0) break;
            if (++tried == MOST_WAITING) { at = -1; break; }
        }
        if (at >= 0) {
            mates.data()[at] = (int32_t)i;
            mates.data()[i] = at;
            linked++;
            const int32_t after = next[(size_t)at];
            (before >= 0 ? next[(size_t)before] : queue.head) = after;
            if (after < 0) queue.tail = before;
            continue;
        }
        auto &places = waiting.find(own, hash, place_of);
        if (places.of < 0) places.of = (int32_t)i;
        (places.tail >= 0 ? next[(size_t)places.tail] : places.head) = (int32_t)i;
        places.tail = (int32_t)i;
    }
    return linked;
}

nb::tuple number_cigars(In<uint32_t> cigar, In<int64_t> offsets, Out<int64_t> codes) {
    std::vector<int64_t> firsts, counts;
    {
        nb::gil_scoped_release unlocked;
        check_offsets(offsets.data(), offsets.size(), (int64_t)cigar.size(), "offsets outside of the CIGARs");
        require(codes.size() + 1 == offsets.size(), "codes and CIGARs differ in number");
        std::unordered_map<std::string_view, int64_t> known;
        std::string_view last;
        int64_t last_code = -1;
        for (size_t i = 0; i < codes.size(); i++) {
            const int64_t *o = offsets.data() + i;
            const std::string_view text((const char *)(cigar.data() + o[0]), (size_t)(o[1] - o[0]) * 4);
            if (last_code < 0 || text != last) {
                const auto [entry, fresh] = known.try_emplace(text, (int64_t)known.size());
                if (fresh) firsts.push_back((int64_t)i), counts.push_back(0);
                last_code = entry->second;
                last = text;
            }
            codes.data()[i] = last_code;
            counts[(size_t)last_code]++;
        }
    }
    return nb::make_tuple(owned(std::move(firsts)), owned(std::move(counts)));
}

// Names and types of the fields of a record, three bytes each. The type '*' stands for a field that has no value here.
inline const uint8_t *any_field_end(const uint8_t *p, const uint8_t *end) {
    if (end - p >= 3 && p[2] == '*') return p + 3;
    return field_end(p, end);
}

// Bytes that come one after the other.
struct Grown {
    std::vector<uint8_t> bytes;
    uint8_t *data = nullptr;  // of `bytes`, which are some more than there are yet
    size_t size = 0, room = 0;

    AGD_INLINE void append(const uint8_t *from, size_t n, const uint8_t *readable, double done) {
        if (room - size < n + 16) grow(n, done);
        // What is written too far is written again by what follows.
        if (n <= 16 && readable - from >= 16) std::memcpy(data + size, from, 16);
        else std::memcpy(data + size, from, n);
        size += n;
    }

    // How much there was when the share `done` of all has come tells how much room to make.
    void grow(size_t n, double done) {
        room = std::max(size + size / 8, (size_t)((double)size / done * 1.05)) + n + 64;
        bytes.resize(room);
        data = bytes.data();
    }
};

// A field of a record: its value.
struct Field { const uint8_t *value; size_t size; };

// Fields that records have one after the other.
struct Line {
    struct Head {
        uint32_t name;  // with the type, three bytes
        int size;       // of the value, or TEXT or OTHER
        size_t key;
    };
    static constexpr int TEXT = -1, OTHER = -2;
    std::vector<Head> heads;

    void add(const char *name, size_t key) {
        int size = OTHER;
        switch (name[2]) {
        case '*': size = 0; break;
        case 'A': case 'c': case 'C': size = 1; break;
        case 's': case 'S': size = 2; break;
        case 'i': case 'I': case 'f': size = 4; break;
        case 'd': size = 8; break;
        case 'Z': case 'H': size = TEXT; break;
        }
        heads.push_back({(uint32_t)(uint8_t)name[0] | (uint32_t)(uint8_t)name[1] << 8 | (uint32_t)(uint8_t)name[2] << 16, size, key});
    }

    // Finds the fields of a record that has these and no others; false where it has not, or where they do not parse.
    // Nothing is read from `readable` on.
    AGD_INLINE bool find(const uint8_t *p, const uint8_t *end, const uint8_t *readable, Field *found) const {
        for (const Head &head : heads) {
            if (end - p < 4 || (load<uint32_t>(p) & 0xFFFFFF) != head.name) return false;
            const uint8_t *next = p + 3 + head.size;
            if (head.size == TEXT) {
                const uint8_t *zero = find_zero(p + 3, readable);
                if (!zero) return false;
                next = zero + 1;
            } else if (head.size == OTHER) {
                next = field_end(p, end);
                if (!next) return false;
            }
            if (next > end) return false;
            *found++ = {p + 3, (size_t)(next - p - 3)};
            p = next;
        }
        return p == end;
    }
};

nb::tuple tag_split(In<uint8_t> tags, In<int64_t> offsets, Out<uint32_t> codes) {
    std::vector<std::string> texts, keys;
    std::vector<int64_t> counts;
    std::vector<Grown> streams;
    {
        nb::gil_scoped_release unlocked;
        check_offsets(offsets.data(), offsets.size(), (int64_t)tags.size(), "offsets outside of the tags");
        require(codes.size() + 1 == offsets.size(), "codes and tags differ in number");
        std::unordered_map<std::string, uint32_t> known;
        std::unordered_map<std::string, size_t> key_index;
        std::vector<Line> lines;
        std::vector<Field> found;
        std::string text;
        uint32_t code = 0;
        const uint8_t *const readable = tags.data() + tags.size();
        for (size_t i = 0; i < codes.size(); i++) {
            const uint8_t *p = tags.data() + offsets.data()[i], *end = tags.data() + offsets.data()[i + 1];
            // Most records have the line of the one before.
            if (lines.empty() || !lines[code].find(p, end, readable, found.data())) {
                text.clear(), found.clear();
                while (p < end) {
                    const uint8_t *next = any_field_end(p, end);
                    if (!next) throw KernelError(bad_tags, (int64_t)i, p - tags.data());
                    text.append((const char *)p, 3);
                    found.push_back({p + 3, (size_t)(next - p - 3)});
                    p = next;
                }
                const auto [entry, fresh] = known.try_emplace(text, (uint32_t)texts.size());
                code = entry->second;
                if (fresh) {
                    texts.push_back(text), counts.push_back(0);
                    lines.emplace_back();
                    for (size_t k = 0; k < text.size(); k += 3) {
                        const auto [key, unseen] = key_index.try_emplace(text.substr(k, 3), keys.size());
                        if (unseen) keys.push_back(text.substr(k, 3)), streams.emplace_back();
                        lines.back().add(text.data() + k, key->second);
                    }
                }
            }
            codes.data()[i] = code, counts[code]++;
            const double done = (double)(i + 1) / (double)codes.size();
            const Field *field = found.data();
            for (const Line::Head &head : lines[code].heads) {
                streams[head.key].append(field->value, field->size, readable, done);
                field++;
            }
        }
    }
    nb::list line_list, key_list, stream_list;
    for (const std::string &line : texts) line_list.append(nb::bytes(line.data(), line.size()));
    for (const std::string &key : keys) key_list.append(nb::bytes(key.data(), key.size()));
    for (Grown &stream : streams) {
        stream.bytes.resize(stream.size);
        stream_list.append(owned(std::move(stream.bytes)));
    }
    return nb::make_tuple(line_list, owned(std::move(counts)), key_list, stream_list);
}

// Lines, and one array of values for each key, as kernels are given them.
struct Streams {
    struct Stream { const uint8_t *begin, *at, *end; };
    std::vector<Line> lines;
    std::vector<Stream> streams;

    Streams(nb::list line_list, nb::list key_list, nb::list arrays) {
        require(key_list.size() == arrays.size(), "keys and streams differ in number");
        std::unordered_map<std::string, size_t> key_index;
        for (size_t k = 0; k < key_list.size(); k++) {
            const std::string key = text(key_list[k]);
            require(key.size() == 3 && key_index.try_emplace(key, k).second, "keys are not three bytes, each once");
            nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu> array;
            require(nb::try_cast(arrays[k], array, false), "a stream is not an array of bytes");
            streams.push_back({array.data(), array.data(), array.data() + array.size()});
        }
        for (size_t l = 0; l < line_list.size(); l++) {
            const std::string names = text(line_list[l]);
            require(names.size() % 3 == 0, "a line of tags is not made of keys");
            lines.emplace_back();
            for (size_t k = 0; k < names.size(); k += 3) {
                auto key = key_index.find(names.substr(k, 3));
                require(key != key_index.end(), "a line of tags names a key without a stream");
                lines.back().add(names.data() + k, key->second);
            }
        }
    }

    static std::string text(nb::handle object) {
        nb::bytes bytes;
        require(nb::try_cast(object, bytes, false), "not bytes");
        return std::string(bytes.c_str(), bytes.size());
    }

    const Line &line(uint32_t code, size_t record) const {
        require(code < lines.size(), "there is no such line of tags", (int64_t)record);
        return lines[code];
    }
};

// Bytes of the value of a field at `at`; raises where it does not fit.
AGD_INLINE size_t value_size(const Line::Head &head, const uint8_t *at, const uint8_t *end, size_t record) {
    size_t size = (size_t)head.size;
    if (head.size == Line::TEXT) {
        const uint8_t *zero = find_zero(at, end);
        require(zero, "stream of a tag ends too early", (int64_t)record);
        return (size_t)(zero - at) + 1;
    }
    if (head.size == Line::OTHER) {
        require(head.name >> 16 == 'B', "tag of a type that is not known", (int64_t)record);
        require(end - at >= 5, "stream of a tag ends too early", (int64_t)record);
        const int item = array_item_size(at[0]);
        require(item, "array of a type that is not known", (int64_t)record);
        size = 5 + (size_t)load<uint32_t>(at + 1) * (size_t)item;
    }
    require((size_t)(end - at) >= size, "stream of a tag ends too early", (int64_t)record);
    return size;
}

void tag_join(In<uint32_t> codes, nb::list lines, nb::list keys, nb::list streams, Out<uint8_t> out,
              Out<int64_t> offsets) {
    Streams s(lines, keys, streams);
    nb::gil_scoped_release unlocked;
    require(codes.size() + 1 == offsets.size(), "codes and offsets differ in number");
    size_t total = 0;
    for (const auto &stream : s.streams) total += (size_t)(stream.end - stream.begin);
    for (size_t i = 0; i < codes.size(); i++) total += 3 * s.line(codes.data()[i], i).heads.size();
    // So much is written if all streams are used up, and never more.
    require(total == out.size(), "room of the output is not the size of the records");
    uint8_t *p = out.data(), *const end = p + total;
    offsets.data()[0] = 0;
    for (size_t i = 0; i < codes.size(); i++) {
        for (const Line::Head &head : s.lines[codes.data()[i]].heads) {
            auto &stream = s.streams[head.key];
            const size_t size = value_size(head, stream.at, stream.end, i);
            std::memcpy(p, &head.name, 3);
            p += 3;
            // What is written too far is written again by the fields that follow.
            if (size <= 16 && end - p >= 16 && stream.end - stream.at >= 16) std::memcpy(p, stream.at, 16);
            else std::memcpy(p, stream.at, size);
            stream.at += size, p += size;
        }
        offsets.data()[i + 1] = p - out.data();
    }
    for (const auto &stream : s.streams) require(stream.at == stream.end, "stream of a tag is longer than its records");
}

}  // namespace

void bind_streams(nb::module_ &m) {
    m.def("link_mates", &link_mates, nb::arg("flag"), nb::arg("reference"), nb::arg("position"),
          nb::arg("mate_reference"), nb::arg("mate_position"), nb::arg("mates").noconvert());
    m.def("number_cigars", &number_cigars, nb::arg("cigar"), nb::arg("cigar_offsets"), nb::arg("codes").noconvert());
    m.def("tag_split", &tag_split, nb::arg("tags"), nb::arg("offsets"), nb::arg("codes").noconvert());
    m.def("tag_join", &tag_join, nb::arg("codes"), nb::arg("lines"), nb::arg("keys"), nb::arg("streams"),
          nb::arg("out").noconvert(), nb::arg("offsets").noconvert());
}

}  // namespace agd
