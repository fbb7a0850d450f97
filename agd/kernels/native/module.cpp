// The module: one bind function per file of kernels, and the translation of errors.
#include "simd.hpp"

namespace agd {
void bind_bases(nb::module_ &);
void bind_fastq(nb::module_ &);
void bind_ragged(nb::module_ &);
void bind_gather(nb::module_ &);
void bind_gather_packed(nb::module_ &);
void bind_reads(nb::module_ &);
void bind_order(nb::module_ &);
void bind_alignment(nb::module_ &);
void bind_alignment_rows(nb::module_ &);
void bind_difference(nb::module_ &);
void bind_hits(nb::module_ &);
void bind_finish(nb::module_ &);
void bind_sam(nb::module_ &);
void bind_bam(nb::module_ &);
void bind_tags(nb::module_ &);
void bind_checksum(nb::module_ &);
void bind_streams(nb::module_ &);
void bind_planes(nb::module_ &);
void bind_mates(nb::module_ &);
void bind_predict(nb::module_ &);
void bind_derive(nb::module_ &);
void bind_rans_encode(nb::module_ &);
void bind_rans_decode(nb::module_ &);
void bind_symbols(nb::module_ &);
void bind_duplicates(nb::module_ &);
void bind_names(nb::module_ &);
void bind_name_pieces(nb::module_ &);
void bind_coverage(nb::module_ &);
void bind_cycles(nb::module_ &);
void bind_quality_model(nb::module_ &);
void bind_summary(nb::module_ &);
}  // namespace agd

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of AGD; see agd.kernels.";
    nb::register_exception_translator([](const std::exception_ptr &p, void *) {
        try {
            std::rethrow_exception(p);
        } catch (const agd::KernelError &e) {
            nb::object type = nb::module_::import_("agd.errors").attr("KernelError");
            nb::object error = type(e.what(), e.record, e.offset);
            PyErr_SetObject(type.ptr(), error.ptr());
        }
    });
    m.def("limit_simd", [](int level) {
        agd::simd_limit = level;
        return (int)agd::simd();
    }, nb::arg("level"));
    agd::bind_bases(m);
    agd::bind_fastq(m);
    agd::bind_ragged(m);
    agd::bind_gather(m);
    agd::bind_gather_packed(m);
    agd::bind_reads(m);
    agd::bind_order(m);
    agd::bind_alignment(m);
    agd::bind_alignment_rows(m);
    agd::bind_difference(m);
    agd::bind_hits(m);
    agd::bind_finish(m);
    agd::bind_sam(m);
    agd::bind_bam(m);
    agd::bind_tags(m);
    agd::bind_checksum(m);
    agd::bind_streams(m);
    agd::bind_planes(m);
    agd::bind_mates(m);
    agd::bind_predict(m);
    agd::bind_derive(m);
    agd::bind_rans_encode(m);
    agd::bind_rans_decode(m);
    agd::bind_symbols(m);
    agd::bind_duplicates(m);
    agd::bind_names(m);
    agd::bind_name_pieces(m);
    agd::bind_coverage(m);
    agd::bind_cycles(m);
    agd::bind_quality_model(m);
    agd::bind_summary(m);
}
