"""The reference that reads are aligned to (see :mod:`agd.fasta`)."""

from agd.fasta import Genome, load_genome, md5_of

__all__ = ["Genome", "load_genome", "md5_of"]
