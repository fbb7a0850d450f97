// Types, checks and the error that every native kernel shares.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace nb = nanobind;

namespace agd {

// 1-D, C-contiguous, on the CPU. In: read only. Out: written by the kernel, owned by the caller.
template <class T> using In = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Out = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Bad input; becomes agd.errors.KernelError(reason, record, offset). -1: not known.
struct KernelError : std::runtime_error {
    int64_t record, offset;
    explicit KernelError(const std::string &reason, int64_t record = -1, int64_t offset = -1)
        : std::runtime_error(reason), record(record), offset(offset) {}
};

inline void require(bool ok, const char *reason, int64_t record = -1, int64_t offset = -1) {
    if (!ok) throw KernelError(reason, record, offset);
}

// Offsets of n records into `size` values: never decreasing, within bounds.
inline void check_offsets(const int64_t *offsets, size_t count, int64_t size, const char *what) {
    require(count >= 1, what);
    int64_t previous = offsets[0];
    require(previous >= 0, what, 0);
    for (size_t i = 1; i < count; i++) {
        require(offsets[i] >= previous, what, (int64_t)i - 1);
        previous = offsets[i];
    }
    require(previous <= size, what, (int64_t)count - 2);
}

}  // namespace agd
