// Coding of values with known frequencies, and counting them (spec/codecs/rans.md).
#include "rans.hpp"

namespace agd {
namespace {

using namespace rans;

// What the coder knows of a value in a context: frequency - 1 (12 bits), bias (13), shift of the reciprocal (7), and the
// reciprocal: the quotient by the frequency is (x * reciprocal) >> 32 >> shift, for x < 2^31. 0: there is no such value.
// Contexts are 2^shift apart.
struct Table {
    int shift = 0, bits;
    std::vector<uint64_t> entries;
    std::vector<uint32_t> narrow;  // without the reciprocals: frequency - 1, start (12 bits), and a bit that there is one

    Table(const uint16_t *frequency, int rows, int span, int bits) : bits(bits) {
        while ((1 << shift) < span) shift++;
        entries.assign((size_t)rows << shift, 0);
        narrow.assign((size_t)rows << shift, 0);
        for (int r = 0; r < rows; r++) {
            uint32_t start = 0;
            for (int s = 0; s < span; s++) {
                const uint32_t f = frequency[r * span + s];
                if (f) {
                    entries[((size_t)r << shift) + (size_t)s] = entry(f, start);
                    narrow[((size_t)r << shift) + (size_t)s] = 1u << 31 | start << 12 | (f - 1);
                }
                start += f;
            }
        }
    }

    uint64_t entry(uint32_t f, uint32_t start) const {
        // x * (2^32 - 1) >> 32 is x - 1; the bias makes up for it.
        if (f == 1) return (uint64_t)~0u << 32 | (start + (1u << bits) - 1) << 12;
        const uint32_t width = (uint32_t)std::bit_width(f - 1);
        const uint64_t reciprocal = ((1ull << (width + 31)) + f - 1) / f;
        return reciprocal << 32 | (width - 1) << 25 | start << 12 | (f - 1);
    }
};

template <int LANES> struct Encoder {
    Table table;
    uint32_t state[LANES];
    uint16_t *word;       // the first word that is written; words are written from the last to the first
    bool absent = false;  // whether a value without a frequency was met
};

// Codes steps[count] to steps[1], whose contexts are the steps before; a word more than there are may be written.
template <int LANES, bool ORDER1> void encode_steps(Encoder<LANES> &coder, const Step<LANES> *steps, int64_t count) {
    const uint64_t *entries = coder.table.entries.data();
    const int shift = coder.table.shift, bits = coder.table.bits;
    uint16_t *word = coder.word;
    bool absent = false;
    for (int64_t t = count; t >= 1; t--)
        // Four lanes together: what does not depend on the words goes on at once.
        for (int first = LANES - 4; first >= 0; first -= 4) {
            const uint8_t *value = steps[t].data() + first, *context = steps[t - 1].data() + first;
            uint32_t *state = coder.state + first, x[4];
            uint64_t entry[4];
            for (int l = 0; l < 4; l++) {
                entry[l] = entries[(ORDER1 ? (size_t)context[l] << shift : 0) + value[l]];
                absent |= entry[l] == 0;
            }
            for (int l = 3; l >= 0; l--) {
                const uint32_t limit = (((uint32_t)entry[l] & 0xFFF) + 1) << (31 - bits), full = state[l] >= limit;
                word[-1] = (uint16_t)state[l];
                word -= full;
                const uint32_t shorter = state[l] >> 16;
                x[l] = full ? shorter : state[l];
            }
            for (int l = 0; l < 4; l++) {
                const uint32_t packed = (uint32_t)entry[l], f = (packed & 0xFFF) + 1;
                const uint32_t q = (uint32_t)((uint64_t)x[l] * (entry[l] >> 32) >> 32) >> (packed >> 25);
                state[l] = x[l] + (packed >> 12 & 0x1FFF) + q * ((1u << bits) - f);
            }
        }
    coder.word = word;
    coder.absent |= absent;
}

#if defined(AGD_X86)
// The entries of eight values, lower halves in the order of the lanes, then upper halves. Loads of their own are faster
// than gathers are, on every processor that has them.
AGD_AVX2 AGD_INLINE void load_entries(const uint64_t *entries, const uint16_t *at, __m256i &low, __m256i &high) {
    const auto two = [&](int l) AGD_INLINED AGD_AVX2 {
        const __m128d first = _mm_load_sd((const double *)(entries + at[l]));
        return _mm_castpd_si128(_mm_loadh_pd(first, (const double *)(entries + at[l + 1])));
    };
    const __m256 even = _mm256_castsi256_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(two(0)), two(4), 1));
    const __m256 odd = _mm256_castsi256_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(two(2)), two(6), 1));
    low = _mm256_castps_si256(_mm256_shuffle_ps(even, odd, 0x88));
    high = _mm256_castps_si256(_mm256_shuffle_ps(even, odd, 0xDD));
}

// As encode_steps; eight words before `word` must be writable.
template <int LANES, bool ORDER1> AGD_AVX2 void encode_steps_avx2(Encoder<LANES> &coder, const Step<LANES> *steps, int64_t count) {
    constexpr int VECTORS = LANES / 8;
    const Permutations &permute = permutations();
    const uint64_t *entries = coder.table.entries.data();
    const int bits = coder.table.bits;
    const __m128i row = _mm_cvtsi32_si128(coder.table.shift), room = _mm_cvtsi32_si128(31 - bits);
    const __m256i one = _mm256_set1_epi32(1), whole = _mm256_set1_epi32(1 << bits), low16 = _mm256_set1_epi32(0xFFFF);
    const __m256i low12 = _mm256_set1_epi32(0xFFF), low13 = _mm256_set1_epi32(0x1FFF);
    __m256i state[VECTORS], absent = _mm256_setzero_si256();
    for (int v = 0; v < VECTORS; v++) state[v] = _mm256_loadu_si256((const __m256i *)(coder.state + 8 * v));
    uint16_t *word = coder.word;
    for (int64_t t = count; t >= 1; t--) {
        alignas(32) uint16_t at[LANES];
        for (int l = 0; l < LANES; l += 16) {
            __m256i index = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(steps[t].data() + l)));
            if (ORDER1) {
                const __m256i c = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(steps[t - 1].data() + l)));
                index = _mm256_add_epi16(index, _mm256_sll_epi16(c, row));
            }
            _mm256_store_si256((__m256i *)(at + l), index);
        }
        for (int v = VECTORS - 1; v >= 0; v--) {
            __m256i entry, reciprocal, x = state[v];
            load_entries(entries, at + 8 * v, entry, reciprocal);
            absent = _mm256_or_si256(absent, _mm256_cmpeq_epi32(entry, _mm256_setzero_si256()));
            const __m256i f = _mm256_add_epi32(_mm256_and_si256(entry, low12), one);
            const __m256i bias = _mm256_and_si256(_mm256_srli_epi32(entry, 12), low13);
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
            const __m256i q = _mm256_srlv_epi32(_mm256_blend_epi32(even, odd, 0xAA), _mm256_srli_epi32(entry, 25));
            state[v] = _mm256_add_epi32(_mm256_add_epi32(x, bias), _mm256_mullo_epi32(q, _mm256_sub_epi32(whole, f)));
        }
    }
    for (int v = 0; v < VECTORS; v++) _mm256_storeu_si256((__m256i *)(coder.state + 8 * v), state[v]);
    coder.word = word;
    coder.absent |= _mm256_movemask_epi8(absent) != 0;
}

// As above, of sixteen values.
AGD_AVX512 AGD_INLINE void load_entries(const uint64_t *entries, const uint16_t *at, __m512i &low, __m512i &high) {
    const auto two = [&](int l) AGD_INLINED AGD_AVX512 {
        const __m128d first = _mm_load_sd((const double *)(entries + at[l]));
        return _mm_loadh_pd(first, (const double *)(entries + at[l + 1]));
    };
    const auto four = [&](int l) AGD_INLINED AGD_AVX512 { return _mm256_insertf128_pd(_mm256_castpd128_pd256(two(l)), two(l + 4), 1); };
    const __m512 even = _mm512_castpd_ps(_mm512_insertf64x4(_mm512_castpd256_pd512(four(0)), four(8), 1));
    const __m512 odd = _mm512_castpd_ps(_mm512_insertf64x4(_mm512_castpd256_pd512(four(2)), four(10), 1));
    low = _mm512_castps_si512(_mm512_shuffle_ps(even, odd, 0x88));
    high = _mm512_castps_si512(_mm512_shuffle_ps(even, odd, 0xDD));
}

// Puts the lower halves of the states that are full before `word`, which goes on, and takes them from these states; sixteen
// words before it must be writable.
AGD_AVX512 AGD_INLINE __m512i shed(__m512i x, __mmask16 full, uint16_t *&word) {
    const __m256i lanes = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const int words = std::popcount((unsigned)full);
    const __m256i last = _mm256_add_epi16(lanes, _mm256_set1_epi16((short)words));
    const __m256i out = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, x));
    _mm256_storeu_si256((__m256i *)(word - 16), _mm256_permutexvar_epi16(last, out));
    word -= words;
    return _mm512_mask_srli_epi32(x, full, x, 16);
}

// As encode_steps; sixteen words before `word` must be writable.
template <int LANES, bool ORDER1> AGD_AVX512 void encode_steps_avx512(Encoder<LANES> &coder, const Step<LANES> *steps, int64_t count) {
    constexpr int VECTORS = LANES / 16;
    const uint64_t *entries = coder.table.entries.data();
    const int bits = coder.table.bits;
    const __m128i row = _mm_cvtsi32_si128(coder.table.shift), room = _mm_cvtsi32_si128(31 - bits);
    const __m512i one = _mm512_set1_epi32(1), whole = _mm512_set1_epi32(1 << bits);
    const __m512i low12 = _mm512_set1_epi32(0xFFF), low13 = _mm512_set1_epi32(0x1FFF);
    __m512i state[VECTORS];
    __mmask16 absent = 0;
    for (int v = 0; v < VECTORS; v++) state[v] = _mm512_loadu_si512(coder.state + 16 * v);
    uint16_t *word = coder.word;
    for (int64_t t = count; t >= 1; t--) {
        alignas(64) uint16_t at[LANES];
        for (int l = 0; l < LANES; l += 32) {
            __m512i index = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(steps[t].data() + l)));
            if (ORDER1) {
                const __m512i c = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(steps[t - 1].data() + l)));
                index = _mm512_add_epi16(index, _mm512_sll_epi16(c, row));
            }
            _mm512_store_si512(at + l, index);
        }
        for (int v = VECTORS - 1; v >= 0; v--) {
            __m512i entry, reciprocal, x = state[v];
            load_entries(entries, at + 16 * v, entry, reciprocal);
            absent |= _mm512_testn_epi32_mask(entry, entry);
            const __m512i f = _mm512_add_epi32(_mm512_and_si512(entry, low12), one);
            const __m512i bias = _mm512_and_si512(_mm512_srli_epi32(entry, 12), low13);
            const __mmask16 full = _mm512_cmpge_epu32_mask(x, _mm512_sll_epi32(f, room));
            x = shed(x, full, word);
            const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(x, reciprocal), 32);
            const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(reciprocal, 32));
            const __m512i q = _mm512_srlv_epi32(_mm512_mask_mov_epi32(even, 0xAAAA, odd), _mm512_srli_epi32(entry, 25));
            state[v] = _mm512_add_epi32(_mm512_add_epi32(x, bias), _mm512_mullo_epi32(q, _mm512_sub_epi32(whole, f)));
        }
    }
    for (int v = 0; v < VECTORS; v++) _mm512_storeu_si512(coder.state + 16 * v, state[v]);
    coder.word = word;
    coder.absent |= absent != 0;
}

// As above, with entries of 32 bits that are gathered, and quotients by division, which goes on beside all else. A
// quotient is less than 2^(31 - bits): with 9 bits or more, two numbers of 24 bits tell it to less than one.
template <int LANES, bool ORDER1> AGD_AVX512 void encode_steps_gathered(Encoder<LANES> &coder, const Step<LANES> *steps, int64_t count) {
    constexpr int VECTORS = LANES / 16;
    const uint32_t *entries = coder.table.narrow.data();
    const int bits = coder.table.bits;
    const __m128i row = _mm_cvtsi32_si128(coder.table.shift), room = _mm_cvtsi32_si128(31 - bits), precision = _mm_cvtsi32_si128(bits);
    const __m512i one = _mm512_set1_epi32(1), low12 = _mm512_set1_epi32(0xFFF);
    constexpr int DOWN = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
    __m512i state[VECTORS];
    __mmask16 absent = 0;
    for (int v = 0; v < VECTORS; v++) state[v] = _mm512_loadu_si512(coder.state + 16 * v);
    uint16_t *word = coder.word;
    for (int64_t t = count; t >= 1; t--)
        for (int v = VECTORS - 1; v >= 0; v--) {
            __m512i at = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(steps[t].data() + 16 * v)));
            if (ORDER1) {
                const __m512i c = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(steps[t - 1].data() + 16 * v)));
                at = _mm512_add_epi32(at, _mm512_sll_epi32(c, row));
            }
            __m512i entry = _mm512_i32gather_epi32(at, entries, 4), x = state[v];
            absent |= _mm512_testn_epi32_mask(entry, entry);
            const __m512i f = _mm512_add_epi32(_mm512_and_si512(entry, low12), one);
            const __m512i start = _mm512_and_si512(_mm512_srli_epi32(entry, 12), low12);
            const __mmask16 full = _mm512_cmpge_epu32_mask(x, _mm512_sll_epi32(f, room));
            x = shed(x, full, word);
            // Rounded down all the way, it is right or one too small.
            const __m512 quotient = _mm512_div_round_ps(_mm512_cvt_roundepi32_ps(x, DOWN), _mm512_cvtepi32_ps(f), DOWN);
            __m512i q = _mm512_cvttps_epi32(quotient), rest = _mm512_sub_epi32(x, _mm512_mullo_epi32(q, f));
            const __mmask16 more = _mm512_cmpge_epu32_mask(rest, f);
            q = _mm512_mask_add_epi32(q, more, q, one);
            rest = _mm512_mask_sub_epi32(rest, more, rest, f);
            state[v] = _mm512_add_epi32(_mm512_add_epi32(rest, start), _mm512_sll_epi32(q, precision));
        }
    for (int v = 0; v < VECTORS; v++) _mm512_storeu_si512(coder.state + 16 * v, state[v]);
    coder.word = word;
    coder.absent |= absent != 0;
}
#endif

template <int LANES> auto *steps_encoder(bool order1, [[maybe_unused]] int bits) {
#if defined(AGD_X86)
    if (simd() >= Simd::GATHERS && bits >= 9) return order1 ? encode_steps_gathered<LANES, true> : encode_steps_gathered<LANES, false>;
    if (simd() >= Simd::AVX512) return order1 ? encode_steps_avx512<LANES, true> : encode_steps_avx512<LANES, false>;
    if (simd() >= Simd::AVX2) return order1 ? encode_steps_avx2<LANES, true> : encode_steps_avx2<LANES, false>;
#endif
    return order1 ? encode_steps<LANES, true> : encode_steps<LANES, false>;
}

// Values start … start + count - 1 of every lane, as steps[1] … steps[count], less base; before them those at start - 1.
// Returns the largest of them.
template <int LANES>
uint8_t load_steps(const uint8_t *values, int64_t steps, int64_t start, int64_t count, uint8_t base, Step<LANES> *to) {
    for (int l = 0; l < LANES; l++) {
        const uint8_t *lane = values + l * steps + start;
        to[0][(size_t)l] = start ? (uint8_t)(lane[-1] - base) : 0;
        if (count < TILE)
            for (int64_t t = 0; t < count; t++) to[t + 1][(size_t)l] = lane[t];
    }
    if (count == TILE)
        for (int l = 0; l < LANES; l += 32)
            for (int t = 0; t < TILE; t += 32) transpose(values + l * steps + start + t, steps, to[1 + t].data() + l, LANES);
    uint8_t *p = to[1].data(), worst = 0;
    for (int64_t i = 0; i < count * LANES; i++) {
        p[i] = (uint8_t)(p[i] - base);
        worst = std::max(worst, p[i]);
    }
    return worst;
}

// Whether any value is none of low … high.
AGD_MULTIVERSION bool outside(const uint8_t *p, int64_t n, uint8_t low, uint8_t high) {
    uint8_t least = 255, most = 0;
    for (int64_t i = 0; i < n; i++) {
        least = std::min(least, p[i]);
        most = std::max(most, p[i]);
    }
    return n && (least < low || most > high);
}

// Counts PARTS lanes at a time, each with counts of its own: equal neighbours do not wait for each other. Of order 1, the
// two bytes of a pair are the place of its count: as they stand where there are many, by context where the counts of few
// take longer to read than to make. Returns how many were counted, which is all where they lie within the span.
template <int PARTS>
uint64_t count_lanes(const uint8_t *p, int lanes, int64_t steps, int base, int span, int order, uint32_t *counts) {
    constexpr bool BY_CONTEXT = PARTS == 1;
    const size_t apart = order ? 256 : 1, size = 256 * apart, first = apart * (size_t)base;
    const size_t value_step = order && !BY_CONTEXT ? 256 : 1, context_step = !order ? 0 : BY_CONTEXT ? 256 : 1;
    // Of a few values, which are known to lie within the span, only what is read is cleared.
    const std::unique_ptr<uint32_t[]> several(new uint32_t[PARTS * size]);
    if (PARTS > 1) std::fill_n(several.get(), PARTS * size, 0);
    else std::fill_n(several.get() + first, apart * (size_t)span, 0);
    uint32_t *part[PARTS];
    for (size_t k = 0; k < PARTS; k++) part[k] = several.get() + k * size;
    for (int l = 0; l < lanes && steps; l += PARTS) {
        const uint8_t *lane[PARTS];
        for (int k = 0; k < PARTS; k++) {
            lane[k] = p + (l + k) * steps;
            part[k][lane[k][0] * value_step + (size_t)base * context_step]++;
        }
        if (order)
            for (int64_t t = 1; t < steps; t++)
                for (int k = 0; k < PARTS; k++) {
                    uint16_t pair;
                    std::memcpy(&pair, lane[k] + t - 1, 2);
                    part[k][BY_CONTEXT ? __builtin_bswap16(pair) : pair]++;
                }
        else
            for (int64_t t = 1; t < steps; t++)
                for (int k = 0; k < PARTS; k++) part[k][lane[k][t]]++;
    }
    uint64_t counted = 0;
    for (int context = 0; context < (order ? span : 1); context++) {
        const size_t row = (size_t)(base + context) * context_step + (size_t)base * value_step;
        uint32_t *to = counts + context * span;
        for (int value = 0; value < span; value++) {
            to[value] = 0;
            for (int k = 0; k < PARTS; k++) to[value] += part[k][row + (size_t)value * value_step];
            counted += to[value];
        }
    }
    return counted;
}

// How often each value follows each other (order 1), or is there (order 0); values are base … base + span - 1.
void rans_counts(In<uint8_t> values, int base, int span, int order, int lanes, Out<uint32_t> counts) {
    nb::gil_scoped_release unlocked;
    require(order == 0 || order == 1, "order is not 0 or 1");
    require(lanes == 32 || lanes == 64, "lanes are not 32 or 64");
    require(base >= 0 && span >= 1 && base + span <= 256, "values do not fit a byte");
    require((int64_t)counts.size() == (int64_t)(order ? span : 1) * span, "size of the counts does not fit the span");
    const uint8_t *p = values.data();
    const int64_t n = (int64_t)values.size(), steps = n / lanes;
    // Counts that are cleared and added up for a few values only take longer than these do; of many, those that were
    // counted tell whether all lie within the span, and no second look at them is needed.
    const bool few = n < 1 << 18;
    const int64_t counted = few ? 0 : lanes * steps;
    const bool beyond = outside(p + counted, n - counted, (uint8_t)base, (uint8_t)(base + span - 1));
    require(!beyond && (few ? count_lanes<1> : count_lanes<4>)(p, lanes, steps, base, span, order, counts.data()) ==
                           (uint64_t)(lanes * steps), "a value lies outside of the span");
}

// How often each value is followed by each other: 256 counts for each first one.
void pair_counts(In<uint8_t> values, Out<uint32_t> counts) {
    nb::gil_scoped_release unlocked;
    require(counts.size() == 1 << 16, "there are not 256 times 256 counts");
    std::fill_n(counts.data(), 1 << 16, 0);
    const uint8_t *p = values.data();
    for (size_t i = 1; i < values.size(); i++) counts.data()[(size_t)p[i - 1] << 8 | p[i]]++;
}

template <int LANES>
int64_t encode_values(In<uint8_t> &values, int base, int span, bool order1, int bits, In<uint16_t> &frequencies, Out<uint8_t> &out) {
    const uint8_t *p = values.data();
    const int64_t n = (int64_t)values.size(), steps = n / LANES, rest = n % LANES;
    uint8_t *end = out.data() + out.size();
    if (steps == 0) {
        require((int64_t)out.size() >= n, "the output is too small");
        std::copy(p, p + n, end - n);
        return (int64_t)out.size() - n;
    }
    Encoder<LANES> coder{Table(frequencies.data(), order1 ? span : 1, span, bits), {}, nullptr};
    // Words are kept aligned while they are written.
    uint16_t *const last = coder.word = (uint16_t *)(end - ((uintptr_t)end & 1));
    std::fill(coder.state, coder.state + LANES, LOWEST);
    const auto encode = steps_encoder<LANES>(order1, bits);
    std::array<Step<LANES>, TILE + 1> tile;
    for (int64_t stop = steps; stop > 0;) {
        const int64_t count = stop % TILE ? stop % TILE : TILE, start = stop - count;
        // Beside the words of the tile: a vector that is stored with them, the states and the rest, an odd byte.
        const int64_t room = 2 * count * LANES + 32 + 4 * LANES + rest + 1;
        require((uint8_t *)coder.word - out.data() >= room, "the output is too small");
        // No processor foresees where so many lanes go on.
        if (start > 2 * TILE)
            for (int l = 0; l < LANES; l++) __builtin_prefetch(p + l * steps + start - 2 * TILE);
        require(load_steps<LANES>(p, steps, start, count, (uint8_t)base, tile.data()) < span, "a value lies outside of the span");
        encode(coder, tile.data(), count);
        stop = start;
    }
    require(!coder.absent, "a value has no frequency in its context");
    const int64_t size = (last - coder.word) * 2;
    uint8_t *to = end - size - (int64_t)sizeof(coder.state) - rest;
    if ((uint8_t *)last != end) std::memmove(end - size, coder.word, (size_t)size);
    std::copy(p + steps * LANES, p + n, to);
    std::memcpy(to + rest, coder.state, sizeof(coder.state));
    return to - out.data();
}

// Writes the coded values to the end of `out`; returns where they start.
int64_t rans_encode(In<uint8_t> values, int base, int span, int order, int bits, In<uint16_t> frequencies, int lanes,
                    Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    check_table(frequencies, base, span, order, bits);
    return with_lanes(lanes, [&](auto L) { return encode_values<L>(values, base, span, order == 1, bits, frequencies, out); });
}

}  // namespace

void bind_rans_encode(nb::module_ &m) {
    const auto values = nb::arg("values").noconvert();
    const auto base = nb::arg("base"), span = nb::arg("span"), order = nb::arg("order");
    m.def("rans_counts", &rans_counts, values, base, span, order, nb::arg("lanes"), nb::arg("counts").noconvert());
    m.def("pair_counts", &pair_counts, values, nb::arg("counts").noconvert());
    m.def("rans_encode", &rans_encode, values, base, span, order, nb::arg("bits"), nb::arg("frequencies").noconvert(),
          nb::arg("lanes"), nb::arg("out").noconvert());
}

}  // namespace agd
