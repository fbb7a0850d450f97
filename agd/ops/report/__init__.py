"""Reports: one page with the quality of reads and alignments, as FastQC and samtools tell them."""

from agd.ops.report.report import Report, report

__all__ = ["Report", "report"]
