// Python objects of hits, as aligners in this process give them, to arrays in one pass. Runs with the GIL.
#include "hits.hpp"

#include <limits>

namespace agd {
namespace {

// A new reference, or the Python error.
nb::object attribute(PyObject *object, PyObject *name) {
    PyObject *value = PyObject_GetAttr(object, name);
    if (!value) throw nb::python_error();
    return nb::steal(value);
}

struct Collector {
    nb::str contig{"contig"}, ref_start{"ref_start"}, query_start{"query_start"}, query_end{"query_end"},
        reverse{"reverse"}, mapq{"mapq"}, proper_pair{"proper_pair"}, is_secondary{"is_secondary"},
        is_primary{"is_primary"}, cigar{"cigar"};
    PyObject *contigs;
    nb::object last_contig;  // most hits lie on the contig of the one before
    int32_t last_reference = -1;

    std::vector<int64_t> offsets{0}, start, cigar_offsets{0};
    std::vector<int32_t> reference, query_start_values, query_end_values;
    std::vector<uint8_t> mapping_quality, bits;
    std::vector<uint32_t> operations;

    explicit Collector(PyObject *contigs) : contigs(contigs) {
        for (nb::str *name :
             {&contig, &ref_start, &query_start, &query_end, &reverse, &mapq, &proper_pair, &is_secondary, &is_primary, &cigar}) {
            // Interned names are compared by address when attributes are looked up.
            PyObject *interned = name->release().ptr();
            PyUnicode_InternInPlace(&interned);
            *name = nb::steal<nb::str>(interned);
        }
    }

    int64_t record() const { return (int64_t)offsets.size() - 1; }

    int64_t number(PyObject *hit, const nb::str &name, int64_t low, int64_t high) {
        const nb::object value = attribute(hit, name.ptr());
        const long long v = PyLong_AsLongLong(value.ptr());
        if (v == -1 && PyErr_Occurred()) throw nb::python_error();
        if (v < low || v > high) throw KernelError(std::string(name.c_str()) + " of a hit is out of range", record());
        return v;
    }

    bool truth(PyObject *hit, const nb::str &name) {
        const int v = PyObject_IsTrue(attribute(hit, name.ptr()).ptr());
        if (v < 0) throw nb::python_error();
        return v;
    }

    int32_t reference_of(PyObject *hit) {
        nb::object name = attribute(hit, contig.ptr());
        if (last_contig.is_valid()) {
            const int same = PyObject_RichCompareBool(name.ptr(), last_contig.ptr(), Py_EQ);
            if (same < 0) throw nb::python_error();
            if (same) return last_reference;
        }
        PyObject *index = PyDict_GetItemWithError(contigs, name.ptr());
        if (!index) {
            if (PyErr_Occurred()) throw nb::python_error();
            throw KernelError("the contig of a hit is not one of the reference", record());
        }
        const long long v = PyLong_AsLongLong(index);
        if (v == -1 && PyErr_Occurred()) throw nb::python_error();
        require(v >= 0 && v <= std::numeric_limits<int32_t>::max(), "index of a contig out of range", record());
        last_contig = std::move(name);
        return last_reference = (int32_t)v;
    }

    void add_cigar(PyObject *hit) {
        const nb::object list = attribute(hit, cigar.ptr());
        require(PyList_Check(list.ptr()), "the CIGAR of a hit is not a list", record());
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list.ptr()); i++) {
            PyObject *pair = PyList_GET_ITEM(list.ptr(), i);
            require(PyTuple_Check(pair) && PyTuple_GET_SIZE(pair) == 2 && PyUnicode_Check(PyTuple_GET_ITEM(pair, 0)) &&
                        PyUnicode_GET_LENGTH(PyTuple_GET_ITEM(pair, 0)) == 1,
                    "the CIGAR of a hit is not made of (letter, length)", record());
            const Py_UCS4 letter = PyUnicode_READ_CHAR(PyTuple_GET_ITEM(pair, 0), 0);
            const char *letters = "MIDNSHP=X", *at = letter && letter < 128 ? std::strchr(letters, (int)letter) : nullptr;
            require(at, "CIGAR operation is not one of MIDNSHP=X", record());
            const long long n = PyLong_AsLongLong(PyTuple_GET_ITEM(pair, 1));
            if (n == -1 && PyErr_Occurred()) throw nb::python_error();
            require(n >= 0 && n < 1 << 28, "length of a CIGAR operation out of range", record());
            operations.push_back((uint32_t)n << 4 | (uint32_t)(at - letters));
        }
        cigar_offsets.push_back((int64_t)operations.size());
    }

    void add_hit(PyObject *hit) {
        constexpr int64_t most = std::numeric_limits<int32_t>::max();
        reference.push_back(reference_of(hit));
        start.push_back(number(hit, ref_start, 0, std::numeric_limits<int64_t>::max()));
        query_start_values.push_back((int32_t)number(hit, query_start, 0, most));
        query_end_values.push_back((int32_t)number(hit, query_end, 0, most));
        mapping_quality.push_back((uint8_t)number(hit, mapq, 0, 255));
        uint8_t bit = (truth(hit, reverse) ? HIT_REVERSE : 0) | (truth(hit, proper_pair) ? HIT_PROPER : 0);
        if (!truth(hit, is_primary)) bit |= truth(hit, is_secondary) ? HIT_SECONDARY : HIT_SUPPLEMENTARY;
        bits.push_back(bit);
        add_cigar(hit);
    }

    void add_read(PyObject *hits) {
        require(PyList_Check(hits), "the hits of a read are not a list", record());
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(hits); i++) add_hit(PyList_GET_ITEM(hits, i));
        offsets.push_back((int64_t)start.size());
    }
};

nb::tuple collect_hits(nb::iterable results, nb::dict contigs) {
    Collector c(contigs.ptr());
    const nb::object iterator = nb::steal(PyObject_GetIter(results.ptr()));
    if (!iterator.is_valid()) throw nb::python_error();
    // Each result is let go at once: an iterator that aligns as it goes never has more than one in memory.
    while (PyObject *next = PyIter_Next(iterator.ptr())) {
        const nb::object item = nb::steal(next);
        if (!PyTuple_Check(item.ptr())) {
            c.add_read(item.ptr());
            continue;
        }
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(item.ptr()); k++) c.add_read(PyTuple_GET_ITEM(item.ptr(), k));
    }
    if (PyErr_Occurred()) throw nb::python_error();
    return nb::make_tuple(owned(std::move(c.offsets)), owned(std::move(c.reference)), owned(std::move(c.start)),
                          owned(std::move(c.query_start_values)), owned(std::move(c.query_end_values)),
                          owned(std::move(c.mapping_quality)), owned(std::move(c.bits)), owned(std::move(c.operations)),
                          owned(std::move(c.cigar_offsets)));
}

// Spans of ASCII text as Python strings, which is what such aligners take. Runs with the GIL.
nb::list span_strings(In<uint8_t> values, In<int64_t> starts, In<int64_t> ends) {
    const int64_t count = (int64_t)starts.size(), size = (int64_t)values.size();
    require(count == (int64_t)ends.size(), "starts and ends differ in number");
    nb::list list = nb::steal<nb::list>(PyList_New(count));
    if (!list.is_valid()) throw nb::python_error();
    for (int64_t i = 0; i < count; i++) {
        const int64_t start = starts.data()[i], end = ends.data()[i];
        require(0 <= start && start <= end && end <= size, "span outside of the values", i);
        const uint8_t *text = values.data() + start;
        uint8_t high = 0;
        for (int64_t k = 0; k < end - start; k++) high |= text[k];
        require(high < 128, "text is not ASCII", i);
        PyObject *string = PyUnicode_New((Py_ssize_t)(end - start), 127);
        if (!string) throw nb::python_error();
        if (end > start) std::memcpy(PyUnicode_1BYTE_DATA(string), text, (size_t)(end - start));
        PyList_SET_ITEM(list.ptr(), i, string);
    }
    return list;
}

}  // namespace

void bind_hits(nb::module_ &m) {
    m.def("span_strings", &span_strings, nb::arg("values"), nb::arg("starts"), nb::arg("ends"));
    m.def("collect_hits", &collect_hits, nb::arg("results"), nb::arg("contigs"));
}

}  // namespace agd
