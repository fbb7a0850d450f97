// Names of reads made from their pieces: texts and numbers (spec/codecs/names.md).
#include "common.hpp"
#include "spans.hpp"

#include <array>
#include <bit>
#include <optional>
#include <vector>

namespace agd {
namespace {

constexpr int MAX_DIGITS = 9;

constexpr std::array<uint32_t, 10> powers = [] {
    std::array<uint32_t, 10> p{1};
    for (size_t i = 1; i < p.size(); i++) p[i] = 10 * p[i - 1];
    return p;
}();

constexpr std::array<char, 200> two_digits = [] {
    std::array<char, 200> text{};
    for (size_t i = 0; i < 100; i++) text[2 * i] = (char)('0' + i / 10), text[2 * i + 1] = (char)('0' + i % 10);
    return text;
}();

// 1233 / 4096 is about log10(2).
AGD_INLINE int digits_of(uint32_t number) {
    const int about = std::bit_width(number | 1) * 1233 >> 12;
    return about + (number >= powers[(size_t)about] || about == 0);
}

AGD_INLINE void write_digits(uint8_t *to, uint32_t number, int digits) {
    for (; digits >= 2; digits -= 2, number /= 100) std::memcpy(to + digits - 2, two_digits.data() + 2 * (number % 100), 2);
    if (digits) *to = (uint8_t)('0' + number % 10);
}

// What stands at one place of every name: a number, or one of the entries of a text.
struct Piece {
    std::optional<In<uint32_t>> numbers;
    std::optional<In<uint8_t>> values;
    std::optional<In<int64_t>> offsets, ids;
    int width = 0;  // digits of a number, 0: as many as it takes
    bool one = false;  // the same text in all names

    Piece(nb::tuple fields, int64_t names) {
        if (nb::len(fields) == 2) {
            numbers = nb::cast<In<uint32_t>>(fields[0]);
            width = nb::cast<int>(fields[1]);
            require(width >= 0 && width <= MAX_DIGITS, "no such width");
            require((int64_t)numbers->size() == names, "numbers and names differ in number");
            for (int64_t i = 0; i < names; i++)
                require(numbers->data()[i] < powers[(size_t)(width ? width : MAX_DIGITS)], "number is too large for its width", i);
            return;
        }
        require(nb::len(fields) == 3, "a piece has two or three fields");
        values = nb::cast<In<uint8_t>>(fields[0]);
        offsets = nb::cast<In<int64_t>>(fields[1]);
        check_offsets(offsets->data(), offsets->size(), (int64_t)values->size(), "offsets outside of the texts");
        const int64_t entries = (int64_t)offsets->size() - 1;
        if (!fields[2].is_none()) {
            ids = nb::cast<In<int64_t>>(fields[2]);
            require((int64_t)ids->size() == names, "texts and names differ in number");
            for (int64_t i = 0; i < names; i++)
                require(ids->data()[i] >= 0 && ids->data()[i] < entries, "there is no such text", i);
        } else {
            one = entries == 1;
            require(one || entries == names, "texts and names differ in number");
        }
    }

    AGD_INLINE int64_t entry(int64_t i) const { return one ? 0 : ids ? ids->data()[i] : i; }
    AGD_INLINE int64_t size(int64_t i) const {
        if (numbers) return width ? width : digits_of(numbers->data()[i]);
        const int64_t *o = offsets->data() + entry(i);
        return o[1] - o[0];
    }
};

std::vector<Piece> pieces_of(nb::list list, int64_t names) {
    std::vector<Piece> pieces;
    for (nb::handle fields : list) pieces.emplace_back(nb::cast<nb::tuple>(fields), names);
    return pieces;
}

// Number of bytes of every name.
void name_sizes(nb::list list, Out<int64_t> sizes) {
    const int64_t n = (int64_t)sizes.size();
    const auto pieces = pieces_of(list, n);
    nb::gil_scoped_release unlocked;
    std::fill(sizes.data(), sizes.data() + n, 0);
    for (const Piece &piece : pieces)
        for (int64_t i = 0; i < n; i++) sizes.data()[i] += piece.size(i);
}

// Writes every name to where it starts.
void write_names(nb::list list, In<int64_t> starts, Out<uint8_t> out) {
    const int64_t n = (int64_t)starts.size(), room = (int64_t)out.size();
    const auto pieces = pieces_of(list, n);
    nb::gil_scoped_release unlocked;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = starts.data()[i];
        require(at >= 0, "name outside of the output", i);
        for (const Piece &piece : pieces) {
            const int64_t size = piece.size(i);
            require(size <= room - at, "name outside of the output", i);
            uint8_t *to = out.data() + at;
            if (piece.numbers) write_digits(to, piece.numbers->data()[i], (int)size);
            else copy_short(to, piece.values->data() + piece.offsets->data()[piece.entry(i)], size);
            at += size;
        }
    }
}

}  // namespace

void bind_name_pieces(nb::module_ &m) {
    m.def("name_sizes", &name_sizes, nb::arg("pieces"), nb::arg("sizes").noconvert());
    m.def("write_names", &write_names, nb::arg("pieces"), nb::arg("starts").noconvert(), nb::arg("out").noconvert());
}

}  // namespace agd
