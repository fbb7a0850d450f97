"""From the bare hits of an aligner to alignments: flags, mates, clips, tags."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from agd.batch import I64, Alignments, Column
from agd.kernels import active
from agd.kernels.hits import MINIBWA_SCORING, Hits, Scoring

if TYPE_CHECKING:
    from agd.aligners.reference import Genome

__all__ = ["Hits", "Scoring", "collect", "finish"]

#: A read with more alternatives than this gets no tag XA; one that scores less than this part of the best is none (the
#: defaults of bwa mem).
ALTERNATIVES, ALTERNATIVE_RATIO = 5, 0.8


def collect(results: Iterable[Any], contigs: dict[str, int]) -> Hits:
    """Arrays from hit objects, in one pass that holds the GIL.

    Parameters
    ----------
    results : iterable
        One list of hits per read, or one tuple of such lists per pair; a hit has the attributes of ``minibwa.Hit``.
    contigs : dict
        Index of each contig by name.

    Returns
    -------
    Hits
        Of all reads in order (the mates of a pair one after the other).

    Raises
    ------
    KernelError
        A contig is not known, or an attribute is not of the right kind or range; names the read.
    """
    return Hits(*active.collect_hits(results, contigs))


def finish(
    hits: Hits, bases: Column, genome: Genome, *, read_group: str = "", paired: bool, secondary: bool = False,
    scoring: Scoring = MINIBWA_SCORING,
) -> tuple[Alignments, Alignments, I64]:  # fmt: skip
    """Alignments as ``bwa mem`` writes them.

    Tags are NM, MD, MC, AS, XS, RG, SA, XA, in this order: unmapped reads have MC (if the mate is mapped) and RG.
    A pair is proper (flag 0x2) where the aligner takes both primary hits as such, and they lie on one contig, on
    opposite strands, facing each other. An unmapped read takes the place and strand of its mate. Primary alignments
    are clipped softly, others hard. Mate fields and MC are those of the mate's primary alignment, template lengths go
    from 5' end to 5' end.

    Parameters
    ----------
    hits : Hits
        Of the reads of one batch.
    bases : Column of uint8
        The reads as sequenced.
    genome : Genome
        The contigs that the hits lie on.
    read_group : str
        ID for the tag RG; "" for none.
    paired : bool
        Reads 2i and 2i + 1 are mates.
    secondary : bool
        Secondary hits become alignments of their own; otherwise they are listed in the tag XA of the alignment that
        they are alternatives of (if they are few and score well).
    scoring : Scoring
        For AS and XS.

    Returns
    -------
    primary : Alignments
        One per read.
    further : Alignments
        Supplementary (and secondary) ones, ascending by read.
    read : ndarray of int64
        0-based index of the read of each further one.

    Raises
    ------
    KernelError
        A hit lies outside of its read or contig, a CIGAR does not fit, or a mate is missing; names the read.
    """
    if bases.offsets is None:
        raise TypeError("bases are a ragged column")
    labels = [contig.name.encode() for contig in genome.contigs]
    names, name_offsets = b"".join(labels), np.cumsum([0, *map(len, labels)], dtype=np.int64)
    *fields, read = active.finish_hits(
        hits, bases.values, bases.offsets, genome.bases, genome.offsets, np.frombuffer(names, np.uint8), name_offsets,
        np.frombuffer(read_group.encode(), np.uint8), paired, secondary, scoring, ALTERNATIVES, ALTERNATIVE_RATIO,
    )  # fmt: skip
    cigar, cigar_offsets, tags, tag_offsets = fields[7:]
    fixed = dict(zip(Alignments.FIXED, fields, strict=False))
    lines = Alignments(**fixed, cigar=Column(cigar, cigar_offsets), tags=Column(tags, tag_offsets))
    return lines.slice(0, len(bases)), lines.slice(len(bases), len(lines)), read
