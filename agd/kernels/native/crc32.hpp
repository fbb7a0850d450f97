// CRC-32 of zlib and gzip (reflected polynomial 0xedb88320).
#pragma once

#include <cstddef>
#include <cstdint>

namespace agd {

// CRC of the bytes so far and `size` more; 0 to begin with, as zlib's crc32().
uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size);
// The same without carry-less multiplication, which not every processor has.
uint32_t crc32_portable(uint32_t crc, const uint8_t *data, size_t size);

// Moves CRCs over bytes that follow: crc of a and b, end to end, is shift(crc of a, bytes of b) ^ crc of b. Quick as long
// as the number of bytes stays the same.
class Crc32Shift {
  public:
    uint32_t operator()(uint32_t crc, size_t bytes);

  private:
    size_t bytes_ = 0;
    uint32_t power_ = 0x80000000;
};

}  // namespace agd
