// Sort keys and stable sorts.
#include "common.hpp"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

namespace agd {

namespace {

struct Item {
    uint64_t key;
    int64_t index;
};

// Ends of the ascending runs of items[0:n], as long as there are at most `most`; otherwise nothing.
std::vector<size_t> ascending_runs(const Item *items, size_t n, size_t most) {
    std::vector<size_t> ends;
    for (size_t i = 1; i < n; i++) {
        if (items[i].key >= items[i - 1].key) continue;
        if (ends.size() + 1 >= most) return {};
        ends.push_back(i);
    }
    ends.push_back(n);
    return ends;
}

// Merges two ascending runs, without a branch on the keys: these cannot be foretold.
void merge_two(const Item *a, const Item *a_end, const Item *b, const Item *b_end, Item *to) {
    while (a < a_end && b < b_end) {
        const bool second = b->key < a->key;
        const Item *from = second ? b : a;
        *to++ = *from;
        a += !second;
        b += second;
    }
    std::copy(b, b_end, std::copy(a, a_end, to));
}

// Merges neighbouring runs until one is left.
void merge_runs(Item *items, Item *other, size_t n, std::vector<size_t> ends) {
    Item *from = items, *to = other;
    while (ends.size() > 1) {
        std::vector<size_t> merged;
        size_t start = 0;
        for (size_t i = 0; i < ends.size(); i += 2) {
            const size_t middle = ends[i], end = i + 1 < ends.size() ? ends[i + 1] : middle;
            merge_two(from + start, from + middle, from + middle, from + end, to + start);
            merged.push_back(start = end);
        }
        std::swap(from, to);
        ends = std::move(merged);
    }
    if (from != items) std::copy(from, from + n, items);
}

// Insertion sort that gives up after `most` moves; whether it came to the end. What it leaves is stable either way.
bool insert(Item *items, size_t n, size_t most) {
    size_t moves = 0;
    for (size_t i = 1; i < n; i++) {
        const Item item = items[i];
        size_t k = i;
        for (; k > 0 && items[k - 1].key > item.key; k--) items[k] = items[k - 1];
        items[k] = item;
        moves += i - k;
        if (moves > most) return false;
    }
    return true;
}

// Least significant byte first; bytes that are the same in all keys are skipped.
void radix_sort(Item *items, Item *other, size_t n) {
    std::vector<size_t> counts(8 * 256);
    for (size_t i = 0; i < n; i++)
        for (int byte = 0; byte < 8; byte++) counts[256 * byte + (items[i].key >> (8 * byte) & 255)]++;
    Item *from = items, *to = other;
    for (int byte = 0; byte < 8; byte++) {
        size_t *count = counts.data() + 256 * byte;
        const int shift = 8 * byte;
        if (count[from[0].key >> shift & 255] == n) continue;
        size_t sum = 0;
        for (int value = 0; value < 256; value++) sum += std::exchange(count[value], sum);
        for (size_t i = 0; i < n; i++) to[count[from[i].key >> shift & 255]++] = from[i];
        std::swap(from, to);
    }
    if (from != items) std::copy(from, from + n, items);
}

// Stable sort by key; `other` is room for n items.
void sort_items(Item *items, Item *other, size_t n) {
    if (n < 64) {
        insert(items, n, n * n);
        return;
    }
    std::vector<size_t> runs = ascending_runs(items, n, 16);
    if (!runs.empty()) merge_runs(items, other, n, std::move(runs));
    else if (!insert(items, n, 8 * n)) radix_sort(items, other, n);
}

// Sorts keys by 11 bits at a time, least significant first, each with its index in the low bits of the same word. False,
// and nothing done, where both do not fit.
bool sort_packed(const uint64_t *key, size_t n, int64_t *out) {
    constexpr int DIGIT = 11;
    constexpr uint64_t VALUES = 1 << DIGIT;
    const auto [least, most] = std::minmax_element(key, key + n);
    const uint64_t first = *least;
    const int key_bits = std::bit_width(*most - first), index_bits = std::bit_width(n - 1);
    if (key_bits + index_bits > 64) return false;
    const int digits = (key_bits + DIGIT - 1) / DIGIT;
    std::vector<uint32_t> counts((size_t)digits * VALUES);
    std::vector<uint64_t> items(n), other(n);
    for (size_t i = 0; i < n; i++) {
        uint64_t rest = key[i] - first;
        items[i] = rest << index_bits | i;
        for (int digit = 0; digit < digits; digit++, rest >>= DIGIT) counts[(size_t)digit * VALUES + (rest & (VALUES - 1))]++;
    }
    for (int digit = 0; digit < digits; digit++) {
        uint32_t *count = counts.data() + (size_t)digit * VALUES;
        const int shift = index_bits + DIGIT * digit;
        if (count[items[0] >> shift & (VALUES - 1)] == n) continue;
        uint32_t sum = 0;
        for (uint64_t value = 0; value < VALUES; value++) sum += std::exchange(count[value], sum);
        for (const uint64_t item : items) other[count[item >> shift & (VALUES - 1)]++] = item;
        items.swap(other);
    }
    const uint64_t index = ~(uint64_t)0 >> (64 - index_bits);
    for (size_t i = 0; i < n; i++) out[i] = (int64_t)(items[i] & index);
    return true;
}

}  // namespace

void argsort_u64(In<uint64_t> keys, Out<int64_t> out) {
    nb::gil_scoped_release unlocked;
    const size_t n = keys.size();
    require(out.size() == n, "keys and output differ in length");
    const uint64_t *key = keys.data();
    if (std::is_sorted(key, key + n)) {
        for (size_t i = 0; i < n; i++) out.data()[i] = (int64_t)i;
        return;
    }
    // Of few keys there is less to sort than there are digits.
    if (n >= 1024 && n <= UINT32_MAX && sort_packed(key, n, out.data())) return;
    std::vector<Item> items(n), other(n);
    for (size_t i = 0; i < n; i++) items[i] = {key[i], (int64_t)i};
    sort_items(items.data(), other.data(), n);
    for (size_t i = 0; i < n; i++) out.data()[i] = items[i].index;
}

namespace {

// Stable sort of ragged byte strings: by eight bytes at a time, and again where these are equal.
struct BytesSorter {
    const uint8_t *values;
    const int64_t *offsets;
    std::vector<Item> items, other;

    struct Group {
        size_t start, end;
        int64_t depth;
    };
    std::vector<Group> pending;  // a stack of its own: equal long strings go deep

    int64_t length(const Item &item) const { return offsets[item.index + 1] - offsets[item.index]; }
    const uint8_t *bytes(const Item &item) const { return values + offsets[item.index]; }

    // First depth, from group.depth on, at which the strings of the group may differ.
    int64_t common_prefix(const Group &group) const {
        const Item &first = items[group.start];
        int64_t common = length(first);
        for (size_t i = group.start + 1; i < group.end; i++) {
            const uint8_t *a = bytes(first), *b = bytes(items[i]);
            common = std::min(common, length(items[i]));
            common = std::mismatch(a + group.depth, a + common, b + group.depth).first - a;
            if (common == group.depth) break;
        }
        return common;
    }

    // The eight bytes from `depth` on as a number in their order; zeros after the end.
    uint64_t prefix(const Item &item, int64_t depth) const {
        const int64_t rest = std::min<int64_t>(length(item) - depth, 8);
        uint64_t x = 0;
        std::memcpy(&x, bytes(item) + depth, (size_t)rest);
        if constexpr (std::endian::native == std::endian::little) x = __builtin_bswap64(x);
        return x;
    }

    void sort_group(Group group) {
        group.depth = common_prefix(group);
        for (size_t i = group.start; i < group.end; i++) items[i].key = prefix(items[i], group.depth);
        sort_items(items.data() + group.start, other.data() + group.start, group.end - group.start);
        for (size_t start = group.start, end; start < group.end; start = end) {
            for (end = start + 1; end < group.end && items[end].key == items[start].key; end++) {
            }
            if (end - start > 1) split_ties(start, end, group.depth);
        }
    }

    // Strings with the same eight bytes: those that end among them first, by length; the others wait for their turn.
    void split_ties(size_t start, size_t end, int64_t depth) {
        bool ends_differ = false, all_end = true;
        for (size_t i = start; i < end; i++) {
            const int64_t rest = std::min<int64_t>(length(items[i]) - depth, 9);
            ends_differ |= rest < 8;
            all_end &= rest <= 8;
        }
        if (ends_differ) {
            const auto rest = [&](const Item &item) { return std::min<int64_t>(length(item) - depth, 8); };
            std::stable_sort(items.begin() + (int64_t)start, items.begin() + (int64_t)end,
                             [&](const Item &a, const Item &b) { return rest(a) < rest(b); });
            while (start < end && rest(items[start]) < 8) start++;
        }
        if (!all_end && end - start > 1) pending.push_back({start, end, depth + 8});
    }

    void sort() {
        if (items.size() > 1) pending.push_back({0, items.size(), 0});
        while (!pending.empty()) {
            const Group group = pending.back();
            pending.pop_back();
            sort_group(group);
        }
    }
};

}  // namespace

void argsort_bytes(In<uint8_t> values, In<int64_t> offsets, Out<int64_t> out) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)values.size(), "offsets outside of the values");
    const size_t n = offsets.size() - 1;
    require(out.size() == n, "records and output differ in length");
    BytesSorter sorter{values.data(), offsets.data(), std::vector<Item>(n), std::vector<Item>(n), {}};
    for (size_t i = 0; i < n; i++) sorter.items[i].index = (int64_t)i;
    sorter.sort();
    for (size_t i = 0; i < n; i++) out.data()[i] = sorter.items[i].index;
}

void coordinate_keys(In<int32_t> reference, In<int64_t> position, In<uint16_t> flag, Out<uint64_t> out) {
    nb::gil_scoped_release unlocked;
    const size_t n = reference.size();
    require(position.size() == n && flag.size() == n && out.size() == n, "arrays differ in length");
    bool good = true;
    for (size_t i = 0; i < n; i++) {
        const int64_t where = position.data()[i];
        good &= where >= -1 && where < INT32_MAX && reference.data()[i] >= -1;
        // -1 as an unsigned number is the last reference.
        out.data()[i] = (uint64_t)(uint32_t)reference.data()[i] << 32 | ((uint64_t)where + 1) << 1 |
                        (flag.data()[i] >> 4 & 1);
    }
    if (good) return;
    for (size_t i = 0; i < n; i++) {
        const int64_t where = position.data()[i];
        require(reference.data()[i] >= -1, "reference is less than -1", (int64_t)i);
        require(where >= -1 && where < INT32_MAX, "position is not between -1 and 2^31 - 2", (int64_t)i);
    }
}

namespace {

struct Keys {
    uint8_t *out;
    int64_t room, used = 0;

    void put(uint8_t byte, int64_t record) {
        require(used < room, "keys do not fit the output", record);
        out[used++] = byte;
    }
};

bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

// A run of digits p[0:end] as a byte between '0' and '9' that tells the number of digits without leading zeros, and
// these digits. Nine digits and more: their number follows. Returns the end of the run.
const uint8_t *put_number(Keys &keys, const uint8_t *p, const uint8_t *end, int64_t record) {
    while (p < end && *p == '0') p++;
    const uint8_t *start = p;
    while (p < end && is_digit(*p)) p++;
    const int64_t digits = p - start;
    keys.put((uint8_t)('0' + std::min<int64_t>(digits, 9)), record);
    if (digits >= 9) {
        int64_t more = digits - 9;
        for (; more >= 255; more -= 255) keys.put(255, record);
        keys.put((uint8_t)more, record);
    }
    for (; start < p; start++) keys.put(*start, record);
    return p;
}

}  // namespace

int64_t name_keys(In<uint8_t> names, In<int64_t> offsets, In<uint16_t> flags, bool natural, Out<uint8_t> out,
                  Out<int64_t> out_offsets) {
    nb::gil_scoped_release unlocked;
    check_offsets(offsets.data(), offsets.size(), (int64_t)names.size(), "offsets outside of the names");
    const int64_t n = (int64_t)offsets.size() - 1;
    require((int64_t)flags.size() == n && (int64_t)out_offsets.size() == n + 1, "arrays differ in length");
    Keys keys{out.data(), (int64_t)out.size()};
    out_offsets.data()[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = names.data() + offsets.data()[i], *end = names.data() + offsets.data()[i + 1];
        while (p < end) {
            require(*p != 0, "a name holds a zero byte", i, p - names.data());
            if (natural && is_digit(*p)) p = put_number(keys, p, end, i);
            else keys.put(*p++, i);
        }
        const unsigned flag = flags.data()[i];
        keys.put(0, i);
        keys.put((uint8_t)((flag & 0xc0) | (flag & 0x100) >> 5 | (flag & 0x800) >> 11), i);
        out_offsets.data()[i + 1] = keys.used;
    }
    return keys.used;
}

void bind_order(nb::module_ &m) {
    const auto out = nb::arg("out").noconvert();
    m.def("coordinate_keys", &coordinate_keys, nb::arg("reference"), nb::arg("position"), nb::arg("flag"), out);
    m.def("argsort_u64", &argsort_u64, nb::arg("keys").noconvert(), out);
    m.def("argsort_bytes", &argsort_bytes, nb::arg("values").noconvert(), nb::arg("offsets"), out);
    m.def("name_keys", &name_keys, nb::arg("names").noconvert(), nb::arg("offsets"), nb::arg("flags"), nb::arg("natural"),
          out, nb::arg("out_offsets").noconvert());
}

}  // namespace agd
