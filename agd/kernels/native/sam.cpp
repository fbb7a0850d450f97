#include "common.hpp"

namespace agd {

void bind_sam(nb::module_ &) {}

}  // namespace agd
