#include "common.hpp"

namespace agd {

void bind_bam(nb::module_ &) {}

}  // namespace agd
