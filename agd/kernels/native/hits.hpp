// Bare hits of an aligner as arrays (agd.kernels.hits.Hits), and arrays that a kernel makes itself.
#pragma once

#include "difference.hpp"

#include <vector>

namespace agd {

// Bits of the array `bits`.
enum HitBit : uint8_t { HIT_REVERSE = 1, HIT_PROPER = 2, HIT_SECONDARY = 4, HIT_SUPPLEMENTARY = 8 };

// A numpy array that owns the values of a vector; for kernels that cannot know how much they will write.
template <class T> nb::object owned(std::vector<T> &&values) {
    auto *kept = new std::vector<T>(std::move(values));
    nb::capsule owner(kept, [](void *p) noexcept { delete (std::vector<T> *)p; });
    kept->reserve(1);  // an address even where there are no values
    return nb::cast(nb::ndarray<nb::numpy, T, nb::ndim<1>>(kept->data(), {kept->size()}, owner));
}

}  // namespace agd
