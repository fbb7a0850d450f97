// Integers as one stream of bytes for each of their bytes, the sign folded into the lowest bit (spec/streams.md).
#include "simd.hpp"
#include "vector.hpp"

#include <array>
#include <bit>
#include <vector>

namespace agd {
namespace {

constexpr int64_t PART = 512;  // numbers that are handled at a time

AGD_INLINE uint64_t fold(int64_t x) { return (uint64_t)x << 1 ^ (uint64_t)(x >> 63); }
AGD_INLINE int64_t unfold(uint64_t x) { return (int64_t)(x >> 1) ^ -(int64_t)(x & 1); }

// How many bits the largest number takes.
int folded_bits(In<int64_t> values, bool sign) {
    nb::gil_scoped_release unlocked;
    const int64_t *p = values.data(), n = (int64_t)values.size();
    const uint64_t all = vectorised([&]() AGD_INLINED {
        uint64_t bits = 0;
        if (sign)
            for (int64_t i = 0; i < n; i++) bits |= fold(p[i]);
        else
            for (int64_t i = 0; i < n; i++) bits |= (uint64_t)p[i];
        return bits;
    });
    return std::bit_width(all);
}

template <class Byte> using Planes = std::vector<nb::ndarray<Byte, nb::ndim<1>, nb::c_contig, nb::device::cpu>>;

template <class Byte> Planes<Byte> planes_of(nb::list list) {
    Planes<Byte> planes(list.size());
    for (size_t k = 0; k < list.size(); k++) require(nb::try_cast(list[k], planes[k], false), "a plane is not an array of bytes");
    require(planes.size() <= 8, "more than eight planes");
    return planes;
}

// The lowest byte of every number to the first plane, and so on.
void planes_split(In<int64_t> values, bool sign, nb::list list) {
    const auto planes = planes_of<uint8_t>(list);
    nb::gil_scoped_release unlocked;
    const int64_t *p = values.data(), n = (int64_t)values.size();
    for (const auto &plane : planes) require((int64_t)plane.size() == n, "planes and numbers differ in length");
    vectorised([&]() AGD_INLINED {
        std::array<uint64_t, PART> folded;
        for (int64_t start = 0; start < n; start += PART) {
            const int64_t count = std::min(PART, n - start);
            for (int64_t i = 0; i < count; i++) folded[(size_t)i] = sign ? fold(p[start + i]) : (uint64_t)p[start + i];
            for (size_t k = 0; k < planes.size(); k++) {
                uint8_t *to = planes[k].data() + start;
                for (int64_t i = 0; i < count; i++) to[i] = (uint8_t)(folded[(size_t)i] >> (8 * k));
            }
        }
        return 0;
    });
}

// The inverse; a plane without bytes is all zeros. False where a number is beyond -largest - 1 … largest.
bool planes_join(nb::list list, bool sign, int64_t largest, Out<int64_t> out) {
    const auto planes = planes_of<const uint8_t>(list);
    nb::gil_scoped_release unlocked;
    int64_t *to = out.data();
    const int64_t n = (int64_t)out.size();
    for (const auto &plane : planes)
        require(plane.size() == 0 || (int64_t)plane.size() == n, "planes and numbers differ in length");
    require(largest >= 0, "the largest number is negative");
    const uint64_t most = vectorised([&]() AGD_INLINED {
        std::array<uint64_t, PART> folded;
        uint64_t greatest = 0;
        for (int64_t start = 0; start < n; start += PART) {
            const int64_t count = std::min(PART, n - start);
            folded.fill(0);
            for (size_t k = 0; k < planes.size(); k++) {
                if (planes[k].size() == 0) continue;
                const uint8_t *from = planes[k].data() + start;
                for (int64_t i = 0; i < count; i++) folded[(size_t)i] |= (uint64_t)from[i] << (8 * k);
            }
            for (int64_t i = 0; i < count; i++) greatest = std::max(greatest, folded[(size_t)i]);
            if (sign)
                for (int64_t i = 0; i < count; i++) to[start + i] = unfold(folded[(size_t)i]);
            else
                for (int64_t i = 0; i < count; i++) to[start + i] = (int64_t)folded[(size_t)i];
        }
        return greatest;
    });
    return (sign ? most >> 1 : most) <= (uint64_t)largest;
}

}  // namespace

void bind_planes(nb::module_ &m) {
    const auto values = nb::arg("values").noconvert();
    const auto sign = nb::arg("signed");
    m.def("folded_bits", &folded_bits, values, sign);
    m.def("planes_split", &planes_split, values, sign, nb::arg("planes"));
    m.def("planes_join", &planes_join, nb::arg("planes"), sign, nb::arg("largest"), nb::arg("out").noconvert());
}

}  // namespace agd
