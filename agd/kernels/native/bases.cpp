// Packing of bases into two or three bits, and the letters that do not fit into them.
//
// Bits 1 and 2 of the letters' ASCII codes tell A 0, C 1, T 2, G 3 apart, which is the base3 code already; N needs a
// correction. So eight letters at a time are coded and squeezed together in one 64-bit word, without tables.
#include "nucleotides.hpp"
#include "runs.hpp"
#include "simd.hpp"
#include "vector.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace agd {

static_assert(std::endian::native == std::endian::little, "packed words are little-endian");

static constexpr int PER_WORD = 21;
static constexpr uint64_t END = 7;
static constexpr uint64_t LOW = 0x0101010101010101;

// All bits of the bytes that are not one of ACGTN (or ACGT).
template <bool WITH_N> AGD_INLINE Block others_of(const Block &b) {
    Block good = (Block)(b == 'A') | (Block)(b == 'C') | (Block)(b == 'G') | (Block)(b == 'T');
    if (WITH_N) good |= (Block)(b == 'N');
    return (Block)~good;
}

// Whether p[0:n] holds a letter that is not one of ACGTN (or ACGT).
template <bool WITH_N> AGD_INLINE bool other_letters(const uint8_t *p, int64_t n) {
    const auto bad = [](const Block &b) __attribute__((always_inline)) { return others_of<WITH_N>(b); };
    return any_of(p, n, bad, [](uint8_t c) __attribute__((always_inline)) { return !(is_acgt(c) || (WITH_N && c == 'N')); });
}
AGD_MULTIVERSION static bool has_no_code3(const uint8_t *p, int64_t n) { return other_letters<true>(p, n); }
AGD_MULTIVERSION static bool has_no_code2(const uint8_t *p, int64_t n) { return other_letters<false>(p, n); }

// Copies n letters with those that have no code replaced; returns how many these are.
template <bool WITH_N> AGD_INLINE int64_t clean(const uint8_t *from, int64_t n, uint8_t *to) {
    constexpr uint8_t fill = WITH_N ? 'N' : 'A';
    int64_t others = 0, i = 0;
    Block block;
    for (; i + 32 <= n; i += 32) {
        std::memcpy(&block, from + i, 32);
        const Block other = others_of<WITH_N>(block);
        block = (block & ~other) | (fill & other);
        std::memcpy(to + i, &block, 32);
        uint64_t part[4];
        std::memcpy(part, &other, 32);
        others += std::popcount(part[0]) + std::popcount(part[1]) + std::popcount(part[2]) + std::popcount(part[3]);
    }
    others /= 8;
    for (; i < n; i++) {
        const bool good = is_acgt(from[i]) || (WITH_N && from[i] == 'N');
        to[i] = good ? from[i] : fill;
        others += !good;
    }
    return others;
}
AGD_MULTIVERSION static int64_t clean3(const uint8_t *from, int64_t n, uint8_t *to) { return clean<true>(from, n, to); }
AGD_MULTIVERSION static int64_t clean2(const uint8_t *from, int64_t n, uint8_t *to) { return clean<false>(from, n, to); }

using Words = uint64_t __attribute__((vector_size(32)));

// 21 of ACGTN to a word; reads 32 bytes, eight of them to a lane.
static AGD_INLINE uint64_t pack3_word(const uint8_t *p) {
    Words x;
    std::memcpy(&x, p, 32);
    x = (x >> 1) & 0x0707070707070707;
    const Words n = (x >> 2) & LOW;
    x ^= n | n << 1;  // N came out as 7, and is 4
    x = (x | x >> 5) & 0x003F003F003F003F;
    x = (x | x >> 10) & 0x00000FFF00000FFF;
    x = x | x >> 20;
    return (x[0] & 0xFFFFFF) | (x[1] & 0xFFFFFF) << 24 | (x[2] & 0x7FFF) << 48;
}

// A record of ACGTN; reads up to `readable`, which is at least p + n. Returns the end of its words.
AGD_MULTIVERSION static uint64_t *pack3_record(const uint8_t *p, int64_t n, const uint8_t *readable, uint64_t *words) {
    for (; n >= PER_WORD && readable - p >= 32; n -= PER_WORD, p += PER_WORD) *words++ = pack3_word(p);
    for (;; n -= PER_WORD, p += PER_WORD) {  // what remains: one word, or a few at the end of the array
        const int64_t part = std::min<int64_t>(n, PER_WORD);
        uint8_t buffer[32] = {};
        const uint8_t *from = p;
        if (readable - p < 32) from = (const uint8_t *)std::memcpy(buffer, p, (size_t)part);
        const uint64_t word = pack3_word(from);
        if (part == PER_WORD) {
            *words++ = word;
            continue;
        }
        *words++ = (word & ((1ull << (3 * part)) - 1)) | END << (3 * part);
        return words;
    }
}

// Packs records; returns how many bases are not one of ACGTN (these are packed as N).
int64_t base3_pack(In<uint8_t> values, In<int64_t> offsets, Out<uint64_t> words) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    const int64_t records = (int64_t)offsets.size() - 1;
    const int64_t *bounds = offsets.data();
    int64_t needed = 0, others = 0;
    for (int64_t i = 0; i < records; i++) needed += (bounds[i + 1] - bounds[i]) / PER_WORD + 1;
    require(needed == (int64_t)words.size(), "number of words does not fit the records");
    const uint8_t *start = values.data(), *readable = start + values.size();
    uint64_t *word = words.data();
    std::string cleaned;
    for (int64_t i = 0; i < records; i++) {
        const uint8_t *p = start + bounds[i];
        const int64_t n = bounds[i + 1] - bounds[i];
        if (!has_no_code3(p, n)) {
            word = pack3_record(p, n, readable, word);
            continue;
        }
        cleaned.resize((size_t)n);
        uint8_t *copy = (uint8_t *)cleaned.data();
        others += clean3(p, n, copy);
        word = pack3_record(copy, n, copy + n, word);
    }
    return others;
}

// Letters of four three-bit codes.
static const uint32_t *letters_of_four() {
    static const auto table = [] {
        std::array<uint32_t, 4096> t{};
        for (uint32_t codes = 0; codes < 4096; codes++)
            for (int i = 0; i < 4; i++) t[codes] |= (uint32_t)(uint8_t)"ACTGN???"[codes >> (3 * i) & 7] << (8 * i);
        return t;
    }();
    return table.data();
}

// 21 letters.
static AGD_INLINE void unpack3_word(const uint32_t *table, uint64_t word, uint8_t *out) {
    for (int i = 0; i < 5; i++) std::memcpy(out + 4 * i, table + (word >> (12 * i) & 4095), 4);
    out[20] = (uint8_t)table[word >> 60];
}

// Whether a word holds a code above 4 (which is none of ACGTN), or its highest bit is set.
static AGD_INLINE bool bad_codes(uint64_t word) {
    const uint64_t fours = word & 0x4924924924924924;
    return (word & (fours >> 1 | fours >> 2)) != 0 || word >> 63;
}

void base3_unpack(In<uint64_t> words, In<int64_t> lengths, Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    const uint32_t *table = letters_of_four();
    const int64_t size = (int64_t)words.size(), room = (int64_t)out.size();
    const uint64_t *word = words.data();
    int64_t used = 0, written = 0;
    for (int64_t i = 0; i < (int64_t)lengths.size(); i++) {
        const int64_t n = lengths.data()[i], whole = n / PER_WORD, rest = n % PER_WORD;
        require(n >= 0 && n <= room - written, "lengths do not fit the output", i);
        require(whole + 1 <= size - used, "number of words does not fit the records", i);
        const uint64_t *w = word + used;
        uint8_t *to = out.data() + written;
        bool bad = false;
        for (int64_t k = 0; k < whole; k++, to += PER_WORD) {
            bad |= bad_codes(w[k]);
            unpack3_word(table, w[k], to);
        }
        const uint64_t last = w[whole], low = last & ((1ull << (3 * rest)) - 1);
        require(!bad && !bad_codes(low), "a word holds a code that is no base, or ends early", i);
        require(last >> (3 * rest) == END, "no end code after the last base, or padding that is not zero", i);
        uint8_t letters[PER_WORD];
        if (room - (written + n - rest) >= PER_WORD) {  // what is written too much belongs to the next record
            unpack3_word(table, low, to);
        } else {
            unpack3_word(table, low, letters);
            std::memcpy(to, letters, (size_t)rest);
        }
        used += whole + 1;
        written += n;
    }
    require(used == size, "number of words does not fit the records", (int64_t)lengths.size() - 1);
    require(written == room, "lengths do not fit the output", (int64_t)lengths.size() - 1);
}

// Eight of ACGT to 16 bits: A 0, C 1, G 2, T 3.
static AGD_INLINE uint16_t pack2_8(const uint8_t *p) {
    uint64_t x = (load64(p) >> 1) & 0x0303030303030303;
    x ^= (x >> 1) & LOW;  // T and G came out as 2 and 3
    x = (x | x >> 6) & 0x000F000F000F000F;
    x = (x | x >> 12) & 0x000000FF000000FF;
    return (uint16_t)(x | x >> 24);
}

// Packs 256 letters into 64 bytes; false, and whatever comes of it, if one of them is not one of ACGT.
static bool pack2_block(const uint8_t *p, uint8_t *to) {
    if (has_no_code2(p, 256)) return false;
    uint16_t packed[32];
    for (int i = 0; i < 32; i++) packed[i] = pack2_8(p + 8 * i);
    std::memcpy(to, packed, 64);
    return true;
}

#if defined(AGD_X86)
// The same. The low four bits of a letter tell which of ACGT it must be, and its code.
AGD_AVX2 static bool pack2_block_avx2(const uint8_t *p, uint8_t *to) {
    const __m256i letters = _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 'A', 0, 'C', 'T', 0, 0, 'G', 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i codes = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 1, 3, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i pairs = _mm256_set1_epi16(0x0401), fours = _mm256_set1_epi32(0x00100001);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i good = _mm256_set1_epi8(-1), four[4];
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < 4; i++) {
            const __m256i x = _mm256_loadu_si256((const __m256i *)(p + 128 * half + 32 * i));
            good = _mm256_and_si256(good, _mm256_cmpeq_epi8(_mm256_shuffle_epi8(letters, x), x));
            four[i] = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_shuffle_epi8(codes, x), pairs), fours);
        }
        const __m256i packed = _mm256_packus_epi16(_mm256_packus_epi32(four[0], four[1]), _mm256_packus_epi32(four[2], four[3]));
        _mm256_storeu_si256((__m256i *)(to + 32 * half), _mm256_permutevar8x32_epi32(packed, order));
    }
    return _mm256_movemask_epi8(good) == -1;
}
#endif

// Packs the bases of all records end to end; returns the runs of letters that are not one of ACGT (packed as A).
nb::tuple base2_pack(In<uint8_t> values, In<int64_t> offsets, Out<uint8_t> out) {
    Runs runs;
    {
        nb::gil_scoped_release unlocked;
        check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
        const uint8_t *p = values.data() + offsets.data()[0];
        const int64_t n = offsets.data()[offsets.size() - 1] - offsets.data()[0];
        require((int64_t)out.size() == (n + 3) / 4, "size of the output does not fit the bases");
        uint8_t letters[256], packed[64];
        auto pack = pack2_block;
#if defined(AGD_X86)
        if (simd() >= Simd::AVX2) pack = pack2_block_avx2;
#endif
        for (int64_t at = 0; at < n; at += 256) {
            const int64_t part = std::min<int64_t>(n - at, 256);
            if (part == 256 && pack(p + at, out.data() + at / 4)) continue;
            std::memset(letters, 'A', sizeof(letters));
            if (clean2(p + at, part, letters))
                for (int64_t i = at; i < at + part; i++)
                    if (p[i] != letters[i - at]) runs.add(i, 1, p[i]);
            pack(letters, packed);
            std::memcpy(out.data() + at / 4, packed, (size_t)(part + 3) / 4);
        }
    }
    return runs.arrays();
}

// Letters of four two-bit codes.
static const uint32_t *letters_of_byte() {
    static const auto table = [] {
        std::array<uint32_t, 256> t{};
        for (uint32_t codes = 0; codes < 256; codes++)
            for (int i = 0; i < 4; i++) t[codes] |= (uint32_t)(uint8_t)"ACGT"[codes >> (2 * i) & 3] << (8 * i);
        return t;
    }();
    return table.data();
}

#if defined(AGD_X86)
// Unpacks eight bytes at a time; returns how many of them.
AGD_AVX2 static int64_t unpack2_blocks(const uint8_t *p, int64_t n, uint8_t *to) {
    // Each byte four times; two codes are then looked up where they stand in a half of it, the others after a shift.
    const __m256i four = _mm256_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6,
                                          7, 7, 7, 7);
    const __m256i letters = _mm256_broadcastsi128_si256(_mm_setr_epi8('A', 'C', 'G', 'T', 'C', 0, 0, 0, 'G', 0, 0, 0, 'T', 0, 0, 0));
    const __m256i codes = _mm256_set1_epi16(0x0C03), upper = _mm256_set1_epi32(-0x10000);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i x = _mm256_shuffle_epi8(_mm256_set1_epi64x((long long)load64(p + i)), four);
        const __m256i y = _mm256_and_si256(_mm256_blendv_epi8(x, _mm256_srli_epi16(x, 4), upper), codes);
        _mm256_storeu_si256((__m256i *)(to + 4 * i), _mm256_shuffle_epi8(letters, y));
    }
    return i;
}
#endif

void base2_unpack(In<uint8_t> data, int64_t count, Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    require(count >= 0 && (int64_t)out.size() == count, "number of bases does not fit the output");
    require((int64_t)data.size() == count / 4 + (count % 4 != 0), "size of the data does not fit the number of bases");
    const uint32_t *table = letters_of_byte();
    const int64_t whole = count / 4, rest = count % 4;
    int64_t i = 0;
#if defined(AGD_X86)
    if (simd() >= Simd::AVX2) i = unpack2_blocks(data.data(), whole, out.data());
#endif
    for (; i < whole; i++) std::memcpy(out.data() + 4 * i, table + data.data()[i], 4);
    if (!rest) return;
    require(data.data()[whole] >> (2 * rest) == 0, "padding that is not zero", -1, whole);
    std::memcpy(out.data() + 4 * whole, table + data.data()[whole], (size_t)rest);
}

// Lists the bases that are not one of ACGTN.
int64_t base3_exceptions(In<uint8_t> values, Out<int64_t> positions, Out<uint8_t> letters) {
    nb::gil_scoped_release unlocked;
    const uint8_t *p = values.data();
    const int64_t n = (int64_t)values.size();
    const int64_t capacity = (int64_t)std::min(positions.size(), letters.size());
    int64_t found = 0;
    for (int64_t start = 0; start < n; start += 256) {
        const int64_t end = std::min(n, start + 256);
        if (!has_no_code3(p + start, end - start)) continue;
        for (int64_t i = start; i < end; i++) {
            if (is_acgt(p[i]) || p[i] == 'N') continue;
            if (found < capacity) {
                positions.data()[found] = i;
                letters.data()[found] = p[i];
            }
            found++;
        }
    }
    return found;
}

// Writes runs of equal letters over others.
void fill_runs(Out<uint8_t> values, In<int64_t> starts, In<int64_t> lengths, In<uint8_t> letters) {
    nb::gil_scoped_release unlocked;
    require(starts.size() == lengths.size() && starts.size() == letters.size(), "runs differ in number");
    const int64_t size = (int64_t)values.size();
    for (int64_t i = 0; i < (int64_t)starts.size(); i++) {
        const int64_t start = starts.data()[i], length = lengths.data()[i];
        require(start >= 0 && length >= 0 && start <= size && length <= size - start, "run outside of the values", i, start);
        std::memset(values.data() + start, letters.data()[i], (size_t)length);
    }
}

void bind_bases(nb::module_ &m) {
    const auto values = nb::arg("values").noconvert(), out = nb::arg("out").noconvert();
    const auto positions = nb::arg("positions").noconvert(), letters = nb::arg("letters").noconvert();
    m.def("base3_pack", &base3_pack, values, nb::arg("offsets"), nb::arg("words").noconvert());
    m.def("base3_unpack", &base3_unpack, nb::arg("words").noconvert(), nb::arg("lengths"), out);
    m.def("base3_exceptions", &base3_exceptions, values, positions, letters);
    m.def("base2_pack", &base2_pack, values, nb::arg("offsets"), out);
    m.def("base2_unpack", &base2_unpack, nb::arg("data").noconvert(), nb::arg("count"), out);
    m.def("fill_runs", &fill_runs, values, nb::arg("starts"), nb::arg("lengths"), nb::arg("letters"));
}

}  // namespace agd
