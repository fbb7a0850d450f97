"""Sort keys that are made from aux fields: by a tag, and by the coordinates of both ends of a template."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agd import kernels
from agd.batch import I64, U8, U64, Alignments, Bool, Column
from agd.errors import InputError, KernelError
from agd.types import CIGAR_OPERATIONS, Flag

#: Where an end of a template that is not mapped comes: after all references (INT32_MAX in samtools).
_NO_REFERENCE = (1 << 31) - 1
_NO_POSITION = (1 << 62) - 1

_INTEGERS = {ord(c): np.dtype(t) for c, t in zip("cCsSiI", ("<i1", "<u1", "<i2", "<u2", "<i4", "<u4"), strict=True)}


def join(parts: list[Column]) -> Column:
    """Record by record the bytes of several ragged columns, end to end."""
    lengths = np.zeros(len(parts[0]), np.int64)
    for part in parts:
        lengths += part.lengths
    out = Column.from_lengths(np.empty(int(lengths.sum()), np.uint8), lengths)
    assert out.offsets is not None
    to = out.offsets[:-1].copy()
    for part in parts:
        assert part.offsets is not None
        kernels.copy_spans(np.ascontiguousarray(part.values), part.offsets[:-1], part.offsets[1:], out.values, to)
        to += part.lengths
    return out


def big_endian(values: NDArray[np.unsignedinteger]) -> Column:
    """Unsigned numbers as byte strings of the same order."""
    size = values.dtype.itemsize
    text = values.astype(values.dtype.newbyteorder(">")).view(np.uint8)
    return Column(text, np.arange(len(values) + 1, dtype=np.int64) * size)


def constant(text: bytes, records: int) -> Column:
    """The same bytes in every record."""
    return Column(np.frombuffer(text * records, np.uint8), np.arange(records + 1, dtype=np.int64) * len(text))


def ordered_doubles(values: NDArray[np.float64]) -> U64:
    """Numbers in the order of these doubles."""
    bits = (values + 0.0).view(np.uint64)  # -0 becomes 0, for they are equal
    return np.where(bits >> np.uint64(63), ~bits, bits | np.uint64(1 << 63))


def fields(tags: Column, tag: str) -> tuple[Column, I64]:
    """Contents of an aux field, from its type letter on, and the records that have one.

    Returns
    -------
    Column
        ``values[offsets[i]:offsets[i + 1]]`` of the records that have the field only.
    ndarray of int64
        These records.
    """
    tags = tags.compact()
    assert tags.offsets is not None
    starts, ends = np.empty(len(tags), np.int64), np.empty(len(tags), np.int64)
    values: U8 = np.ascontiguousarray(tags.values)
    kernels.aux_spans(values, tags.offsets, int.from_bytes(tag.encode(), "little"), starts, ends)
    has = np.flatnonzero(ends > starts)
    starts, ends = starts[has] + 2, ends[has]
    out = Column.from_lengths(np.empty(int((ends - starts).sum()), np.uint8), ends - starts)
    assert out.offsets is not None
    kernels.copy_spans(values, starts, ends, out.values, out.offsets)
    return out, has


def text_fields(tags: Column, tag: str, records: int) -> tuple[Column, Bool]:
    """Text of an aux field of type Z or H, without its NUL, and where there is one (of any type)."""
    found, has = fields(tags, tag)
    assert found.offsets is not None
    present = np.zeros(records, np.bool_)
    present[has] = True
    kinds = found.values[found.offsets[:-1]]
    is_text = (kinds == ord("Z")) | (kinds == ord("H"))
    starts, ends = np.zeros(records, np.int64), np.zeros(records, np.int64)
    starts[has[is_text]] = found.offsets[:-1][is_text] + 1
    ends[has[is_text]] = found.offsets[1:][is_text] - 1
    out = Column.from_lengths(np.empty(int((ends - starts).sum()), np.uint8), ends - starts)
    assert out.offsets is not None
    kernels.copy_spans(found.values, starts, ends, out.values, out.offsets)
    if not is_text.all():
        wrong = int(has[np.flatnonzero(~is_text)[0]])
        raise KernelError(f"the tag {tag} is no text", wrong)
    return out, present


def tag_keys(tags: Column, tag: str, coordinates: U64) -> Column:
    """Byte strings in the order of ``samtools sort -t``: no tag first, then by type, value, and coordinate.

    Integers and floats are compared with each other as numbers, Z and H as one type, B arrays by coordinate alone.
    """
    records = len(coordinates)
    found, has = fields(tags, tag)
    assert found.offsets is not None
    first = found.offsets[:-1]
    kinds = found.values[first]
    classes, lengths = np.zeros(records, np.uint8), np.zeros(records, np.int64)
    classes[has] = _class_of(kinds)
    # The value that stands in the key: 8 bytes for numbers, 1 for letters, the text with its NUL.
    own = np.where(kinds == ord("A"), 1, np.where(kinds == ord("B"), 0, 8))
    is_text = (kinds == ord("Z")) | (kinds == ord("H"))
    own = np.where(is_text, np.diff(found.offsets) - 1, own)
    lengths[has] = own
    values = Column.from_lengths(np.empty(int(lengths.sum()), np.uint8), lengths)
    assert values.offsets is not None
    to = values.offsets[has]
    direct = np.flatnonzero(is_text | (kinds == ord("A")))
    starts = first[direct] + 1
    kernels.copy_spans(found.values, starts, starts + own[direct], values.values, to[direct])
    for kind in {*_INTEGERS, ord("f")}:
        chosen = np.flatnonzero(kinds == kind)
        if len(chosen):
            dtype = _INTEGERS.get(kind, np.dtype("<f4"))
            raw = found.values[(first[chosen] + 1)[:, None] + np.arange(dtype.itemsize)]
            numbers = big_endian(ordered_doubles(raw.copy().view(dtype)[:, 0].astype(np.float64)))
            assert numbers.offsets is not None
            kernels.copy_spans(numbers.values, numbers.offsets[:-1], numbers.offsets[1:], values.values, to[chosen])
    head = Column(classes, np.arange(records + 1, dtype=np.int64))
    return join([head, values, big_endian(coordinates)])


def _class_of(kinds: U8) -> U8:
    """Type letters as samtools ranks them: numbers of all types are one, and so are Z and H."""
    classes = kinds.copy()
    classes[(kinds == ord("Z"))] = ord("H")
    for kind in (*_INTEGERS, ord("f")):
        classes[kinds == kind] = ord("c")
    return classes


def template_keys(alignments: Alignments, tags: Column, names: Column, libraries: Mapping[bytes, bytes]) -> Column:
    """Byte strings in the order of ``samtools sort --template-coordinate``.

    By the lower, then the higher of the unclipped 5' ends of the template (reference of both, position of both, strand
    of both), library, CB, MI without a final ``/A``, name, and the lower end first.

    Raises
    ------
    InputError
        A read whose mate is mapped has no MC tag.
    """
    records = len(alignments)
    flag = alignments.flag.astype(np.int64)
    mapped = (flag & Flag.UNMAPPED) == 0
    own = _five_prime(alignments.reference, alignments.position, (flag & Flag.REVERSE) != 0, alignments.cigar, mapped)
    mate_mapped = ((flag & Flag.PAIRED) != 0) & ((flag & Flag.MATE_UNMAPPED) == 0)
    mate_cigars, has = text_fields(tags, "MC", records)
    if (mate_mapped & ~has).any():
        line = int(np.flatnonzero(mate_mapped & ~has)[0])
        name = bytes(names[line]).decode(errors="replace")
        raise InputError(
            "the alignments", f"{name!r} has no MC tag and a mapped mate; template-coordinate order needs the tag",
            record=line + 1, remedy="'agd collate' brings mates together, 'agd fixmate' of its output adds the tag",
        )  # fmt: skip
    mate = _five_prime(
        alignments.mate_reference, alignments.mate_position, (flag & Flag.MATE_REVERSE) != 0,
        parse_cigars(mate_cigars), mate_mapped, least=0,
    )  # fmt: skip
    lower = _is_lower(own, mate)
    parts: list[Column] = []
    for field in range(3):
        for first, second in ((own, mate), (mate, own)):
            parts.append(big_endian(np.where(lower, first[field], second[field])))
    read_groups, _ = text_fields(tags, "RG", records)
    cells, _ = text_fields(tags, "CB", records)
    molecules, _ = text_fields(tags, "MI", records)
    nul = constant(b"\0", records)
    parts += [_libraries(read_groups, libraries), nul, cells, nul, _trimmed(molecules), nul, names, nul]
    return join([*parts, Column((~lower).astype(np.uint8), np.arange(records + 1, dtype=np.int64))])


End = tuple[NDArray[np.uint32], U64, U8]  #: reference + 1, position with a bias, 0 for reverse and 1 for forward


def _five_prime(
    reference: NDArray[np.int32], position: I64, reverse: Bool, cigar: Column, mapped: Bool, least: int = 1
) -> End:
    """Unclipped 5' end (soft clips only, 1-based as in samtools); the end of an alignment covers ``least`` bases."""
    cigar = cigar.compact()
    assert cigar.offsets is not None
    start, end = np.empty(len(cigar), np.int64), np.empty(len(cigar), np.int64)
    kernels.unclipped_ends(np.ascontiguousarray(position), cigar.values, cigar.offsets, False, start, end)
    if least == 0:
        # Of the mate's CIGAR, samtools counts nothing at all when it covers no reference base.
        query, covered = np.empty_like(start), np.empty_like(start)
        kernels.reference_spans(cigar.values, cigar.offsets, query, covered)
        end = np.where(covered == 0, position, end)
    place = np.where(reverse, end, start + 1)
    place = np.where(mapped, place, _NO_POSITION)
    place_bits = (place + (1 << 62)).astype(np.uint64)
    contig = np.where(mapped, reference, _NO_REFERENCE).astype(np.int64) + 1
    return contig.astype(np.uint32), place_bits, np.where(mapped & reverse, 0, 1).astype(np.uint8)


def _is_lower(own: End, mate: End) -> Bool:
    """Whether the own end is the lower one; of two equal ends the forward one."""
    same = own[0] == mate[0]
    equal = same & (own[1] == mate[1])
    return np.asarray((own[0] < mate[0]) | (same & (own[1] < mate[1])) | (equal & (own[2] == 1)))


def _libraries(read_groups: Column, libraries: Mapping[bytes, bytes]) -> Column:
    """Library of each record, by its read group; none where that is not in the header."""
    assert read_groups.offsets is not None
    names = sorted(libraries)
    lengths = np.zeros(len(read_groups), np.int64)
    pool = b"".join(libraries[name] for name in names)
    starts = np.zeros(len(read_groups), np.int64)
    at = 0
    for name in names:
        library = libraries[name]
        same = np.flatnonzero(read_groups.lengths == len(name))
        text = read_groups.values[read_groups.offsets[same][:, None] + np.arange(len(name))]
        same = same[(text == np.frombuffer(name, np.uint8)).all(axis=1)]
        starts[same], lengths[same] = at, len(library)
        at += len(library)
    out = Column.from_lengths(np.empty(int(lengths.sum()), np.uint8), lengths)
    assert out.offsets is not None
    kernels.copy_spans(np.frombuffer(pool, np.uint8), starts, starts + lengths, out.values, out.offsets)
    return out


def _trimmed(molecules: Column) -> Column:
    """Molecular identifiers without a slash and the one character after it at their ends."""
    assert molecules.offsets is not None
    starts, ends = molecules.offsets[:-1], molecules.offsets[1:].copy()
    long = np.flatnonzero(ends - starts >= 2)
    ends[long[molecules.values[ends[long] - 2] == ord("/")]] -= 2
    out = Column.from_lengths(np.empty(int((ends - starts).sum()), np.uint8), ends - starts)
    assert out.offsets is not None
    kernels.copy_spans(molecules.values, starts, ends, out.values, out.offsets)
    return out


def parse_cigars(texts: Column) -> Column:
    """BAM operations (uint32) of CIGARs as text; ``*`` and empty texts have none.

    Raises
    ------
    KernelError
        A text is no CIGAR.
    """
    texts = texts.compact()
    assert texts.offsets is not None
    values = texts.values
    is_letter = (values < ord("0")) | (values > ord("9"))
    letters = np.flatnonzero(is_letter & (values != ord("*")))
    codes = np.full(256, 255, np.uint8)
    codes[np.frombuffer(CIGAR_OPERATIONS.encode(), np.uint8)] = np.arange(len(CIGAR_OPERATIONS))
    operation = codes[values[letters]].astype(np.uint32)
    per_record = np.zeros(len(values) + 1, np.int64)
    np.cumsum(is_letter & (values != ord("*")), out=per_record[1:])
    offsets = per_record[texts.offsets]
    # Digits before each letter: back to the letter before it, or to the beginning of its record.
    begins = np.maximum(np.concatenate([[0], letters[:-1] + 1])[: len(letters)],
                        np.repeat(texts.offsets[:-1], np.diff(offsets)))  # fmt: skip
    digits = letters - begins
    numbers = np.zeros(len(letters), np.int64)
    for place in range(int(digits.max(initial=0))):
        has = digits > place
        numbers[has] += (values[letters[has] - 1 - place].astype(np.int64) - ord("0")) * 10 ** min(place, 17)
    bad = (operation == 255) | (digits == 0) | (digits > 9) | (numbers >= 1 << 28)
    if bad.any():
        at = int(letters[np.flatnonzero(bad)[0]])
        raise KernelError("a CIGAR in a tag is malformed", int(np.searchsorted(texts.offsets, at, "right")) - 1, at)
    return Column((numbers << 4).astype(np.uint32) | operation, offsets)
