// From the bare hits of an aligner to SAM records: flags, mates, clips, tags.
#include "hits.hpp"
#include "simd.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <string>

namespace agd {
namespace {

// Bits of FLAG (SAM specification, section 1.4).
enum Flag : uint16_t {
    PAIRED = 0x1, PROPER_PAIR = 0x2, UNMAPPED = 0x4, MATE_UNMAPPED = 0x8, REVERSE = 0x10, MATE_REVERSE = 0x20,
    READ1 = 0x40, READ2 = 0x80, SECONDARY = 0x100, SUPPLEMENTARY = 0x800
};

constexpr int64_t LONGEST_READ = (1 << 28) - 1;  // what the length of a CIGAR operation can hold

// agd.kernels.hits.Scoring.
struct Scoring {
    int64_t match, mismatch, ambiguous, open, extend, long_open, long_extend;
    explicit Scoring(const std::array<int32_t, 7> &v)
        : match(v[0]), mismatch(v[1]), ambiguous(v[2]), open(v[3]), extend(v[4]), long_open(v[5]), long_extend(v[6]) {}
    int64_t gap(int64_t n) const { return std::min(open + n * extend, long_open + n * long_extend); }
};

struct Hits {
    const int64_t *offsets;
    const int32_t *reference;
    const int64_t *start;
    const int32_t *query_start, *query_end;
    const uint8_t *mapping_quality, *bits;
    const uint32_t *cigar;
    const int64_t *cigar_offsets;
    int64_t reads, count;
};

struct Text {
    const uint8_t *values;
    const int64_t *offsets;
};

// What the walk along a hit finds (its MD is kept in one buffer for all hits), and which hit it is an alternative of.
struct Found {
    int64_t end, nm, score, md, md_end;
    bool secondary = false;
    int64_t parent = -1;
};

struct Options {
    bool paired, secondary;
    int64_t alternatives;
    double alternative_ratio;
    const uint8_t *group;
    int64_t group_length;
};

class Finisher {
  public:
    Finisher(const Hits &hits, Text bases, Text genome, Text names, int64_t contigs, const Scoring &scoring,
             const Options &options)
        : h(hits), bases(bases), genome(genome), names(names), contigs(contigs), scoring(scoring), options(options) {}

    std::vector<uint16_t> flag;
    std::vector<int32_t> reference, mate_reference;
    std::vector<int64_t> position, mate_position, template_length, cigar_offsets{0}, tag_offsets{0}, read_of;
    std::vector<uint8_t> mapping_quality, tags;
    std::vector<uint32_t> cigar;

    void run() {
        found.resize((size_t)h.count);
        primary.assign((size_t)h.reads, -1);
        for (int64_t r = 0; r < h.reads; r++) {
            for (int64_t i = h.offsets[r]; i < h.offsets[r + 1]; i++) fetch(i + AHEAD), examine(r, i);
            primary[(size_t)r] = choose(r);
            relate(r);
        }
        for (auto *v : {&position, &mate_position, &template_length, &cigar_offsets, &tag_offsets})
            v->reserve((size_t)h.reads + (size_t)h.reads / 8 + 1);
        tags.reserve((size_t)h.reads * 48);
        for (int64_t r = 0; r < h.reads; r++) line(r, primary[(size_t)r]);
        for (int64_t r = 0; r < h.reads; r++)
            for (int64_t i = h.offsets[r]; i < h.offsets[r + 1]; i++)
                if (i != primary[(size_t)r] && (options.secondary || !found[(size_t)i].secondary)) {
                    line(r, i);
                    read_of.push_back(r);
                }
    }

  private:
    const Hits h;
    const Text bases, genome, names;
    const int64_t contigs;
    const Scoring scoring;
    const Options options;
    std::vector<Found> found;
    std::vector<int64_t> primary;  // hit of each read, or -1
    std::vector<char> md;
    std::vector<uint8_t> turned;

    bool is_reverse(int64_t i) const { return h.bits[i] & HIT_REVERSE; }
    int64_t read_length(int64_t r) const { return bases.offsets[r + 1] - bases.offsets[r]; }
    int64_t mate(int64_t r) const { return options.paired ? primary[(size_t)(r ^ 1)] : -1; }

    // The one that the aligner calls primary; should it call none so, the first that is not secondary, or the first.
    int64_t choose(int64_t r) const {
        int64_t best = -1, rank = 3;
        for (int64_t i = h.offsets[r]; i < h.offsets[r + 1]; i++) {
            const int64_t this_rank = h.bits[i] & HIT_SECONDARY ? 2 : h.bits[i] & HIT_SUPPLEMENTARY ? 1 : 0;
            if (this_rank < rank) best = i, rank = this_rank;
        }
        return best;
    }

    int64_t shared(int64_t a, int64_t b) const {
        return std::min(h.query_end[a], h.query_end[b]) - std::max(h.query_start[a], h.query_start[b]);
    }

    // A secondary hit is an alternative of the one that shares most of the read with it; of the primary if in doubt.
    void relate(int64_t r) {
        const int64_t own = primary[(size_t)r];
        for (int64_t i = h.offsets[r]; i < h.offsets[r + 1]; i++)
            found[(size_t)i].secondary = i != own && h.bits[i] & HIT_SECONDARY;
        for (int64_t i = h.offsets[r]; i < h.offsets[r + 1]; i++) {
            if (!found[(size_t)i].secondary) continue;
            int64_t best = own;
            for (int64_t k = h.offsets[r]; k < h.offsets[r + 1]; k++)
                if (!found[(size_t)k].secondary && shared(i, k) > shared(i, best)) best = k;
            found[(size_t)i].parent = best;
        }
    }

    // Hits lie anywhere in the genome, which no cache holds: what is compared soon is asked for now.
    static constexpr int64_t AHEAD = 8;
    void fetch(int64_t i) const {
        if (i >= h.count || h.reference[i] < 0 || h.reference[i] >= contigs || h.start[i] < 0) return;
        const int64_t *contig = genome.offsets + h.reference[i];
        if (h.start[i] >= contig[1] - contig[0]) return;
        const uint8_t *from = genome.values + contig[0] + h.start[i];
        for (int line = 0; line < 4; line++) __builtin_prefetch(from + 64 * line);
    }

    // Checks a hit and compares its bases with the reference.
    void examine(int64_t r, int64_t i) {
        const int64_t length = read_length(r), from = h.query_start[i], to = h.query_end[i];
        require(length <= LONGEST_READ, "read is longer than a CIGAR can tell", r);
        require(h.reference[i] >= 0 && h.reference[i] < contigs, "reference of a hit is not one of the contigs", r);
        require(from >= 0 && from <= to && to <= length, "hit lies outside of its read", r);
        const int64_t *contig = genome.offsets + h.reference[i];
        const int64_t contig_length = contig[1] - contig[0];
        int64_t query = 0, span = 0, aligned = 0, deletions = 0, gaps = 0;
        for (int64_t k = h.cigar_offsets[i]; k < h.cigar_offsets[i + 1]; k++) {
            const uint32_t c = h.cigar[k];
            require(in(c, BOTH_BITS | REFERENCE_ONLY_BITS | 1u << I), "CIGAR operation of a hit is not one of MIDN=X", r);
            query += in(c, BOTH_BITS | 1u << I) ? operation_length(c) : 0;
            span += in(c, BOTH_BITS | REFERENCE_ONLY_BITS) ? operation_length(c) : 0;
            aligned += in(c, BOTH_BITS) ? operation_length(c) : 0;
            deletions += operation_code(c) == D;
            gaps += in(c, 1u << I | 1u << D) ? scoring.gap(operation_length(c)) : 0;
        }
        require(query == to - from && query > 0, "CIGAR of a hit does not fit its part of the read", r);
        require(h.start[i] >= 0 && span <= contig_length && h.start[i] <= contig_length - span,
                "hit lies outside of its contig", r);

        const size_t begin = md.size();
        md.resize(begin + (size_t)(2 * query + span + 2 * deletions + 1));
        const uint8_t *read = bases.values + bases.offsets[r] + from, *ref = genome.values + contig[0];
        if (is_reverse(i)) {
            turned.resize((size_t)query);
            for (int64_t k = 0; k < query; k++) turned[(size_t)k] = folded_complements[read[query - 1 - k]];
            read = turned.data();
        }
        Walk walk{read, read + query, ref + h.start[i], ref + contig_length, md.data() + begin};
        vectorised([&]() AGD_INLINED {
            for (int64_t k = h.cigar_offsets[i]; k < h.cigar_offsets[i + 1]; k++) walk.step(h.cigar[k]);
        });
        walk.count();
        md.resize((size_t)(walk.out - md.data()));
        const int64_t score = scoring.match * walk.matches - scoring.ambiguous * walk.ambiguous -
                              scoring.mismatch * (aligned - walk.matches - walk.ambiguous) - gaps;
        require(std::abs(score) <= std::numeric_limits<int32_t>::max(), "score of a hit does not fit 32 bits", r);
        require(walk.nm <= std::numeric_limits<int32_t>::max(), "NM does not fit 32 bits", r);
        found[(size_t)i] = {h.start[i] + span, walk.nm, score, (int64_t)begin, (int64_t)md.size()};
    }

    // 5' end of a hit along the reference.
    int64_t five(int64_t i) const { return is_reverse(i) ? found[(size_t)i].end - 1 : h.start[i]; }

    bool proper(int64_t a, int64_t b) const {
        if (a < 0 || b < 0 || !(h.bits[a] & h.bits[b] & HIT_PROPER) || h.reference[a] != h.reference[b]) return false;
        if (is_reverse(a) == is_reverse(b)) return false;
        const int64_t forward = is_reverse(a) ? b : a, backward = is_reverse(a) ? a : b;
        return h.start[forward] < found[(size_t)backward].end;
    }

    uint16_t flags(int64_t r, int64_t i) const {
        const int64_t own = primary[(size_t)r], other = mate(r);
        int f = 0;
        // An unmapped read takes the place and strand of its mate, as in bwa mem.
        if (i < 0) f |= UNMAPPED | (other >= 0 && is_reverse(other) ? REVERSE : 0);
        else f |= (is_reverse(i) ? REVERSE : 0) | (i == own ? 0 : found[(size_t)i].secondary ? SECONDARY : SUPPLEMENTARY);
        if (options.paired) {
            f |= PAIRED | (r & 1 ? READ2 : READ1) | (proper(own, other) ? PROPER_PAIR : 0);
            if (other < 0) f |= MATE_UNMAPPED | (own >= 0 && is_reverse(own) ? MATE_REVERSE : 0);
            else f |= is_reverse(other) ? MATE_REVERSE : 0;
        }
        return (uint16_t)f;
    }

    void line(int64_t r, int64_t i) {
        const int64_t own = primary[(size_t)r], other = mate(r);
        const int64_t place = i >= 0 ? i : other, mate_place = options.paired ? (other >= 0 ? other : own) : -1;
        flag.push_back(flags(r, i));
        reference.push_back(place >= 0 ? h.reference[place] : -1);
        position.push_back(place >= 0 ? h.start[place] : -1);
        mapping_quality.push_back(i >= 0 ? h.mapping_quality[i] : 0);
        mate_reference.push_back(mate_place >= 0 ? h.reference[mate_place] : -1);
        mate_position.push_back(mate_place >= 0 ? h.start[mate_place] : -1);
        int64_t distance = 0;
        if (i >= 0 && other >= 0 && h.reference[i] == h.reference[other]) distance = five(other) - five(i);
        template_length.push_back(distance + (distance > 0) - (distance < 0));
        if (i >= 0) add_cigar(r, i, i == own ? S : H);
        cigar_offsets.push_back((int64_t)cigar.size());
        add_tags(r, i, other);
        tag_offsets.push_back((int64_t)tags.size());
    }

    std::pair<int64_t, int64_t> clips(int64_t r, int64_t i) const {
        const int64_t first = h.query_start[i], last = read_length(r) - h.query_end[i];
        return is_reverse(i) ? std::pair{last, first} : std::pair{first, last};
    }

    void add_cigar(int64_t r, int64_t i, uint32_t clip) {
        const auto [left, right] = clips(r, i);
        if (left) cigar.push_back((uint32_t)left << 4 | clip);
        cigar.insert(cigar.end(), h.cigar + h.cigar_offsets[i], h.cigar + h.cigar_offsets[i + 1]);
        if (right) cigar.push_back((uint32_t)right << 4 | clip);
    }

    void put(const void *from, int64_t length) {
        tags.insert(tags.end(), (const uint8_t *)from, (const uint8_t *)from + length);
    }
    void put(const char *text) { put(text, (int64_t)std::strlen(text)); }
    void put(char letter) { tags.push_back((uint8_t)letter); }
    void put_decimal(int64_t value) {
        char digits[20];
        put(digits, std::to_chars(digits, digits + 20, value).ptr - digits);
    }

    // The smallest type that holds the value, as htslib chooses it.
    void put_integer(const char *tag, int64_t v) {
        put(tag, 2);
        const char type = v < -32768 ? 'i' : v < -128 ? 's' : v < 0 ? 'c' : v < 256 ? 'C' : v < 65536 ? 'S' : 'I';
        put(type);
        put(&v, type == 'c' || type == 'C' ? 1 : type == 's' || type == 'S' ? 2 : 4);
    }

    void put_cigar(int64_t r, int64_t i) {
        const auto [left, right] = clips(r, i);
        if (left) put_decimal(left), put('S');
        for (int64_t k = h.cigar_offsets[i]; k < h.cigar_offsets[i + 1]; k++)
            put_decimal(operation_length(h.cigar[k])), put("MIDNSHP=X"[operation_code(h.cigar[k])]);
        if (right) put_decimal(right), put('S');
    }

    void put_name(int64_t i) {
        const int64_t *n = names.offsets + h.reference[i];
        put(names.values + n[0], n[1] - n[0]);
    }

    void add_tags(int64_t r, int64_t i, int64_t other) {
        if (i >= 0) {
            const Found &f = found[(size_t)i];
            put_integer("NM", f.nm);
            put("MDZ"), put(md.data() + f.md, f.md_end - f.md), put('\0');
        }
        if (other >= 0) put("MCZ"), put_cigar(r ^ 1, other), put('\0');
        if (i >= 0) {
            put_integer("AS", found[(size_t)i].score);
            if (!found[(size_t)i].secondary) put_integer("XS", second_score(r, i));
        }
        if (options.group_length) put("RGZ"), put(options.group, options.group_length), put('\0');
        if (i >= 0 && !found[(size_t)i].secondary) {
            add_chimeric(r, i);
            if (!options.secondary) add_alternatives(r, i);
        }
    }

    template <class F> void each_alternative(int64_t r, int64_t i, F f) const {
        for (int64_t k = h.offsets[r]; k < h.offsets[r + 1]; k++)
            if (found[(size_t)k].parent == i) f(k);
    }

    int64_t second_score(int64_t r, int64_t i) const {
        int64_t best = 0;
        each_alternative(r, i, [&](int64_t k) { best = std::max(best, found[(size_t)k].score); });
        return best;
    }

    void add_chimeric(int64_t r, int64_t i) {
        bool any = false;
        auto add = [&](int64_t k) {
            if (!any) put("SAZ");
            any = true;
            put_name(k), put(','), put_decimal(h.start[k] + 1), put(','), put(is_reverse(k) ? '-' : '+'), put(',');
            put_cigar(r, k), put(','), put_decimal(h.mapping_quality[k]), put(','), put_decimal(found[(size_t)k].nm);
            put(';');
        };
        const int64_t own = primary[(size_t)r];
        if (i != own) add(own);
        for (int64_t k = h.offsets[r]; k < h.offsets[r + 1]; k++)
            if (k != i && k != own && !found[(size_t)k].secondary) add(k);
        if (any) put('\0');
    }

    void add_alternatives(int64_t r, int64_t i) {
        const double least = options.alternative_ratio * (double)found[(size_t)i].score;
        int64_t number = 0;
        auto good = [&](int64_t k) { return (double)found[(size_t)k].score >= least; };
        each_alternative(r, i, [&](int64_t k) { number += good(k); });
        if (!number || number > options.alternatives) return;
        put("XAZ");
        each_alternative(r, i, [&](int64_t k) {
            if (!good(k)) return;
            put_name(k), put(','), put(is_reverse(k) ? '-' : '+'), put_decimal(h.start[k] + 1), put(',');
            put_cigar(r, k), put(','), put_decimal(found[(size_t)k].nm), put(';');
        });
        put('\0');
    }
};

template <class A> A item(const nb::tuple &t, size_t i) {
    A array;
    if (!nb::try_cast<A>(t[i], array, false))
        throw KernelError("array " + std::to_string(i) + " of the hits is not contiguous or of another dtype");
    return array;
}

nb::tuple finish_hits(nb::tuple hits, In<uint8_t> bases, In<int64_t> base_offsets, In<uint8_t> genome,
                      In<int64_t> contig_offsets, In<uint8_t> names, In<int64_t> name_offsets, In<uint8_t> read_group,
                      bool paired, bool secondary, nb::tuple scoring, int64_t alternatives, double alternative_ratio) {
    require(hits.size() == 9, "hits are nine arrays");
    const auto offsets = item<In<int64_t>>(hits, 0);
    const auto reference = item<In<int32_t>>(hits, 1);
    const auto start = item<In<int64_t>>(hits, 2);
    const auto query_start = item<In<int32_t>>(hits, 3), query_end = item<In<int32_t>>(hits, 4);
    const auto mapping_quality = item<In<uint8_t>>(hits, 5), bits = item<In<uint8_t>>(hits, 6);
    const auto cigar = item<In<uint32_t>>(hits, 7);
    const auto cigar_offsets = item<In<int64_t>>(hits, 8);
    std::array<int32_t, 7> costs{};
    require(scoring.size() == costs.size(), "a scoring is seven numbers");
    for (size_t i = 0; i < costs.size(); i++) costs[i] = nb::cast<int32_t>(scoring[i]);

    const size_t count = start.size();
    require(reference.size() == count && query_start.size() == count && query_end.size() == count &&
                mapping_quality.size() == count && bits.size() == count && cigar_offsets.size() == count + 1,
            "arrays of hits differ in length");
    check_offsets(offsets.data(), offsets.size(), (int64_t)count, "offsets outside of the hits");
    check_offsets(cigar_offsets.data(), count + 1, (int64_t)cigar.size(), "offsets outside of the CIGARs");
    check_offsets(base_offsets.data(), base_offsets.size(), (int64_t)bases.size(), "offsets outside of the bases");
    check_offsets(contig_offsets.data(), contig_offsets.size(), (int64_t)genome.size(),
                  "offsets outside of the reference sequences");
    check_offsets(name_offsets.data(), name_offsets.size(), (int64_t)names.size(), "offsets outside of the names");
    require(base_offsets.size() == offsets.size(), "hits and bases differ in number of reads");
    require(name_offsets.size() == contig_offsets.size(), "names and contigs differ in number");
    const int64_t reads = (int64_t)offsets.size() - 1;
    require(!paired || reads % 2 == 0, "mates are missing: the number of reads is odd", reads - 1);

    const Hits view{offsets.data(), reference.data(), start.data(), query_start.data(), query_end.data(),
                    mapping_quality.data(), bits.data(), cigar.data(), cigar_offsets.data(), reads, (int64_t)count};
    const Options options{paired, secondary, alternatives, alternative_ratio, read_group.data(),
                          (int64_t)read_group.size()};
    Finisher f(view, {bases.data(), base_offsets.data()}, {genome.data(), contig_offsets.data()},
               {names.data(), name_offsets.data()}, (int64_t)contig_offsets.size() - 1, Scoring(costs), options);
    {
        nb::gil_scoped_release unlocked;
        f.run();
    }
    return nb::make_tuple(owned(std::move(f.flag)), owned(std::move(f.reference)), owned(std::move(f.position)),
                          owned(std::move(f.mapping_quality)), owned(std::move(f.mate_reference)),
                          owned(std::move(f.mate_position)), owned(std::move(f.template_length)),
                          owned(std::move(f.cigar)), owned(std::move(f.cigar_offsets)), owned(std::move(f.tags)),
                          owned(std::move(f.tag_offsets)), owned(std::move(f.read_of)));
}

}  // namespace

void bind_finish(nb::module_ &m) {
    m.def("finish_hits", &finish_hits, nb::arg("hits"), nb::arg("bases"), nb::arg("base_offsets"), nb::arg("genome"),
          nb::arg("contig_offsets"), nb::arg("names"), nb::arg("name_offsets"), nb::arg("read_group"),
          nb::arg("paired"), nb::arg("secondary"), nb::arg("scoring"), nb::arg("alternatives"),
          nb::arg("alternative_ratio"));
}

}  // namespace agd
