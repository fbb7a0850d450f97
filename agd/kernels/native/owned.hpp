// Arrays that a kernel makes itself, for those that cannot know how much they will write.
#pragma once

#include "common.hpp"

#include <vector>

namespace agd {

// A numpy array that owns the values of a vector.
template <class T> nb::object owned(std::vector<T> &&values) {
    auto *kept = new std::vector<T>(std::move(values));
    nb::capsule owner(kept, [](void *p) noexcept { delete (std::vector<T> *)p; });
    kept->reserve(1);  // an address even where there are no values
    return nb::cast(nb::ndarray<nb::numpy, T, nb::ndim<1>>(kept->data(), {kept->size()}, owner));
}

}  // namespace agd
