// Bare hits of an aligner as arrays (agd.kernels.hits.Hits).
#pragma once

#include "difference.hpp"
#include "owned.hpp"

namespace agd {

// Bits of the array `bits`.
enum HitBit : uint8_t { HIT_REVERSE = 1, HIT_PROPER = 2, HIT_SECONDARY = 4, HIT_SUPPLEMENTARY = 8 };

}  // namespace agd
