// BGZF blocks of BAM records: see reference/deflate.py for the contract.
#include "crc32.hpp"
#include "deflate_match.hpp"

namespace agd {

namespace {

using namespace deflate;

// Walks along the records, and hands the parts of each block to the matcher.
class Compressor {
  public:
    Compressor(const uint8_t *data, int64_t size, const int64_t *offsets, int64_t records)
        : data_(data), size_(size), offsets_(offsets), records_(records), matcher_(new Matcher) {}

    // The block of the bytes from `from` on; returns its end in `out`, which has room for the largest block and 8 bytes.
    uint8_t *block(int64_t from, uint8_t *out) {
        const int64_t size = std::min(size_ - from, block_bytes);
        const uint8_t *in = data_ + from;
        matcher_->begin(in, (int)size);
        vectorised([&] AGD_INLINED { fields(from, from + size); });
        uint8_t *end = out + header_bytes;
        end += write_block(matcher_->finish(), in, (size_t)size, end, matcher_->costs);
        finish(in, (size_t)size, out, end);
        return end + trailer_bytes;
    }

  private:
    const uint8_t *data_;
    const int64_t size_, *offsets_, records_;
    int64_t record_ = 0;  // the first that does not end before the block
    std::unique_ptr<Matcher> matcher_;

    template <Kind KIND> AGD_INLINED void part(int64_t &at, int64_t to, int64_t begin, int64_t end) {
        to = std::clamp(to, at, end);
        matcher_->segment<KIND>((int)(at - begin), (int)(to - begin));
        at = to;
    }

    AGD_INLINED void fields(int64_t begin, int64_t end) {
        int64_t at = begin;
        while (record_ < records_ && offsets_[record_ + 1] <= begin) record_++;
        for (int64_t i = record_; i < records_ && at < end && offsets_[i] < end; i++) {
            part<Kind::FIELDS>(at, offsets_[i], begin, end);  // before the first record
            const int64_t start = offsets_[i], stop = std::min(offsets_[i + 1], end);
            if (offsets_[i + 1] - start < 36) continue;
            const uint8_t *record = data_ + start;
            uint16_t operations;
            int32_t length;
            std::memcpy(&operations, record + 16, 2);
            std::memcpy(&length, record + 20, 4);
            // What is no BAM record has lengths too; none leads out of it.
            const int64_t bases = start + 36 + record[12] + 4 * (int64_t)operations;
            const int64_t letters = std::max(length, 0), qualities = bases + (letters + 1) / 2;
            part<Kind::FIELDS>(at, std::min(bases, stop), begin, end);
            part<Kind::BASES>(at, std::min(qualities, stop), begin, end);
            part<Kind::QUALITIES>(at, std::min(qualities + letters, stop), begin, end);
            part<Kind::FIELDS>(at, stop, begin, end);
        }
        part<Kind::FIELDS>(at, end, begin, end);  // behind the last
    }

    static void finish(const uint8_t *in, size_t size, uint8_t *out, uint8_t *end) {
        static constexpr uint8_t head[16] = {0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, 'B', 'C', 2, 0};
        const uint16_t total = (uint16_t)(end - out + trailer_bytes - 1);
        const uint32_t crc = crc32(0, in, size), length = (uint32_t)size;
        std::memcpy(out, head, 16);
        std::memcpy(out + 16, &total, 2);
        std::memcpy(end, &crc, 4);
        std::memcpy(end + 4, &length, 4);
    }
};

}  // namespace

int64_t deflate_bam(In<uint8_t> data, In<int64_t> offsets, Out<uint8_t> out, Out<int64_t> sizes) {
    nb::gil_scoped_release unlocked;
    const int64_t size = (int64_t)data.size(), blocks = (size + block_bytes - 1) / block_bytes;
    require((int64_t)sizes.size() == blocks, "sizes are not one for each block");
    require((int64_t)out.size() >= size + blocks * (largest_block - block_bytes), "there is no room for the blocks");
    check_offsets(offsets.data(), offsets.size(), size, "offsets outside of the data");
    Compressor compressor(data.data(), size, offsets.data(), (int64_t)offsets.size() - 1);
    // A block is written in words, so that it may be longer for a moment than what is left.
    const auto buffer = std::make_unique<uint8_t[]>((size_t)largest_block + 8);
    int64_t used = 0;
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t bytes = compressor.block(i * block_bytes, buffer.get()) - buffer.get();
        std::memcpy(out.data() + used, buffer.get(), (size_t)bytes);
        sizes.data()[i] = bytes;
        used += bytes;
    }
    return used;
}

void bind_deflate(nb::module_ &m) {
    m.def("deflate_bam", &deflate_bam, nb::arg("data").noconvert(), nb::arg("offsets").noconvert(),
          nb::arg("out").noconvert(), nb::arg("sizes").noconvert());
}

}  // namespace agd
