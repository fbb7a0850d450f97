#include "common.hpp"

namespace agd {

void bind_alignment(nb::module_ &) {}

}  // namespace agd
