"""Reference of the kernels that put back what mates say of each other (``spec/codecs/alignments.md``)."""

from __future__ import annotations

import numpy as np

from agd.batch import I32, I64, U16, U32
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets
from agd.kernels.reference.streams import mate_flag


def fold_mates(mates: I32, flag: U16, links: U32, flags: U16, differences: U16) -> int:
    """What mates have to say once: the inverse of :func:`expand_links` and :func:`expand_flags`.

    Parameters
    ----------
    mates : ndarray of int32, shape (records,)
        As :func:`agd.kernels.link_mates` gives them.
    flag : ndarray of uint16, shape (records,)
    links : ndarray of uint32, shape (records,)
        Written: of each record that is not the second of two mates, how many records on its mate stands; 0 for none.
    flags : ndarray of uint16, shape (records,)
        Written: the flags of the same records.
    differences : ndarray of uint16, shape (records,)
        Written: of those that are second, what is other (exclusive or) than what the flag of the first implies.

    Returns
    -------
    int
        How many records are not second: so many links and flags are of use, and as many differences as there are
        other records.

    Raises
    ------
    KernelError
        Mates do not name each other; arrays differ in length.
    """
    if not len(mates) == len(flag) == len(links) == len(flags) == len(differences):
        raise KernelError("arrays of records differ in length")
    second = np.array(_second(mates), np.bool_)
    others = len(mates) - int(second.sum())
    links[:others] = np.where(mates < 0, 0, mates - np.arange(len(mates)))[~second]
    flags[:others] = flag[~second]
    differences[: len(mates) - others] = [
        mate_flag(int(flag[mates[i]])) ^ int(flag[i]) for i in np.flatnonzero(second).tolist()
    ]
    return others


def expand_links(stored: U32, mates: I32) -> int:
    """Mates of all records, from the links of the records that are not the second of two mates.

    Parameters
    ----------
    stored : ndarray of uint32
        The links of :func:`fold_mates`.
    mates : ndarray of int32, shape (records,)
        Written: index of the mate, -1 where there is none.

    Returns
    -------
    int
        How many of ``stored`` were used.

    Raises
    ------
    KernelError
        There are too few, or a link leads to no record or to one that has a mate already.
    """
    count, used = len(mates), 0
    mates[:] = -1
    for i in range(count):
        if mates[i] >= 0:
            continue
        if used == len(stored):
            raise KernelError("links end too early", i)
        distance = int(stored[used])
        used += 1
        if distance:
            if distance >= count - i or mates[i + distance] >= 0:
                raise KernelError("link to no record, or to one that has a mate", i)
            mates[i], mates[i + distance] = i + distance, i
    return used


def _second(mates: I32) -> list[bool]:
    for i, mate in enumerate(mates.tolist()):
        if mate >= 0 and not (mate < len(mates) and mate != i and mates[mate] == i):
            raise KernelError("mates do not name each other", i)
    return [0 <= mate < i for i, mate in enumerate(mates.tolist())]


def expand_flags(mates: I32, stored: U16, differences: U16, flag: U16) -> None:
    """Flags of all records.

    Parameters
    ----------
    mates : ndarray of int32, shape (records,)
        As :func:`expand_links` gives them.
    stored : ndarray of uint16
        Flags of the records that are not the second of two mates.
    differences : ndarray of uint16
        Of those that are: what is other (exclusive or) than what the flag of the first implies.
    flag : ndarray of uint16, shape (records,)
        Written.

    Raises
    ------
    KernelError
        Mates do not name each other; arrays do not fit.
    """
    second = _second(mates)
    if len(flag) != len(mates):
        raise KernelError("arrays of records differ in length")
    if len(differences) != sum(second) or len(stored) + len(differences) != len(mates):
        raise KernelError("flags and records differ in number")
    given, different = iter(stored.tolist()), iter(differences.tolist())
    for i, is_second in enumerate(second):
        flag[i] = mate_flag(int(flag[mates[i]])) ^ next(different) if is_second else next(given)


def expand_mate_fields(mates: I32, own: I64, differences: I64, out: I64) -> None:
    """References or positions of all mates.

    Parameters
    ----------
    mates : ndarray of int32, shape (records,)
        As :func:`expand_links` gives them.
    own : ndarray of int64, shape (records,)
        References or positions of the records.
    differences : ndarray of int64
        Of the records without a mate: that of the mate less their own.
    out : ndarray of int64, shape (records,)
        Written.

    Raises
    ------
    KernelError
        Mates do not name each other; arrays do not fit.
    """
    _second(mates)
    if not len(own) == len(out) == len(mates):
        raise KernelError("arrays of records differ in length")
    alone = mates < 0
    if len(differences) < np.count_nonzero(alone):
        raise KernelError("fewer differences than records without a mate", int(np.flatnonzero(alone)[len(differences)]))
    if len(differences) > np.count_nonzero(alone):
        raise KernelError("more differences than records without a mate")
    out[alone] = own[alone] + differences
    out[~alone] = own[mates[~alone]]


def pair_lengths(
    mates: I32, flag: U16, reference: I64, position: I64, cigar: U32, cigar_offsets: I64, out: I64
) -> None:
    """Template lengths of mates as bwa mem has them: from one 5' end to the other, both included.

    Parameters
    ----------
    mates : ndarray of int32, shape (records,)
        As :func:`expand_links` gives them.
    flag, reference, position, cigar, cigar_offsets
        As in :class:`agd.batch.Alignments`.
    out : ndarray of int64, shape (records,)
        Written: 0 for a record without a mate, or where one of the two is unmapped or they have other references.

    Raises
    ------
    KernelError
        Mates do not name each other; arrays do not fit.
    """
    second = _second(mates)
    if not len(flag) == len(reference) == len(position) == len(out) == len(cigar_offsets) - 1 == len(mates):
        raise KernelError("arrays of records differ in length")
    check_offsets(cigar_offsets, len(cigar), "offsets outside of the CIGARs")
    out[:] = 0

    def five(i: int) -> int:
        if not flag[i] & 0x10:
            return int(position[i])
        operations = cigar[cigar_offsets[i] : cigar_offsets[i + 1]].tolist()
        return int(position[i]) - 1 + int(sum(o >> 4 for o in operations if o & 15 in (0, 2, 3, 7, 8)))

    for i in np.flatnonzero(second).tolist():
        first = int(mates[i])
        if reference[first] == reference[i] and not flag[first] & 0xC:
            apart = five(i) - five(first)
            apart += (apart > 0) - (apart < 0)
            out[first], out[i] = apart, -apart
