// The arrays of agd.kernels.records.RecordArrays, checked once and then used as pointers.
#pragma once

#include "common.hpp"

#include <bit>
#include <type_traits>

static_assert(std::endian::native == std::endian::little, "BAM is little-endian and is read and written in place");

namespace agd {

template <class T> inline T load(const uint8_t *at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

template <class T> inline uint8_t *store(uint8_t *at, T value) {
    std::memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

namespace flags {
constexpr uint16_t unmapped = 0x4, reverse = 0x10, qc_fail = 0x200;
}

// The flags that the mate of a primary alignment has: what is said of itself and of its mate exchanged.
constexpr uint16_t mate_flag(uint16_t f) {
    return (uint16_t)((f & 0xff03) | (f & 0x04) << 1 | (f & 0x08) >> 1 | (f & 0x10) << 1 | (f & 0x20) >> 1 |
                      (f & 0x40) << 1 | (f & 0x80) >> 1);
}

constexpr char cigar_letters[] = "MIDNSHP=X";
constexpr uint32_t cigar_codes = 9;
// Bit `code` is set for the operations that consume the read and the reference.
constexpr uint32_t cigar_query = 0x193, cigar_reference = 0x18d;

inline bool consumes(uint32_t set, uint32_t operation) { return set >> (operation & 15) & 1; }

inline int64_t cigar_length(const uint32_t *operations, int64_t count, uint32_t set) {
    int64_t length = 0;
    for (int64_t i = 0; i < count; i++) length += consumes(set, operations[i]) * (int64_t)(operations[i] >> 4);
    return length;
}

template <bool Write> struct Records {
    template <class T> using Item = std::conditional_t<Write, T, const T>;

    template <class T> struct Ragged {
        Item<T> *values;
        Item<int64_t> *offsets;
        int64_t room, used;

        Item<T> *begin(int64_t record) const { return values + offsets[record]; }
        Item<T> *end(int64_t record) const { return values + offsets[record + 1]; }
        int64_t size(int64_t record) const { return offsets[record + 1] - offsets[record]; }
        // Room for `count` more values of `record` (which must be the next one).
        T *append(int64_t record, int64_t count) requires Write {
            require(count <= room - used, "the arrays of the records are too small", record);
            T *at = values + used;
            used += count;
            offsets[record + 1] = used;
            return at;
        }
    };

    int64_t count;  // of records (when writing: that there is room for)
    Item<uint16_t> *flag;
    Item<int32_t> *reference;
    Item<int64_t> *position;
    Item<uint8_t> *mapping_quality;
    Item<int32_t> *mate_reference;
    Item<int64_t> *mate_position, *template_length;
    Ragged<uint8_t> names;
    Ragged<uint32_t> cigar;
    Ragged<uint8_t> bases, qualities, tags;

    explicit Records(const nb::tuple &arrays) {
        require(arrays.size() == 17, "records are not a tuple of 17 arrays");
        count = (int64_t)array<uint16_t>(arrays, 0).size();
        flag = fixed<uint16_t>(arrays, 0);
        reference = fixed<int32_t>(arrays, 1);
        position = fixed<int64_t>(arrays, 2);
        mapping_quality = fixed<uint8_t>(arrays, 3);
        mate_reference = fixed<int32_t>(arrays, 4);
        mate_position = fixed<int64_t>(arrays, 5);
        template_length = fixed<int64_t>(arrays, 6);
        names = ragged<uint8_t>(arrays, 7, "offsets of names outside of the values");
        cigar = ragged<uint32_t>(arrays, 9, "offsets of cigar outside of the values");
        bases = ragged<uint8_t>(arrays, 11, "offsets of bases outside of the values");
        qualities = ragged<uint8_t>(arrays, 13, "offsets of qualities outside of the values");
        tags = ragged<uint8_t>(arrays, 15, "offsets of tags outside of the values");
    }

  private:
    template <class T> using Array = nb::ndarray<Item<T>, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

    template <class T> static Array<T> array(const nb::tuple &arrays, size_t index) {
        Array<T> result;
        if (!nb::try_cast<Array<T>>(arrays[index], result, false))
            throw KernelError("array " + std::to_string(index) +
                              " of the records has the wrong dtype, is not contiguous, or cannot be written to");
        return result;
    }

    template <class T> Item<T> *fixed(const nb::tuple &arrays, size_t index) {
        Array<T> a = array<T>(arrays, index);
        require((int64_t)a.size() == count, "the arrays of the records differ in length");
        return a.data();
    }

    template <class T> Ragged<T> ragged(const nb::tuple &arrays, size_t index, const char *what) {
        Array<T> values = array<T>(arrays, index);
        Array<int64_t> offsets = array<int64_t>(arrays, index + 1);
        require((int64_t)offsets.size() == count + 1, "the arrays of the records differ in length");
        if constexpr (Write)
            offsets.data()[0] = 0;
        else
            check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), what);
        return {values.data(), offsets.data(), (int64_t)values.size(), 0};
    }
};

}  // namespace agd
