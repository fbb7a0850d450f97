// Static entropy coding of bytes: 32 interleaved rANS states with 16-bit renormalisation (spec/codecs/rans.md).
//
// The values are cut into 32 lanes of equal length; each step codes one value of every lane, so eight states fit one
// vector of AVX2. The context of order 1 is the value before in the same lane. Tables and choices are made by the
// caller; here is only what touches every value.
#include "common.hpp"
#include "vector.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#define AGD_RANS_AVX2 __attribute__((target("avx2,popcnt")))
#endif

namespace agd {

static_assert(std::endian::native == std::endian::little, "states and words are little-endian");

static constexpr int LANES = 32, TILE = 32;
static constexpr uint32_t LOWEST = 1u << 15;  // states are in [2^15, 2^31)

using Step = std::array<uint8_t, LANES>;

static bool use_avx2(bool portable) {
#if defined(__x86_64__)
    static const bool has = __builtin_cpu_supports("avx2");
    return has && !portable;
#else
    (void)portable;
    return false;
#endif
}

// TILE steps of 32 lanes between memory, where each lane is contiguous, and an array of steps.
static void transpose(const uint8_t *from, int64_t from_stride, uint8_t *to, int64_t to_stride) {
#if defined(__x86_64__)
    for (int i = 0; i < 32; i += 16)
        for (int j = 0; j < 32; j += 16) {
            __m128i x[16], y[16];
            for (int k = 0; k < 16; k++) x[k] = _mm_loadu_si128((const __m128i *)(from + (i + k) * from_stride + j));
            for (int stage = 0; stage < 4; stage++) {
                for (int k = 0; k < 8; k++) {
                    y[2 * k] = _mm_unpacklo_epi8(x[k], x[k + 8]);
                    y[2 * k + 1] = _mm_unpackhi_epi8(x[k], x[k + 8]);
                }
                std::copy(y, y + 16, x);
            }
            for (int k = 0; k < 16; k++) _mm_storeu_si128((__m128i *)(to + (j + k) * to_stride + i), x[k]);
        }
#else
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 32; j++) to[j * to_stride + i] = from[i * from_stride + j];
#endif
}

// What the coder knows of each value in each context. Rows are 2^shift apart.
struct EncodeTable {
    int shift = 0;
    std::vector<uint32_t> packed;      // frequency - 1: 12 bits, bias: 13 bits, shift of the reciprocal: 7 bits
    std::vector<uint32_t> reciprocal;  // quotient by the frequency = (x * reciprocal) >> 32 >> shift, for x < 2^31
};

static EncodeTable encode_table(const uint16_t *frequency, int rows, int span, int bits) {
    EncodeTable table;
    while ((1 << table.shift) < span) table.shift++;
    table.packed.assign((size_t)rows << table.shift, 0);
    table.reciprocal.assign((size_t)rows << table.shift, 0);
    for (int r = 0; r < rows; r++) {
        uint32_t start = 0;
        for (int s = 0; s < span; s++) {
            const uint32_t f = frequency[r * span + s];
            if (f == 0) continue;
            const size_t at = ((size_t)r << table.shift) + (size_t)s;
            uint32_t shift = 0;
            while ((1u << shift) < f) shift++;
            if (f == 1) {  // x * (2^32 - 1) >> 32 is x - 1; the bias makes up for it
                table.reciprocal[at] = ~0u;
                table.packed[at] = (start + (1u << bits) - 1) << 12;
            } else {
                table.reciprocal[at] = (uint32_t)(((1ull << (shift + 31)) + f - 1) / f);
                table.packed[at] = (f - 1) | start << 12 | (shift - 1) << 25;
            }
            start += f;
        }
    }
    return table;
}

struct Encoder {
    EncodeTable table;
    int bits;
    uint32_t state[LANES];
    uint16_t *word;  // the first word that is written; words are written from the last to the first
    bool absent;     // whether a value without a frequency was met

    void step(const uint8_t *context, const uint8_t *value, bool order1) {
        for (int l = LANES - 1; l >= 0; l--) {
            const size_t at = (order1 ? (size_t)context[l] << table.shift : 0) + value[l];
            const uint32_t packed = table.packed[at], f = (packed & 0xFFF) + 1, bias = packed >> 12 & 0x1FFF;
            absent |= packed == 0;
            uint32_t x = state[l];
            if (x > (f << (31 - bits)) - 1) {
                *--word = (uint16_t)x;
                x >>= 16;
            }
            const uint32_t q = (uint32_t)((uint64_t)x * table.reciprocal[at] >> 32) >> (packed >> 25);
            state[l] = x + bias + q * ((1u << bits) - f);
        }
    }
};

#if defined(__x86_64__)
struct Permutations {
    alignas(32) uint32_t compress[256][8];  // the lanes of a mask, moved to the end
    alignas(32) uint32_t expand[256][8];    // words in their order, spread to the lanes of a mask
};

static const Permutations &permutations() {
    static const auto made = [] {
        auto p = std::make_unique<Permutations>();
        for (uint32_t mask = 0; mask < 256; mask++) {
            uint32_t next = 0, last = 8 - (uint32_t)std::popcount(mask);
            for (uint32_t l = 0; l < 8; l++) {
                p->expand[mask][l] = next;
                p->compress[mask][l] = 0;
                if (mask >> l & 1) next++;
            }
            for (uint32_t l = 0; l < 8; l++)
                if (mask >> l & 1) p->compress[mask][last++] = l;
        }
        return p;
    }();
    return *made;
}

// steps[0] is the context of steps[1]; codes steps[TILE] to steps[1]. Eight words before `word` must be writable.
AGD_RANS_AVX2 static void encode_tile(Encoder &coder, const Step *steps, bool order1) {
    const Permutations &permute = permutations();
    const int *packed = (const int *)coder.table.packed.data(), *reciprocals = (const int *)coder.table.reciprocal.data();
    const __m128i row = _mm_cvtsi32_si128(coder.table.shift), room = _mm_cvtsi32_si128(31 - coder.bits);
    const __m256i one = _mm256_set1_epi32(1), whole = _mm256_set1_epi32(1 << coder.bits);
    const __m256i low16 = _mm256_set1_epi32(0xFFFF), low12 = _mm256_set1_epi32(0xFFF), low13 = _mm256_set1_epi32(0x1FFF);
    __m256i state[4];
    for (int v = 0; v < 4; v++) state[v] = _mm256_loadu_si256((const __m256i *)(coder.state + 8 * v));
    uint16_t *word = coder.word;
    __m256i absent = _mm256_setzero_si256();
    for (int t = TILE; t >= 1; t--) {
        for (int v = 3; v >= 0; v--) {
            __m256i at = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(steps[t].data() + 8 * v)));
            if (order1) {
                const __m256i c = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(steps[t - 1].data() + 8 * v)));
                at = _mm256_add_epi32(at, _mm256_sll_epi32(c, row));
            }
            const __m256i entry = _mm256_i32gather_epi32(packed, at, 4);
            const __m256i reciprocal = _mm256_i32gather_epi32(reciprocals, at, 4);
            absent = _mm256_or_si256(absent, _mm256_cmpeq_epi32(entry, _mm256_setzero_si256()));
            const __m256i f = _mm256_add_epi32(_mm256_and_si256(entry, low12), one);
            const __m256i bias = _mm256_and_si256(_mm256_srli_epi32(entry, 12), low13);
            __m256i x = state[v];
            const __m256i full = _mm256_cmpgt_epi32(x, _mm256_sub_epi32(_mm256_sll_epi32(f, room), one));
            const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(full));
            const __m256i out = _mm256_permutevar8x32_epi32(
                _mm256_and_si256(x, low16), _mm256_load_si256((const __m256i *)permute.compress[mask]));
            _mm_storeu_si128((__m128i *)(word - 8),
                             _mm_packus_epi32(_mm256_castsi256_si128(out), _mm256_extracti128_si256(out, 1)));
            word -= std::popcount(mask);
            x = _mm256_blendv_epi8(x, _mm256_srli_epi32(x, 16), full);
            const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(x, reciprocal), 32);
            const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(reciprocal, 32));
            __m256i q = _mm256_blend_epi32(even, odd, 0xAA);
            q = _mm256_srlv_epi32(q, _mm256_srli_epi32(entry, 25));
            x = _mm256_add_epi32(_mm256_add_epi32(x, bias), _mm256_mullo_epi32(q, _mm256_sub_epi32(whole, f)));
            state[v] = x;
        }
    }
    for (int v = 0; v < 4; v++) _mm256_storeu_si256((__m256i *)(coder.state + 8 * v), state[v]);
    coder.word = word;
    coder.absent |= _mm256_movemask_epi8(absent) != 0;
}
#endif

static void check_table(In<uint16_t> &frequencies, int base, int span, int order, int bits) {
    require(order == 0 || order == 1, "order is not 0 or 1");
    require(bits >= 8 && bits <= 12, "bits are not 8 to 12");
    require(base >= 0 && span >= 1 && base + span <= 256, "values do not fit a byte");
    const int rows = order ? span : 1;
    require((int64_t)frequencies.size() == (int64_t)rows * span, "size of the table does not fit the span");
    for (int r = 0; r < rows; r++) {
        uint32_t sum = 0;
        for (int s = 0; s < span; s++) sum += frequencies.data()[r * span + s];
        require(sum == 0 || sum == 1u << bits, "frequencies of a context do not add up", r);
    }
}

// Whether any value is none of low … high.
AGD_MULTIVERSION static bool outside(const uint8_t *p, int64_t n, uint8_t low, uint8_t high) {
    uint8_t least = 255, most = 0;
    for (int64_t i = 0; i < n; i++) {
        least = std::min(least, p[i]);
        most = std::max(most, p[i]);
    }
    return n && (least < low || most > high);
}

// How often each value follows each other (order 1), or is there (order 0); values are base … base + span - 1.
void rans_counts(In<uint8_t> values, int base, int span, int order, Out<uint32_t> counts) {
    nb::gil_scoped_release unlocked;
    require(order == 0 || order == 1, "order is not 0 or 1");
    require(base >= 0 && span >= 1 && base + span <= 256, "values do not fit a byte");
    require((int64_t)counts.size() == (int64_t)(order ? span : 1) * span, "size of the counts does not fit the span");
    const uint8_t *p = values.data();
    const int64_t n = (int64_t)values.size(), steps = n / LANES;
    require(!outside(p, n, (uint8_t)base, (uint8_t)(base + span - 1)), "a value lies outside of the span");
    // Four lanes at a time, each with counts of its own: equal neighbours do not wait for each other.
    const int rows = order ? span : 1;
    const size_t size = (size_t)rows * (size_t)span;
    std::vector<uint32_t> several(4 * size);
    uint32_t *part[4];
    for (size_t k = 0; k < 4; k++) part[k] = several.data() + k * size;
    for (int l = 0; l < LANES; l += 4) {
        const uint8_t *lane[4];
        uint32_t *row[4];
        for (int k = 0; k < 4; k++) {
            lane[k] = p + (l + k) * steps;
            row[k] = part[k];
        }
        if (order)
            for (int64_t t = 0; t < steps; t++)
                for (int k = 0; k < 4; k++) {
                    const uint32_t value = (uint32_t)lane[k][t] - (uint32_t)base;
                    row[k][value]++;
                    row[k] = part[k] + value * (uint32_t)span;
                }
        else
            for (int64_t t = 0; t < steps; t++)
                for (int k = 0; k < 4; k++) part[k][lane[k][t] - base]++;
    }
    for (size_t i = 0; i < size; i++) counts.data()[i] = part[0][i] + part[1][i] + part[2][i] + part[3][i];
}

// Writes the coded values to the end of `out`; returns where they start.
int64_t rans_encode(In<uint8_t> values, int base, int span, int order, int bits, In<uint16_t> frequencies, Out<uint8_t> out,
                    bool portable) {
    nb::gil_scoped_release unlocked;
    check_table(frequencies, base, span, order, bits);
    const uint8_t *p = values.data();
    const int64_t n = (int64_t)values.size(), steps = n / LANES, rest = n % LANES;
    require((int64_t)out.size() >= 2 * n + 4 * LANES + 64, "the output is too small");
    uint8_t *end = out.data() + out.size();
    if (steps == 0) {
        std::copy(p, p + n, end - n);
        return (int64_t)out.size() - n;
    }
    const int rows = order ? span : 1;
    Encoder coder{encode_table(frequencies.data(), rows, span, bits), bits, {}, nullptr, false};
    // Words are kept aligned while they are written; the odd byte, if any, stays behind.
    const size_t room = (size_t)(steps * LANES + 16);
    const std::unique_ptr<uint16_t[]> words(new uint16_t[room]);
    uint16_t *const last = coder.word = words.get() + room;
    std::fill(coder.state, coder.state + LANES, LOWEST);
    std::array<Step, TILE + 1> tile;
    for (int64_t stop = steps; stop > 0;) {
        const int64_t count = stop % TILE ? stop % TILE : TILE, start = stop - count;
        for (int l = 0; l < LANES; l++) {
            const uint8_t *lane = p + l * steps + start;
            tile[0][(size_t)l] = start ? (uint8_t)(lane[-1] - base) : 0;
            if (count < TILE)
                for (int64_t t = 0; t < count; t++) tile[(size_t)t + 1][(size_t)l] = (uint8_t)lane[t];
        }
        if (count == TILE) transpose(p + start, steps, tile[1].data(), LANES);
        uint8_t worst = 0;
        for (int64_t t = 1; t <= count; t++)
            for (auto &value : tile[(size_t)t]) {
                value = (uint8_t)(value - base);
                worst = std::max(worst, value);
            }
        require(worst < span, "a value lies outside of the span");
#if defined(__x86_64__)
        if (count == TILE && use_avx2(portable)) {
            encode_tile(coder, tile.data(), order == 1);
            stop = start;
            continue;
        }
#endif
        for (int64_t t = count; t > 0; t--) coder.step(tile[(size_t)t - 1].data(), tile[(size_t)t].data(), order == 1);
        stop = start;
    }
    (void)use_avx2(portable);
    require(!coder.absent, "a value has no frequency in its context");
    const int64_t size = (last - coder.word) * 2;
    uint8_t *to = end - size - (int64_t)sizeof(coder.state) - rest;
    std::copy(p + steps * LANES, p + n, to);
    std::memcpy(to + rest, coder.state, sizeof(coder.state));
    std::memcpy(end - size, coder.word, (size_t)size);
    return to - out.data();
}

struct Decoder {
    std::vector<uint32_t> table;  // by context and low bits of the state: value 8 bits, frequency - 1 12, bias 12
    int bits;
    uint32_t state[LANES];
    uint8_t context[LANES];
    const uint8_t *word, *end;

    void step(uint8_t *value, bool order1) {
        for (int l = 0; l < LANES; l++) {
            const uint32_t entry = table[(order1 ? (size_t)context[l] << bits : 0) + (state[l] & ((1u << bits) - 1))];
            uint32_t x = ((entry >> 8 & 0xFFF) + 1) * (state[l] >> bits) + (entry >> 20);
            if (x < LOWEST) {
                require(end - word >= 2, "the words end early");
                uint16_t w;
                std::memcpy(&w, word, 2);
                word += 2;
                x = x << 16 | w;
            }
            state[l] = x;
            value[l] = context[l] = (uint8_t)entry;
        }
    }
};

#if defined(__x86_64__)
// Decodes TILE steps; 64 bytes for each must be readable at the words.
AGD_RANS_AVX2 static void decode_tile(Decoder &coder, Step *steps, bool order1) {
    const Permutations &permute = permutations();
    const int *table = (const int *)coder.table.data();
    const __m128i bits = _mm_cvtsi32_si128(coder.bits);
    const __m256i low = _mm256_set1_epi32((1 << coder.bits) - 1), low8 = _mm256_set1_epi32(0xFF);
    const __m256i low12 = _mm256_set1_epi32(0xFFF), one = _mm256_set1_epi32(1), lowest = _mm256_set1_epi32((int)LOWEST);
    const __m256i mix = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i state[4], value[4];
    for (int v = 0; v < 4; v++) {
        state[v] = _mm256_loadu_si256((const __m256i *)(coder.state + 8 * v));
        value[v] = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(coder.context + 8 * v)));
    }
    const uint8_t *word = coder.word;
    for (int t = 0; t < TILE; t++) {
        for (int v = 0; v < 4; v++) {
            __m256i x = state[v], at = _mm256_and_si256(x, low);
            if (order1) at = _mm256_add_epi32(at, _mm256_sll_epi32(value[v], bits));
            const __m256i entry = _mm256_i32gather_epi32(table, at, 4);
            value[v] = _mm256_and_si256(entry, low8);
            const __m256i f = _mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(entry, 8), low12), one);
            x = _mm256_add_epi32(_mm256_mullo_epi32(f, _mm256_srl_epi32(x, bits)), _mm256_srli_epi32(entry, 20));
            const __m256i small = _mm256_cmpgt_epi32(lowest, x);
            const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(small));
            const __m256i words = _mm256_permutevar8x32_epi32(
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)word)),
                _mm256_load_si256((const __m256i *)permute.expand[mask]));
            word += 2 * std::popcount(mask);
            state[v] = _mm256_blendv_epi8(x, _mm256_or_si256(_mm256_slli_epi32(x, 16), words), small);
        }
        const __m256i packed = _mm256_packus_epi16(_mm256_packus_epi32(value[0], value[1]), _mm256_packus_epi32(value[2], value[3]));
        _mm256_storeu_si256((__m256i *)steps[t].data(), _mm256_permutevar8x32_epi32(packed, mix));
    }
    for (int v = 0; v < 4; v++) _mm256_storeu_si256((__m256i *)(coder.state + 8 * v), state[v]);
    std::memcpy(coder.context, steps[TILE - 1].data(), LANES);
    coder.word = word;
}
#endif

static std::vector<uint32_t> decode_table(const uint16_t *frequency, int rows, int span, int bits) {
    std::vector<uint32_t> table((size_t)rows << bits);  // contexts that do not occur: any value will do
    for (int r = 0; r < rows; r++) {
        uint32_t *to = table.data() + ((size_t)r << bits);
        for (int s = 0; s < span; s++) {
            const uint32_t f = frequency[r * span + s];
            for (uint32_t i = 0; i < f; i++) *to++ = (uint32_t)s | (f - 1) << 8 | i << 20;
        }
    }
    return table;
}

// The inverse of rans_encode, out[:] being the values.
void rans_decode(In<uint8_t> data, int base, int span, int order, int bits, In<uint16_t> frequencies, Out<uint8_t> out,
                 bool portable) {
    nb::gil_scoped_release unlocked;
    check_table(frequencies, base, span, order, bits);
    uint8_t *p = out.data();
    const int64_t n = (int64_t)out.size(), steps = n / LANES, rest = n % LANES, size = (int64_t)data.size();
    const int64_t head = rest + (steps ? 4 * LANES : 0);
    require(size >= head && (size - head) % 2 == 0, "the coded values end early");
    for (int64_t i = 0; i < rest; i++) {
        require((uint8_t)(data.data()[i] - base) < span, "a value lies outside of the span", -1, i);
        p[steps * LANES + i] = data.data()[i];
    }
    if (steps == 0) return require(size == head, "there is more than the values");
    Decoder coder{decode_table(frequencies.data(), order ? span : 1, span, bits), bits, {}, {}, data.data() + head,
                  data.data() + size};
    std::memcpy(coder.state, data.data() + rest, sizeof(coder.state));
    for (uint32_t x : coder.state) require(x >= LOWEST && x < 1u << 31, "a state is out of range");
    std::array<Step, TILE> tile;
    for (int64_t start = 0; start < steps; start += TILE) {
        const int64_t count = std::min<int64_t>(TILE, steps - start);
        bool done = false;
#if defined(__x86_64__)
        if (count == TILE && coder.end - coder.word >= TILE * LANES * 2 && use_avx2(portable)) {
            decode_tile(coder, tile.data(), order == 1);
            done = true;
        }
#endif
        if (!done)
            for (int64_t t = 0; t < count; t++) coder.step(tile[(size_t)t].data(), order == 1);
        for (int64_t t = 0; t < count; t++)
            for (auto &value : tile[(size_t)t]) value = (uint8_t)(value + base);
        if (count == TILE)
            transpose(tile[0].data(), LANES, p + start, steps);
        else
            for (int64_t t = 0; t < count; t++)
                for (int l = 0; l < LANES; l++) p[l * steps + start + t] = tile[(size_t)t][(size_t)l];
    }
    (void)use_avx2(portable);
    require(coder.word == coder.end, "there is more than the values");
    for (uint32_t x : coder.state) require(x == LOWEST, "a state does not end where it began");
}

// Number of values in a byte for this many symbols; 0: they do not fit.
static int per_byte(size_t symbols) { return symbols <= 2 ? 8 : symbols <= 4 ? 4 : symbols <= 16 ? 2 : 0; }

// Packs values, each one of `symbols` (at most 16), 8, 4 or 2 to a byte, the first lowest.
void symbols_pack(In<uint8_t> values, In<uint8_t> symbols, Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    const int per = per_byte(symbols.size()), width = per ? 8 / per : 0;
    require(per && symbols.size(), "there are not 1 to 16 symbols");
    const int64_t n = (int64_t)values.size();
    require((int64_t)out.size() == (n + per - 1) / per, "size of the output does not fit the values");
    std::array<uint8_t, 256> code;
    code.fill(255);
    for (size_t i = 0; i < symbols.size(); i++) code[symbols.data()[i]] = (uint8_t)i;
    const uint8_t *p = values.data();
    uint8_t bad = 0;
    const auto pack = [&]<int PER>() {
        for (int64_t i = 0; i < n / PER; i++) {
            uint32_t byte = 0;
            for (int k = 0; k < PER; k++) {
                const uint8_t c = code[p[i * PER + k]];
                bad |= c;
                byte |= (uint32_t)c << (k * 8 / PER);
            }
            out.data()[i] = (uint8_t)byte;
        }
    };
    if (per == 2) pack.template operator()<2>();
    if (per == 4) pack.template operator()<4>();
    if (per == 8) pack.template operator()<8>();
    if (n % per) {
        uint32_t byte = 0;
        for (int64_t i = n / per * per; i < n; i++) {
            const uint8_t c = code[p[i]];
            bad |= c;
            byte |= (uint32_t)c << (i % per * width);
        }
        out.data()[n / per] = (uint8_t)byte;
    }
    require(bad < 16, "a value is none of the symbols");
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
        for (int64_t i = 0; i < n / PER; i++) {
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

void bind_rans(nb::module_ &m) {
    const auto values = nb::arg("values").noconvert(), out = nb::arg("out").noconvert(), data = nb::arg("data").noconvert();
    const auto base = nb::arg("base"), span = nb::arg("span"), order = nb::arg("order"), bits = nb::arg("bits");
    const auto frequencies = nb::arg("frequencies").noconvert(), symbols = nb::arg("symbols").noconvert();
    const auto which = nb::arg("which").noconvert(), kept = nb::arg("kept").noconvert(), repeats = nb::arg("repeats").noconvert();
    const auto portable = nb::arg("portable") = false;
    m.def("rans_counts", &rans_counts, values, base, span, order, nb::arg("counts").noconvert());
    m.def("rans_encode", &rans_encode, values, base, span, order, bits, frequencies, out, portable);
    m.def("rans_decode", &rans_decode, data, base, span, order, bits, frequencies, out, portable);
    m.def("symbols_pack", &symbols_pack, values, symbols, out);
    m.def("symbols_unpack", &symbols_unpack, data, symbols, out);
    m.def("repeats_split", &repeats_split, values, which, kept, repeats);
    m.def("repeats_join", &repeats_join, kept, repeats, which, out);
}

}  // namespace agd
