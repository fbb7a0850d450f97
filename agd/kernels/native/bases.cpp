#include "common.hpp"

namespace agd {

void bind_bases(nb::module_ &) {}

}  // namespace agd
