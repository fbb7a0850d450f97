// CRC-32 of zlib and gzip (reflected polynomial 0xedb88320).
#pragma once

#include <cstddef>
#include <cstdint>

namespace agd {

// CRC of the bytes so far and `size` more; 0 to begin with, as zlib's crc32().
uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size);
// The same without carry-less multiplication, which not every processor has.
uint32_t crc32_portable(uint32_t crc, const uint8_t *data, size_t size);

}  // namespace agd
