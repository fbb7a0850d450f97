#include "common.hpp"

namespace agd {

void bind_difference(nb::module_ &) {}

}  // namespace agd
