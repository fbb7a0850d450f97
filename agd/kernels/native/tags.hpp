// Aux fields as BAM holds them (SAM specification, section 4.2.4): tag (2 bytes), type (1), value.
#pragma once

#include "records.hpp"

#include <bit>

namespace agd {

inline int array_item_size(uint8_t subtype) {
    switch (subtype) {
    case 'c': case 'C': return 1;
    case 's': case 'S': return 2;
    case 'i': case 'I': case 'f': return 4;
    default: return 0;
    }
}

// The first zero of [p, end), or null; texts are mostly short.
inline const uint8_t *find_zero(const uint8_t *p, const uint8_t *end) {
    for (int words = 0; words < 4 && end - p >= 8; words++, p += 8) {
        const uint64_t x = load<uint64_t>(p), zeros = (x - 0x0101010101010101) & ~x & 0x8080808080808080;
        if (zeros) return p + std::countr_zero(zeros) / 8;
    }
    return p < end ? (const uint8_t *)std::memchr(p, 0, (size_t)(end - p)) : nullptr;
}

// End of the field that begins at p, or null if it does not parse within [p, end).
inline const uint8_t *field_end(const uint8_t *p, const uint8_t *end) {
    const int64_t left = end - p;
    if (left < 4) return nullptr;
    int64_t size;
    switch (p[2]) {
    case 'A': case 'c': case 'C': return p + 4;
    case 's': case 'S': size = 5; break;
    case 'i': case 'I': case 'f': size = 7; break;
    case 'd': size = 11; break;  // never in the specification, but htslib has always read and written it
    case 'Z': case 'H': {
        const uint8_t *zero = find_zero(p + 3, end);
        return zero ? zero + 1 : nullptr;
    }
    case 'B': {
        if (left < 8) return nullptr;
        const int item = array_item_size(p[3]);
        if (!item) return nullptr;
        size = 8 + (int64_t)load<uint32_t>(p + 4) * item;
        break;
    }
    default: return nullptr;
    }
    return size <= left ? p + size : nullptr;
}

constexpr const char *bad_tags = "tags do not parse";

// Calls visit(begin, end) for each field; raises if one does not parse. visit returns false to stop.
template <class Visit>
inline void each_field(const uint8_t *p, const uint8_t *end, int64_t record, const uint8_t *origin, Visit visit) {
    while (p < end) {
        const uint8_t *next = field_end(p, end);
        if (!next) throw KernelError(bad_tags, record, p - origin);
        if (!visit(p, next)) return;
        p = next;
    }
}

inline uint16_t field_tag(const uint8_t *field) { return load<uint16_t>(field); }
constexpr uint16_t tag_id(char a, char b) { return (uint16_t)((uint8_t)a | (uint8_t)b << 8); }

// Value of a field of integer type; false if it is of another type.
inline bool field_integer(const uint8_t *field, int64_t &value) {
    switch (field[2]) {
    case 'c': value = (int8_t)field[3]; return true;
    case 'C': value = field[3]; return true;
    case 's': value = load<int16_t>(field + 3); return true;
    case 'S': value = load<uint16_t>(field + 3); return true;
    case 'i': value = load<int32_t>(field + 3); return true;
    case 'I': value = load<uint32_t>(field + 3); return true;
    default: return false;
    }
}

// Writes type and value of an integer in the smallest type, as htslib does; value from -2^31 to 2^32 - 1.
inline uint8_t *store_integer(uint8_t *out, int64_t value) {
    if (value < 0) {
        if (value >= INT8_MIN) return *out = 'c', store(out + 1, (int8_t)value);
        if (value >= INT16_MIN) return *out = 's', store(out + 1, (int16_t)value);
        return *out = 'i', store(out + 1, (int32_t)value);
    }
    if (value <= UINT8_MAX) return *out = 'C', store(out + 1, (uint8_t)value);
    if (value <= UINT16_MAX) return *out = 'S', store(out + 1, (uint16_t)value);
    return *out = 'I', store(out + 1, (uint32_t)value);
}

}  // namespace agd
