#include "common.hpp"

namespace agd {

void bind_order(nb::module_ &) {}

}  // namespace agd
