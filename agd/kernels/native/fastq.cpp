#include "common.hpp"

namespace agd {

void bind_fastq(nb::module_ &) {}

}  // namespace agd
