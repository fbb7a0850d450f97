#include "common.hpp"

namespace agd {

void bind_checksum(nb::module_ &) {}

}  // namespace agd
