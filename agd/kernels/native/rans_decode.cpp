// Decoding of values with known frequencies (spec/codecs/rans.md).
#include "rans.hpp"

namespace agd {
namespace {

using namespace rans;

template <int LANES> struct Decoder {
    const uint32_t *table;  // by context and low bits of the state: value 8 bits, bias 12, frequency - 1 12
    int bits;
    uint32_t state[LANES];
    uint8_t context[LANES];
    const uint8_t *word, *end;
};

// The table of a decoder, in memory that the thread keeps for the next one: 4 MiB at most. Large tables of small streams
// would otherwise take longer to get from the system than to use. The context of order 1 is a value: no row is that of
// one below the base.
const uint32_t *decode_table(const uint16_t *frequency, int base, int span, bool order1, int bits) {
    thread_local std::vector<uint32_t> kept;
    const size_t row = (size_t)1 << bits, first = order1 ? (size_t)base : 0, rows = order1 ? (size_t)span : 1;
    if (kept.size() < (first + rows) * row) kept.resize((first + rows) * row);
    for (size_t r = 0; r < rows; r++) {
        uint32_t *to = kept.data() + (first + r) * row, *const end = to + row;
        for (int s = 0; s < span; s++) {
            const uint32_t f = frequency[r * (size_t)span + (size_t)s], entry = (uint32_t)(base + s) | (f - 1) << 20;
            for (uint32_t i = 0; i < f; i++) to[i] = entry | i << 8;
            to += f;
        }
        std::fill(to, end, (uint32_t)base);  // a context that does not occur: any value will do
    }
    return kept.data();
}

inline uint32_t next_state(uint32_t entry, uint32_t x, int bits) {
    return (entry >> 20) * (x >> bits) + ((x >> bits) + (entry >> 8 & 0xFFF));
}

// One step, never reading behind the last word.
template <int LANES> void decode_step(Decoder<LANES> &coder, uint8_t *value, bool order1) {
    for (int l = 0; l < LANES; l++) {
        uint32_t x = coder.state[l];
        const uint32_t entry = coder.table[(order1 ? (size_t)coder.context[l] << coder.bits : 0) + (x & ((1u << coder.bits) - 1))];
        x = next_state(entry, x, coder.bits);
        if (x < LOWEST) {
            require(coder.end - coder.word >= 2, "the words end early");
            uint16_t w;
            std::memcpy(&w, coder.word, 2);
            coder.word += 2;
            x = x << 16 | w;
        }
        coder.state[l] = x;
        value[l] = coder.context[l] = (uint8_t)entry;
    }
}

// TILE steps; two bytes for every value must be readable at the words.
template <int LANES, bool ORDER1> void decode_tile(Decoder<LANES> &coder, Step<LANES> *steps) {
    const uint32_t *table = coder.table, low = (1u << coder.bits) - 1;
    const int bits = coder.bits;
    const uint8_t *word = coder.word;
    uint32_t row[LANES];
    for (int l = 0; l < LANES; l++) row[l] = ORDER1 ? (uint32_t)coder.context[l] << bits : 0;
    for (int t = 0; t < TILE; t++)
        // Four lanes together: what does not depend on the words goes on at once.
        for (int first = 0; first < LANES; first += 4) {
            uint32_t *state = coder.state + first, entry[4], x[4];
            for (int l = 0; l < 4; l++) {
                entry[l] = table[row[first + l] + (state[l] & low)];
                x[l] = next_state(entry[l], state[l], bits);
            }
            for (int l = 0; l < 4; l++) {
                uint16_t w;
                std::memcpy(&w, word, 2);
                const uint32_t small = x[l] < LOWEST;
                word += 2 * small;
                state[l] = x[l] << (16 * small) | (w & (0 - small));
            }
            for (int l = 0; l < 4; l++) {
                steps[t][(size_t)(first + l)] = (uint8_t)entry[l];
                if (ORDER1) row[first + l] = (entry[l] & 0xFF) << bits;
            }
        }
    std::memcpy(coder.context, steps[TILE - 1].data(), LANES);
    coder.word = word;
}

#if defined(AGD_X86)
// Entries of eight lanes. Loads of their own are at least as fast as gathers of eight are, on every processor.
AGD_AVX2 AGD_INLINE __m256i load_entries(const uint32_t *table, __m256i at) {
    const auto four = [&](__m128i index) AGD_INLINED AGD_AVX2 {
        const uint64_t a = (uint64_t)_mm_cvtsi128_si64(index), b = (uint64_t)_mm_extract_epi64(index, 1);
        __m128i x = _mm_cvtsi32_si128((int)table[(uint32_t)a]);
        x = _mm_insert_epi32(x, (int)table[a >> 32], 1);
        x = _mm_insert_epi32(x, (int)table[(uint32_t)b], 2);
        return _mm_insert_epi32(x, (int)table[b >> 32], 3);
    };
    const __m128i low = four(_mm256_castsi256_si128(at)), high = four(_mm256_extracti128_si256(at, 1));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

template <int LANES, bool ORDER1> AGD_AVX2 void decode_tile_avx2(Decoder<LANES> &coder, Step<LANES> *steps) {
    constexpr int VECTORS = LANES / 8;
    const Permutations &permute = permutations();
    const uint32_t *table = coder.table;
    const __m128i bits = _mm_cvtsi32_si128(coder.bits);
    const __m256i low = _mm256_set1_epi32((1 << coder.bits) - 1), low8 = _mm256_set1_epi32(0xFF);
    const __m256i low12 = _mm256_set1_epi32(0xFFF), lowest = _mm256_set1_epi32((int)LOWEST);
    const __m256i mix = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i state[VECTORS], value[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
        state[v] = _mm256_loadu_si256((const __m256i *)(coder.state + 8 * v));
        value[v] = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(coder.context + 8 * v)));
    }
    const uint8_t *word = coder.word;
    for (int t = 0; t < TILE; t++) {
        for (int v = 0; v < VECTORS; v++) {
            __m256i x = state[v], at = _mm256_and_si256(x, low);
            if (ORDER1) at = _mm256_add_epi32(at, _mm256_sll_epi32(value[v], bits));
            const __m256i entry = load_entries(table, at);
            value[v] = _mm256_and_si256(entry, low8);
            const __m256i high = _mm256_srl_epi32(x, bits), bias = _mm256_and_si256(_mm256_srli_epi32(entry, 8), low12);
            x = _mm256_add_epi32(_mm256_mullo_epi32(_mm256_srli_epi32(entry, 20), high), _mm256_add_epi32(high, bias));
            const __m256i small = _mm256_cmpgt_epi32(lowest, x);
            const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(small));
            const __m256i words = _mm256_permutevar8x32_epi32(
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)word)),
                _mm256_load_si256((const __m256i *)permute.expand[mask]));
            word += 2 * std::popcount(mask);
            state[v] = _mm256_blendv_epi8(x, _mm256_or_si256(_mm256_slli_epi32(x, 16), words), small);
        }
        for (int v = 0; v < VECTORS; v += 4) {
            const __m256i packed = _mm256_packus_epi16(_mm256_packus_epi32(value[v], value[v + 1]), _mm256_packus_epi32(value[v + 2], value[v + 3]));
            _mm256_storeu_si256((__m256i *)(steps[t].data() + 8 * v), _mm256_permutevar8x32_epi32(packed, mix));
        }
    }
    for (int v = 0; v < VECTORS; v++) _mm256_storeu_si256((__m256i *)(coder.state + 8 * v), state[v]);
    std::memcpy(coder.context, steps[TILE - 1].data(), LANES);
    coder.word = word;
}

// Entries of sixteen lanes; their places go through memory, which takes fewer instructions than taking a vector apart.
AGD_AVX512 AGD_INLINE __m512i load_entries(const uint32_t *table, __m512i at) {
    alignas(64) uint32_t place[16];
    _mm512_store_si512(place, at);
    const auto four = [&](const uint32_t *i) AGD_INLINED AGD_AVX512 {
        const __m128i x = _mm_cvtsi32_si128((int)table[i[0]]), y = _mm_cvtsi32_si128((int)table[i[2]]);
        return _mm_unpacklo_epi64(_mm_insert_epi32(x, (int)table[i[1]], 1), _mm_insert_epi32(y, (int)table[i[3]], 1));
    };
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(four(place)), four(place + 4), 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(four(place + 8)), four(place + 12), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

template <int LANES, bool ORDER1, bool GATHER> AGD_AVX512 void decode_tile_avx512(Decoder<LANES> &coder, Step<LANES> *steps) {
    constexpr int VECTORS = LANES / 16;
    const uint32_t *table = coder.table;
    const __m128i bits = _mm_cvtsi32_si128(coder.bits);
    const __m512i low = _mm512_set1_epi32((1 << coder.bits) - 1), low8 = _mm512_set1_epi32(0xFF);
    const __m512i low12 = _mm512_set1_epi32(0xFFF), lowest = _mm512_set1_epi32((int)LOWEST);
    __m512i state[VECTORS], value[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
        state[v] = _mm512_loadu_si512(coder.state + 16 * v);
        value[v] = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(coder.context + 16 * v)));
    }
    const uint8_t *word = coder.word;
    for (int t = 0; t < TILE; t++)
        for (int v = 0; v < VECTORS; v++) {
            __m512i x = state[v], at = _mm512_and_si512(x, low);
            if (ORDER1) at = _mm512_add_epi32(at, _mm512_sll_epi32(value[v], bits));
            const __m512i entry = GATHER ? _mm512_i32gather_epi32(at, table, 4) : load_entries(table, at);
            value[v] = _mm512_and_si512(entry, low8);
            _mm_storeu_si128((__m128i *)(steps[t].data() + 16 * v), _mm512_cvtepi32_epi8(entry));
            const __m512i high = _mm512_srl_epi32(x, bits), bias = _mm512_and_si512(_mm512_srli_epi32(entry, 8), low12);
            x = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_srli_epi32(entry, 20), high), _mm512_add_epi32(high, bias));
            const __mmask16 small = _mm512_cmplt_epu32_mask(x, lowest);
            const __m512i words = _mm512_maskz_expand_epi32(small, _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)word)));
            word += 2 * std::popcount((unsigned)small);
            state[v] = _mm512_mask_or_epi32(x, small, _mm512_slli_epi32(x, 16), words);
        }
    for (int v = 0; v < VECTORS; v++) _mm512_storeu_si512(coder.state + 16 * v, state[v]);
    std::memcpy(coder.context, steps[TILE - 1].data(), LANES);
    coder.word = word;
}
#endif

template <int LANES> auto *tile_decoder(bool order1) {
#if defined(AGD_X86)
    if (simd() >= Simd::GATHERS) return order1 ? decode_tile_avx512<LANES, true, true> : decode_tile_avx512<LANES, false, true>;
    if (simd() >= Simd::AVX512) return order1 ? decode_tile_avx512<LANES, true, false> : decode_tile_avx512<LANES, false, false>;
    if (simd() >= Simd::AVX2) return order1 ? decode_tile_avx2<LANES, true> : decode_tile_avx2<LANES, false>;
#endif
    return order1 ? decode_tile<LANES, true> : decode_tile<LANES, false>;
}

template <int LANES>
void decode_values(In<uint8_t> &data, int base, int span, bool order1, int bits, In<uint16_t> &frequencies, Out<uint8_t> &out) {
    uint8_t *p = out.data();
    const int64_t n = (int64_t)out.size(), steps = n / LANES, rest = n % LANES, size = (int64_t)data.size();
    const int64_t head = rest + (steps ? 4 * LANES : 0);
    require(size >= head && (size - head) % 2 == 0, "the coded values end early");
    for (int64_t i = 0; i < rest; i++) {
        require((uint8_t)(data.data()[i] - base) < span, "a value lies outside of the span", -1, i);
        p[steps * LANES + i] = data.data()[i];
    }
    if (steps == 0) return require(size == head, "there is more than the values");
    Decoder<LANES> coder{decode_table(frequencies.data(), base, span, order1, bits), bits, {}, {}, data.data() + head,
                         data.data() + size};
    std::memset(coder.context, base, sizeof(coder.context));
    std::memcpy(coder.state, data.data() + rest, sizeof(coder.state));
    for (uint32_t x : coder.state) require(x >= LOWEST && x < 1u << 31, "a state is out of range");
    const auto decode = tile_decoder<LANES>(order1);
    std::array<Step<LANES>, TILE> tile;
    for (int64_t start = 0; start < steps; start += TILE) {
        const int64_t count = std::min<int64_t>(TILE, steps - start);
        if (count == TILE && coder.end - coder.word >= TILE * LANES * 2)
            decode(coder, tile.data());
        else
            for (int64_t t = 0; t < count; t++) decode_step(coder, tile[(size_t)t].data(), order1);
        // No processor foresees where so many lanes go on.
        if (steps - start > 4 * TILE)
            for (int l = 0; l < LANES; l++) __builtin_prefetch(p + l * steps + start + 2 * TILE, 1);
        if (count == TILE)
            for (int l = 0; l < LANES; l += 32)
                for (int t = 0; t < TILE; t += 32) transpose(tile[(size_t)t].data() + l, LANES, p + l * steps + start + t, steps);
        else
            for (int64_t t = 0; t < count; t++)
                for (int l = 0; l < LANES; l++) p[l * steps + start + t] = tile[(size_t)t][(size_t)l];
    }
    require(coder.word == coder.end, "there is more than the values");
    for (uint32_t x : coder.state) require(x == LOWEST, "a state does not end where it began");
}

// A bit for each frequency, 1 where it is not 0; then of those the frequencies less one: all low bytes, all high bytes.
void rans_table(In<uint8_t> raw, Out<uint16_t> frequencies) {
    nb::gil_scoped_release unlocked;
    const size_t n = frequencies.size(), size = (n + 7) / 8;
    require(raw.size() >= size, "the table ends early");
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += (size_t)std::popcount(raw.data()[i]);
    require(n % 8 == 0 || raw.data()[size - 1] >> n % 8 == 0, "padding that is not zero", -1, (int64_t)size - 1);
    require(raw.size() == size + 2 * count, "the table has more or fewer frequencies than bits");
    const uint8_t *low = raw.data() + size, *high = low + count;
    for (size_t i = 0; i < n; i++) {
        uint32_t frequency = 0;
        // What is too much is not 0 either: the sum of the context tells.
        if (raw.data()[i / 8] >> i % 8 & 1) frequency = std::min(*low++ + (*high++ << 8), 4096) + 1;
        frequencies.data()[i] = (uint16_t)frequency;
    }
}

// The inverse of rans_encode, out[:] being the values.
void rans_decode(In<uint8_t> data, int base, int span, int order, int bits, In<uint16_t> frequencies, int lanes, Out<uint8_t> out) {
    nb::gil_scoped_release unlocked;
    check_table(frequencies, base, span, order, bits);
    with_lanes(lanes, [&](auto L) { decode_values<L>(data, base, span, order == 1, bits, frequencies, out); });
}

}  // namespace

void bind_rans_decode(nb::module_ &m) {
    m.def("rans_table", &rans_table, nb::arg("raw").noconvert(), nb::arg("frequencies").noconvert());
    m.def("rans_decode", &rans_decode, nb::arg("data").noconvert(), nb::arg("base"), nb::arg("span"), nb::arg("order"),
          nb::arg("bits"), nb::arg("frequencies").noconvert(), nb::arg("lanes"), nb::arg("out").noconvert());
}

}  // namespace agd
