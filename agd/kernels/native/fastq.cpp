// Finding and checking the records of FASTQ text.
#include "common.hpp"
#include "vector.hpp"

#include <nanobind/stl/pair.h>

#include <utility>

namespace agd {

static AGD_INLINE bool is_letter(uint8_t c) { return (uint8_t)((c | 0x20) - 'a') < 26; }

static bool is_base(uint8_t c) { return is_letter(c) || c == '.' || c == '-' || c == '*' || c == '='; }

static AGD_INLINE bool is_quality(uint8_t c) { return (uint8_t)(c - 33) <= 93; }

AGD_MULTIVERSION static bool only_letters(const uint8_t *p, int64_t n) {
    const auto bad = [](const Block &b) __attribute__((always_inline)) { return (Block)((Block)((b | 0x20) - 'a') >= 26); };
    return !any_of(p, n, bad, [](uint8_t c) __attribute__((always_inline)) { return !is_letter(c); });
}

AGD_MULTIVERSION static bool only_qualities(const uint8_t *p, int64_t n) {
    const auto bad = [](const Block &b) __attribute__((always_inline)) { return (Block)((Block)(b - 33) > 93); };
    return !any_of(p, n, bad, [](uint8_t c) __attribute__((always_inline)) { return !is_quality(c); });
}

namespace {

// Walks over the records of one buffer. A line that has no end yet is no error unless the buffer ends the file.
struct Scanner {
    const uint8_t *buffer;
    int64_t size;
    bool final, crlf;
    int64_t record = 0, position = 0;

    [[noreturn]] void fail(const char *reason, int64_t offset) const { throw KernelError(reason, record, offset); }

    // The record ends inside line `line` (1 to 4): an error at the end of a file, otherwise false.
    bool incomplete(int line) const {
        static const char *reasons[] = {"the file ends inside line 1 of a record", "the file ends inside line 2 of a record",
                                        "the file ends inside line 3 of a record", "the file ends inside line 4 of a record"};
        if (final) fail(reasons[line - 1], size);
        return false;
    }

    // Ends of the line at `start`: of its text, and where the next line starts. False: there is no line end.
    bool line(int64_t start, int64_t &end, int64_t &next) const {
        const void *found = start < size ? std::memchr(buffer + start, '\n', (size_t)(size - start)) : nullptr;
        if (!found) return false;
        end = (const uint8_t *)found - buffer;
        next = end + 1;
        if (crlf) {
            if (end == start || buffer[end - 1] != '\r') fail("line ends differ: a line has no carriage return", end);
            end--;
        }
        return true;
    }

    bool only_blank_lines() const {
        for (int64_t i = position; i < size; i++)
            if (buffer[i] != '\n' && buffer[i] != '\r') return false;
        return true;
    }

    void check_bases(int64_t start, int64_t end) const {
        if (only_letters(buffer + start, end - start)) return;
        for (int64_t i = start; i < end; i++)
            if (!is_base(buffer[i])) fail("bad character in the sequence", i);
    }

    void check_qualities(int64_t start, int64_t end) const {
        if (only_qualities(buffer + start, end - start)) return;
        for (int64_t i = start; i < end; i++)
            if (!is_quality(buffer[i])) fail("bad character in the qualities", i);
    }

    // The quality line of a read of `length` bases. False: not complete.
    bool qualities(int64_t start, int64_t length, int64_t &end, int64_t &next) const {
        end = start + length;
        next = end + (crlf ? 2 : 1);
        const bool fits = next <= size && buffer[next - 1] == '\n' && (!crlf || buffer[end] == '\r');
        if ((fits || (final && end == size)) && only_qualities(buffer + start, length)) {
            if (!fits) next = size;
            return true;
        }
        // Something is wrong, or the line is not complete: take the line as it is to say what.
        if (!line(start, end, next)) {
            if (!final || size - start < length) return incomplete(4);
            if (crlf && size - start == length + 1 && buffer[size - 1] == '\r') return incomplete(4);
            end = size;
        }
        check_qualities(start, end);
        fail("sequence and qualities differ in length", start);
    }

    // Finds the next record and writes its spans. False: there is no further complete record.
    bool next(int64_t *span) {
        if (position >= size) return false;
        const uint8_t first = buffer[position];
        if ((first == '\n' || first == '\r') && only_blank_lines()) return false;
        if (first != '@') fail("a record does not start with '@'", position);
        int64_t name_end, sequence, sequence_end, plus, plus_end, quality, quality_end, end;
        if (!line(position + 1, name_end, sequence)) return incomplete(1);
        if (!line(sequence, sequence_end, plus)) return incomplete(2);
        check_bases(sequence, sequence_end);
        if (plus >= size) return incomplete(3);
        if (buffer[plus] != '+') fail("the third line of a record does not start with '+'", plus);
        if (!line(plus + 1, plus_end, quality)) return incomplete(3);
        if (!qualities(quality, sequence_end - sequence, quality_end, end)) return false;
        const int64_t found[8] = {position + 1, name_end, sequence, sequence_end, plus + 1, plus_end, quality, quality_end};
        std::memcpy(span, found, sizeof(found));
        position = end;
        record++;
        return true;
    }
};

}  // namespace

// Finds complete four-line records; returns their number and the bytes that they take.
std::pair<int64_t, int64_t> fastq_scan(In<uint8_t> buffer, bool final, bool crlf, Out<int64_t> spans) {
    nb::gil_scoped_release unlocked;
    Scanner scanner{buffer.data(), (int64_t)buffer.size(), final, crlf};
    const int64_t capacity = (int64_t)spans.size() / 8;
    while (scanner.record < capacity && scanner.next(spans.data() + 8 * scanner.record)) {
    }
    return {scanner.record, scanner.position};
}

void bind_fastq(nb::module_ &m) {
    m.def("fastq_scan", &fastq_scan, nb::arg("buffer").noconvert(), nb::arg("final"), nb::arg("crlf"),
          nb::arg("spans").noconvert());
}

}  // namespace agd
