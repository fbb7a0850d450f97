// Values of few kinds packed into bytes, and repeats taken out of runs (spec/codecs/rans.md).
#include "simd.hpp"
#include "vector.hpp"

#include <array>
#include <vector>

namespace agd {
namespace {

// Number of values in a byte for this many symbols; 0: they do not fit.
int per_byte(size_t symbols) { return symbols <= 2 ? 8 : symbols <= 4 ? 4 : symbols <= 16 ? 2 : 0; }

#if defined(AGD_X86)
// Packs whole blocks of 32 values for ascending symbols; returns how many values, all of which are symbols.
template <int PER> AGD_AVX2 int64_t pack_blocks(const uint8_t *p, int64_t n, const uint8_t *symbols, size_t count, uint8_t *to) {
    uint8_t padded[16] = {};
    std::copy(symbols, symbols + count, padded);
    const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)padded));
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i x = _mm256_loadu_si256((const __m256i *)(p + i));
        __m256i code = _mm256_setzero_si256();
        for (size_t k = 1; k < count; k++) {
            const __m256i symbol = _mm256_set1_epi8((char)symbols[k]);
            code = _mm256_sub_epi8(code, _mm256_cmpeq_epi8(_mm256_max_epu8(x, symbol), x));
        }
        if ((uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, code), x)) != ~0u) break;
        if (PER == 8) {
            const uint32_t bits = (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(code, 7));
            std::memcpy(to + i / 8, &bits, 4);
            continue;
        }
        // Two codes to a byte or to four bits, then, of four, two such to a byte.
        __m256i pairs = _mm256_maddubs_epi16(code, _mm256_set1_epi16(PER == 2 ? 1 | 16 << 8 : 1 | 4 << 8));
        if (PER == 4) pairs = _mm256_madd_epi16(pairs, _mm256_set1_epi32(1 | 16 << 16));
        const __m128i low = _mm256_castsi256_si128(pairs), high = _mm256_extracti128_si256(pairs, 1);
        if (PER == 2) {
            _mm_storeu_si128((__m128i *)(to + i / 2), _mm_packus_epi16(low, high));
        } else {
            const __m128i words = _mm_packus_epi32(low, high);
            _mm_storel_epi64((__m128i *)(to + i / 4), _mm_packus_epi16(words, words));
        }
    }
    return i;
}

// Unpacks whole blocks of 16 bytes, two values in each; returns how many bytes, all of whose codes are those of symbols.
AGD_AVX2 int64_t unpack_pairs(const uint8_t *p, int64_t n, const uint8_t *symbols, size_t count, uint8_t *to) {
    uint8_t padded[16] = {};
    std::copy(symbols, symbols + count, padded);
    const __m128i table = _mm_loadu_si128((const __m128i *)padded), last = _mm_set1_epi8((char)(count - 1));
    const __m128i low4 = _mm_set1_epi8(15);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(p + i));
        const __m128i first = _mm_and_si128(x, low4), second = _mm_and_si128(_mm_srli_epi16(x, 4), low4);
        const __m128i most = _mm_max_epu8(first, second);
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(most, last), last)) != 0xFFFF) break;
        const __m128i a = _mm_shuffle_epi8(table, first), b = _mm_shuffle_epi8(table, second);
        _mm_storeu_si128((__m128i *)(to + 2 * i), _mm_unpacklo_epi8(a, b));
        _mm_storeu_si128((__m128i *)(to + 2 * i + 16), _mm_unpackhi_epi8(a, b));
    }
    return i;
}
#endif

// Whole blocks that vector instructions can pack; how many values.
template <int PER> int64_t pack_fast(const uint8_t *p, int64_t n, const In<uint8_t> &symbols, uint8_t *to) {
#if defined(AGD_X86)
    if (simd() >= Simd::AVX2 && std::is_sorted(symbols.data(), symbols.data() + symbols.size()))
        return pack_blocks<PER>(p, n, symbols.data(), symbols.size(), to);
#endif
    (void)p, (void)n, (void)symbols, (void)to;
    return 0;
}

int64_t unpack_fast(const uint8_t *p, int64_t n, const In<uint8_t> &symbols, uint8_t *to) {
#if defined(AGD_X86)
    if (simd() >= Simd::AVX2) return unpack_pairs(p, n, symbols.data(), symbols.size(), to);
#endif
    (void)p, (void)n, (void)symbols, (void)to;
    return 0;
}

template <int PER> bool pack(const uint8_t *p, int64_t n, const In<uint8_t> &symbols, uint8_t *to) {
    std::array<uint8_t, 256> code;
    code.fill(255);
    for (size_t i = 0; i < symbols.size(); i++) code[symbols.data()[i]] = (uint8_t)i;
    uint8_t bad = 0;
    for (int64_t i = pack_fast<PER>(p, n, symbols, to); i < n; i += PER) {
        uint32_t byte = 0;
        for (int k = 0; k < PER && i + k < n; k++) {
            const uint8_t c = code[p[i + k]];
            bad |= c;
            byte |= (uint32_t)c << (k * 8 / PER);
        }
        to[i / PER] = (uint8_t)byte;
    }
    return bad < 16;
}

// Packs values, each one of `symbols` (at most 16), 8, 4 or 2 to a byte, the first lowest.
void symbols_pack(In<uint8_t> values, In<uint8_t> symbols, Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    const int per = per_byte(symbols.size());
    require(per && symbols.size(), "there are not 1 to 16 symbols");
    const int64_t n = (int64_t)values.size();
    require((int64_t)out.size() == (n + per - 1) / per, "size of the output does not fit the values");
    const auto run = per == 2 ? pack<2> : per == 4 ? pack<4> : pack<8>;
    require(run(values.data(), n, symbols, out.data()), "a value is none of the symbols");
}

// The inverse of symbols_pack.
void symbols_unpack(In<uint8_t> data, In<uint8_t> symbols, Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    const int per = per_byte(symbols.size()), width = per ? 8 / per : 0;
    require(per && symbols.size(), "there are not 1 to 16 symbols");
    const int64_t n = (int64_t)out.size(), size = (int64_t)data.size();
    require(size == n / per + (n % per != 0), "size of the data does not fit the values");
    std::vector<uint64_t> table(256);
    std::array<bool, 256> bad{};
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int k = 0; k < per; k++) {
            const size_t code = byte >> (k * width) & ((1u << width) - 1);
            if (code >= symbols.size()) bad[byte] = true;
            table[byte] |= (uint64_t)(code < symbols.size() ? symbols.data()[code] : 0) << (8 * k);
        }
    const uint8_t *p = data.data();
    bool wrong = false;
    const auto unpack = [&]<int PER>() {
        for (int64_t i = PER == 2 ? unpack_fast(p, n / PER, symbols, out.data()) : 0; i < n / PER; i++) {
            wrong |= bad[p[i]];
            std::memcpy(out.data() + i * PER, &table[p[i]], PER);
        }
    };
    if (per == 2) unpack.template operator()<2>();
    if (per == 4) unpack.template operator()<4>();
    if (per == 8) unpack.template operator()<8>();
    if (n % per) {
        const uint8_t byte = p[size - 1];
        require(byte >> (n % per * width) == 0, "padding that is not zero", -1, size - 1);
        for (int64_t i = n / per * per; i < n; i++) {
            const size_t code = (size_t)(byte >> (i % per * width) & ((1 << width) - 1));
            wrong |= code >= symbols.size();
            out.data()[i] = (uint8_t)(table[byte] >> (8 * (i % per)));
        }
    }
    require(!wrong, "a code is that of no symbol");
}

// Takes the repeats out of runs of the values in `which`: for each start of such a run, the number of repeats, 255 per
// byte and the rest in one more. Returns the number of values and of bytes of repeats; the outputs may be empty.
std::pair<int64_t, int64_t> repeats_split(In<uint8_t> values, In<uint8_t> which, Out<uint8_t> kept, Out<uint8_t> repeats) {
    nb::gil_scoped_release unlocked;
    std::array<bool, 256> runs{};
    for (size_t i = 0; i < which.size(); i++) runs[which.data()[i]] = true;
    const uint8_t *p = values.data();
    const int64_t n = (int64_t)values.size(), room = (int64_t)kept.size(), more = (int64_t)repeats.size();
    int64_t k = 0, r = 0;
    for (int64_t i = 0; i < n;) {
        const uint8_t value = p[i++];
        if (k < room) kept.data()[k] = value;
        k++;
        if (!runs[value]) continue;
        int64_t run = 0;
        for (; i < n && p[i] == value; i++) run++;
        for (; run >= 255; run -= 255, r++)
            if (r < more) repeats.data()[r] = 255;
        if (r < more) repeats.data()[r] = (uint8_t)run;
        r++;
    }
    return {k, r};
}

// The inverse of repeats_split.
void repeats_join(In<uint8_t> kept, In<uint8_t> repeats, In<uint8_t> which, Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    std::array<bool, 256> runs{};
    for (size_t i = 0; i < which.size(); i++) runs[which.data()[i]] = true;
    const int64_t n = (int64_t)out.size(), last = (int64_t)repeats.size();
    int64_t at = 0, r = 0;
    for (int64_t k = 0; k < (int64_t)kept.size(); k++) {
        const uint8_t value = kept.data()[k];
        int64_t run = 1;
        if (runs[value])
            for (uint8_t part = 255; part == 255;) {
                require(r < last, "the repeats end early", -1, k);
                part = repeats.data()[r++];
                run += part;
            }
        require(run <= n - at, "more values than there should be", -1, k);
        std::memset(out.data() + at, value, (size_t)run);
        at += run;
    }
    require(at == n && r == last, "values and repeats do not fit each other");
}

}  // namespace

void bind_symbols(nb::module_ &m) {
    const auto values = nb::arg("values").noconvert(), out = nb::arg("out").noconvert(), data = nb::arg("data").noconvert();
    const auto symbols = nb::arg("symbols").noconvert(), which = nb::arg("which").noconvert();
    const auto kept = nb::arg("kept").noconvert(), repeats = nb::arg("repeats").noconvert();
    m.def("symbols_pack", &symbols_pack, values, symbols, out);
    m.def("symbols_unpack", &symbols_unpack, data, symbols, out);
    m.def("repeats_split", &repeats_split, values, which, kept, repeats);
    m.def("repeats_join", &repeats_join, kept, repeats, which, out);
}

}  // namespace agd
