"""Reference of the kernels behind the codecs of alignments and tags (``spec/codecs/alignments.md``)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from agd.batch import I32, I64, U8, U16, U32
from agd.errors import KernelError
from agd.kernels.reference.ragged import check_offsets
from agd.kernels.reference.tags import INTEGERS, NUMBERS, field_end

MOST_WAITING = 16


def mate_flag(flag: int) -> int:
    """Flag that the mate of a primary alignment has: what is said of itself and of its mate exchanged."""
    kept = flag & 0xFF03
    for own, other in ((0x04, 0x08), (0x10, 0x20), (0x40, 0x80)):
        kept |= (other if flag & own else 0) | (own if flag & other else 0)
    return kept


def link_mates(
    flag: U16, reference: I32, position: I64, mate_reference: I32, mate_position: I64, mates: I32
) -> int:
    """Link the two primary alignments of a pair where each names the place of the other.

    Of several records that fit, the first that has no mate yet is taken; 16 are looked at.

    Parameters
    ----------
    flag, reference, position, mate_reference, mate_position
        As in :class:`agd.batch.Alignments`.
    mates : ndarray of int32, shape (records,)
        Written: index of the mate of each record; -1 where there is none.

    Returns
    -------
    int
        Number of links.

    Raises
    ------
    KernelError
        Arrays differ in length.
    """
    columns = (flag, reference, position, mate_reference, mate_position)
    if any(len(column) != len(mates) for column in columns):
        raise KernelError("arrays of records differ in length")
    waiting: dict[tuple[int, ...], list[int]] = {}
    mates[:] = -1
    linked = 0
    for i, (f, r, p, mr, mp) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if not f & 0x1 or f & 0x900:
            continue
        queue = waiting.get((mr, mp, r, p), [])
        mate = next((j for j in queue[:MOST_WAITING] if (mate_flag(int(flag[j])) ^ f) & 0xFF == 0), None)
        if mate is None:
            waiting.setdefault((r, p, mr, mp), []).append(i)
        else:
            queue.remove(mate)
            mates[mate], mates[i] = i, mate
            linked += 1
    return linked


def number_cigars(cigar: U32, cigar_offsets: I64, codes: I64) -> tuple[I64, I64]:
    """Number the different CIGARs in the order in which they appear.

    Parameters
    ----------
    cigar, cigar_offsets
        Operations of record ``i`` are ``cigar[cigar_offsets[i]:cigar_offsets[i + 1]]``.
    codes : ndarray of int64, shape (records,)
        Written: the number of each record's CIGAR, from 0.

    Returns
    -------
    firsts : ndarray of int64, shape (different ones,)
        The first record with each of the different ones.
    counts : ndarray of int64, shape (different ones,)
        How many records have it.

    Raises
    ------
    KernelError
        Offsets lie outside of their values, or arrays differ in length.
    """
    check_offsets(cigar_offsets, len(cigar), "offsets outside of the CIGARs")
    if len(codes) != len(cigar_offsets) - 1:
        raise KernelError("codes and CIGARs differ in number")
    known: dict[bytes, int] = {}
    for i, (start, end) in enumerate(pairwise(cigar_offsets.tolist())):
        codes[i] = known.setdefault(cigar[start:end].tobytes(), len(known))
    _, firsts = np.unique(codes, return_index=True)
    return firsts, np.bincount(codes)


def tag_split(tags: U8, offsets: I64, codes: U32) -> tuple[list[bytes], I64, list[bytes], list[U8]]:
    """Number the different lines of tags, and lay the values of each key end to end.

    The line of a record says which fields it has, of which types, in which order.

    Parameters
    ----------
    tags, offsets
        Aux fields as BAM has them; record ``i`` is ``tags[offsets[i]:offsets[i + 1]]``. A field of the type ``*`` has
        no value.
    codes : ndarray of uint32, shape (records,)
        Written: the number of each record's line, from 0, in the order of appearance.

    Returns
    -------
    lines : list of bytes
        Names and types of the fields of each line, three bytes each.
    counts : ndarray of int64, shape (lines,)
        How many records have each line.
    keys : list of bytes
        The different names with types, in the order of appearance.
    streams : list of ndarray of uint8
        Values of each key.

    Raises
    ------
    KernelError
        Tags do not parse; names the record and the offset in ``tags``. Or offsets lie outside of their values.
    """
    check_offsets(offsets, len(tags), "offsets outside of the tags")
    if len(codes) != len(offsets) - 1:
        raise KernelError("codes and tags differ in number")
    lines: dict[bytes, int] = {}
    streams: dict[bytes, bytearray] = {}
    for i in range(len(codes)):
        line = b""
        for key, value in _fields(tags, offsets, i):
            line += key
            streams.setdefault(key, bytearray()).extend(value)
        codes[i] = lines.setdefault(line, len(lines))
    values = [np.frombuffer(stream, np.uint8) for stream in streams.values()]
    return list(lines), np.bincount(codes, minlength=len(lines)), list(streams), values


def tag_join(codes: U32, lines: list[bytes], keys: list[bytes], streams: list[U8], out: U8, offsets: I64) -> None:
    """The tags of all records: the inverse of :func:`tag_split`.

    Parameters
    ----------
    codes, lines, keys, streams
        As :func:`tag_split` makes them.
    out : ndarray of uint8
        Written: the tags end to end. Its size is that of the streams, and of the lines of all records.
    offsets : ndarray of int64, shape (records + 1,)
        Written: record ``i`` is ``out[offsets[i]:offsets[i + 1]]``.

    Raises
    ------
    KernelError
        A code or key is unknown, a stream ends too early, is too long or does not parse; or the output is of another
        size.
    """
    if len(codes) != len(offsets) - 1:
        raise KernelError("codes and offsets differ in number")
    records = _records(codes, lines, keys, streams)
    total = sum(map(len, streams)) + sum(len(lines[code]) for code in codes.tolist())
    if total != len(out):
        raise KernelError("room of the output is not the size of the records")
    at = offsets[0] = 0
    for i, record in enumerate(records):
        out[at : at + len(record)] = np.frombuffer(record, np.uint8)
        at = offsets[i + 1] = at + len(record)


def _fields(tags: U8, offsets: I64, record: int) -> Iterator[tuple[bytes, bytes]]:
    data, start = tags[offsets[record] : offsets[record + 1]].tobytes(), 0
    while start < len(data):
        try:
            end = start + 3 if data[start + 2 : start + 3] == b"*" else field_end(data, start)
        except ValueError:
            raise KernelError("tags do not parse", record, int(offsets[record]) + start) from None
        yield data[start : start + 3], data[start + 3 : end]
        start = end


def _records(codes: U32, lines: list[bytes], keys: list[bytes], streams: list[U8]) -> Iterator[bytes]:
    """The tags of each record, as they are asked for; what can be said of all is checked at once."""
    if len(keys) != len(streams):
        raise KernelError("keys and streams differ in number")
    if any(len(key) != 3 for key in keys) or len(set(keys)) != len(keys):
        raise KernelError("keys are not three bytes, each once")
    split = [[line[i : i + 3] for i in range(0, len(line), 3)] for line in lines]
    if any(key not in keys for line in split for key in line):
        raise KernelError("a line of tags names a key without a stream")
    for i, code in enumerate(codes.tolist()):
        if code >= len(lines):
            raise KernelError("there is no such line of tags", i)
    return _joined(codes, split, {key: stream.tobytes() for key, stream in zip(keys, streams, strict=True)})


def _joined(codes: U32, split: list[list[bytes]], left: dict[bytes, bytes]) -> Iterator[bytes]:
    at = dict.fromkeys(left, 0)
    for i, code in enumerate(codes.tolist()):
        record = b""
        for key in split[code]:
            size = _value_size(chr(key[2]), left[key], at[key], i)
            record += key + left[key][at[key] : at[key] + size]
            at[key] += size
        yield record
    if any(at[key] != len(left[key]) for key in left):
        raise KernelError("stream of a tag is longer than its records")


def _value_size(kind: str, data: bytes, at: int, record: int) -> int:
    if kind == "*":
        return 0
    if kind == "A":
        size = 1
    elif kind in NUMBERS:
        size = struct.calcsize(NUMBERS[kind])
    elif kind in "ZH":
        size = data.find(0, at) + 1 - at
        if size <= 0:
            raise KernelError("stream of a tag ends too early", record)
    elif kind == "B":
        if len(data) - at < 5:
            raise KernelError("stream of a tag ends too early", record)
        item = chr(data[at])
        if item not in INTEGERS + "f":
            raise KernelError("array of a type that is not known", record)
        size = 5 + struct.unpack_from("<I", data, at + 1)[0] * struct.calcsize(NUMBERS[item])
    else:
        raise KernelError("tag of a type that is not known", record)
    if len(data) - at < size:
        raise KernelError("stream of a tag ends too early", record)
    return size
