"""Reference of the kernel that tells the bases which alignments lead to expect (``spec/codecs/refdiff.md``)."""

from __future__ import annotations

import numpy as np

from agd.batch import I32, I64, U8, U32, Bool
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets

_LETTERS, _COMPLEMENTS = b"=ACMGRSVTWYHKDBN", b"=TGKCYSBAWRDMHVN"


def _complement_table() -> U8:
    table = np.full(256, ord("N"), np.uint8)
    for letter, other in zip(_LETTERS, _COMPLEMENTS, strict=True):
        table[letter] = other
    for letter, other in zip(b"U0123", b"ATGCA", strict=True):
        table[letter] = other
    table[0] = 0
    return table


_COMPLEMENT = _complement_table()


def predict_bases(
    genome: U8, contig_offsets: I64, reference: I32, position: I64, cigar: U32, cigar_offsets: I64, turned: Bool,
    offsets: I64, out: U8,
) -> tuple[int, bool]:
    """Bases of reads as the reference has them under their alignments.

    A record is predicted where its CIGAR uses up as many bases as it has and lies within its contig.

    Parameters
    ----------
    genome, contig_offsets
        Letters of all contigs end to end: contig ``i`` is ``genome[contig_offsets[i]:contig_offsets[i + 1]]``.
    reference, position
        Contig and 0-based position of each record, -1 for none.
    cigar, cigar_offsets
        BAM operations of each record.
    turned : ndarray of bool, shape (records,)
        Where the bases are the reverse complement of SEQ.
    offsets : ndarray of int64, shape (records + 1,)
        Where the bases of each record are in ``out``.
    out : ndarray of uint8
        Written: the letter of the reference in upper case under M, = and X; 0 where nothing is predicted.

    Returns
    -------
    predicted : int
        How many letters are predicted.
    lacking : bool
        Whether any of them is 0, which stands for a letter that the genome does not have.

    Raises
    ------
    KernelError
        Offsets lie outside of their values, or arrays differ in length.
    """
    count = len(reference)
    if not len(position) == len(turned) == len(cigar_offsets) - 1 == len(offsets) - 1 == count:
        raise KernelError("arrays of records differ in length")
    check_offsets(contig_offsets, len(genome), "offsets outside of the reference sequences")
    check_offsets(cigar_offsets, len(cigar), "offsets outside of the CIGARs")
    check_offsets(offsets, len(out), "offsets outside of the output")
    predicted, lacking = 0, False
    for i in range(count):
        bases = out[offsets[i] : offsets[i + 1]]
        bases[:] = 0
        contig, at = int(reference[i]), int(position[i])
        if not 0 <= contig < len(contig_offsets) - 1 or at < 0:
            continue
        letters = genome[contig_offsets[contig] : contig_offsets[contig + 1]]
        operations = [(int(o) & 15, int(o) >> 4) for o in cigar[cigar_offsets[i] : cigar_offsets[i + 1]]]
        query = sum(size for code, size in operations if code in (0, 1, 4, 7, 8))
        span = sum(size for code, size in operations if code in (0, 2, 3, 7, 8))
        if any(code > 8 for code, _ in operations) or query != len(bases) or span > len(letters) - at:
            continue
        here = 0
        for code, size in operations:
            if code in (0, 7, 8):
                bases[here : here + size] = np.frombuffer(letters[at : at + size].tobytes().upper(), np.uint8)
                predicted += size
                lacking |= bool((bases[here : here + size] == 0).any())
            here += size if code in (0, 1, 4, 7, 8) else 0
            at += size if code in (0, 2, 3, 7, 8) else 0
        if turned[i]:
            bases[:] = _COMPLEMENT[bases[::-1]]
    return predicted, lacking


def fill_zeros(values: U8, letters: U8) -> None:
    """Put letters, in their order, where :func:`predict_bases` has nothing to expect.

    Parameters
    ----------
    values : ndarray of uint8
        Written where it is 0.
    letters : ndarray of uint8
        One for each such place.

    Raises
    ------
    KernelError
        There are more or fewer letters than places.
    """
    places = np.flatnonzero(values == 0)
    if len(letters) < len(places):
        raise KernelError("fewer letters than places", -1, int(places[len(letters)]))
    if len(letters) > len(places):
        raise KernelError("more letters than places")
    values[places] = letters
