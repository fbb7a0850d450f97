"""Names of reads taken apart into numbers and texts (``spec/codecs/names.md``)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from agd import kernels
from agd.batch import I64, U8, U32, AnyColumn, Column
from agd.codecs.base import Kind, register
from agd.codecs.streams import StreamReader, StreamWriter
from agd.errors import CodecError
from agd.kernels.memory import empty
from agd.kernels.ragged import take

#: Most shapes of names that are taken apart, and the fewest names that make one; others are kept as they are.
MAX_SHAPES, MIN_ROWS = 32, 32

#: A number of a name is at most this.
LARGEST = 999_999_999

#: Texts with no more different values than this share of the names are listed once each.
LISTED_SHARE = 0.25

#: No names of one chunk may be larger than this once decoded (bytes).
MAX_DECODED = 1 << 33

#: Fields of Illumina names, in the order of :func:`agd.kernels.name_fields`.
FIELDS = ("lane", "tile", "x", "y")

#: What separates words, and the parts of words.
DELIMITERS = (b":", b" ", b"\t", b"\n", b"/", b"#")

#: Numbers of a name that are taken out; what follows them is text.
MAX_NUMBERS = 64

#: A text (bytes, offsets, which entry each name has; or one for all, or one for each), or numbers and how many digits
#: they have (0: as many as it takes), as :func:`agd.kernels.write_names` takes them.
_Piece = tuple[U8, I64, I64 | None] | tuple[U32, int]


@register
class Names:
    """Names as a stream for each of their parts; a name that is there already, as the mate's is, is stored once.

    Parameters
    ----------
    level : int
        Of Zstandard, -50 to 22.
    """

    name: ClassVar[str] = "names"
    version: ClassVar[int] = 1
    kind: ClassVar[Kind] = Kind.PACK
    sized: ClassVar[bool] = False

    def __init__(self, level: int = 3) -> None:
        if type(level) is not int or not -50 <= level <= 22:
            raise ValueError(f"level {level!r} is not one of -50 to 22")
        self.level = level

    def config(self) -> dict[str, Any]:
        """See :class:`agd.codecs.base.Codec`."""
        return {"level": self.level}

    def encode(self, column: AnyColumn) -> bytes:
        """See :class:`agd.codecs.base.PackCodec`."""
        if not isinstance(column, Column) or column.offsets is None or column.values.dtype != np.uint8:
            raise CodecError("names", "codecs", "takes records of text only")
        writer = StreamWriter(self.level)
        column = column.compact()
        assert column.offsets is not None
        distances, mates = np.empty(len(column), np.int64), np.empty(len(column), np.uint8)
        kernels.name_links(column.values, column.offsets, distances, mates)
        writer.numbers("link", distances)
        writer.numbers("mate", mates[distances > 0])
        new = column if not distances.any() else take(column, np.flatnonzero(distances == 0))
        _write_new(writer, new)
        return writer.finish()

    def decode(self, data: memoryview, count: int, sizes: I64 | None) -> Column:
        """See :class:`agd.codecs.base.PackCodec`."""
        reader = StreamReader(data, "names")
        links = _read_links(reader, count)
        new = _join(_read_new(reader, links.new))
        reader.finish()
        total = int(new.lengths[links.index].sum())
        if total > MAX_DECODED:
            raise CodecError("names", "links", f"more than {MAX_DECODED} bytes of names")
        assert new.offsets is not None
        values, offsets = empty(total), np.empty(count + 1, np.int64)
        kernels.take_names(new.values, new.offsets, links.index, links.turned, values, offsets)
        return Column(values, offsets)

    def fields(self, data: memoryview, count: int) -> dict[str, I64]:
        """Lane, tile, x and y of Illumina names, where possible without making the names.

        Parameters
        ----------
        data : bytes-like
            Payload of a chunk.
        count : int
            Records of the chunk.

        Returns
        -------
        dict of str to ndarray of int64, shape (count,)
            ``lane``, ``tile``, ``x``, ``y``; -1 in all four where a name is not of this kind.

        Raises
        ------
        CodecError, KernelError
            The payload is damaged.
        """
        reader = StreamReader(data, "names")
        links = _read_links(reader, count)
        table = np.full((links.new, len(FIELDS)), -1, np.int64)
        for part in _read_new(reader, len(table)):
            table[part.rows] = _fields_of(part)
        return {name: np.ascontiguousarray(table[links.index, i]) for i, name in enumerate(FIELDS)}


# Links between names


@dataclass(frozen=True, slots=True)
class _Links:
    """How many names are new; for each record which of them it has, and whether the digit that tells mates apart is the
    other one.
    """

    new: int
    index: I64
    turned: U8


def _read_links(reader: StreamReader, count: int) -> _Links:
    distances = reader.numbers("link", count, count)
    mates = reader.numbers("mate", int(np.count_nonzero(distances)), 1)
    index, turned = np.empty(count, np.int64), np.empty(count, np.uint8)
    return _Links(kernels.follow_links(distances, mates.astype(np.uint8), index, turned), index, turned)


# Names that are new


@dataclass(frozen=True, slots=True)
class _Text:
    """The text before a number, or after the last: entries, and for each row which of them it has (None: its own, or
    the only one).
    """

    entries: Column
    ids: I64 | None


@dataclass(frozen=True, slots=True)
class _Part:
    """New names of one shape: text, number, text, …, text.

    Attributes
    ----------
    rows : ndarray of int64
        Which of the new names these are.
    kinds : list of int
        Of each number: 1, or how many digits it has where zeros may lead.
    numbers : list of ndarray of uint32, shape (rows,)
        Of stride 0 where all are one number.
    texts : list of _Text
        One more than numbers.
    """

    rows: I64
    kinds: list[int]
    numbers: list[U32]
    texts: list[_Text]


def _write_new(writer: StreamWriter, names: Column) -> None:
    assert names.offsets is not None
    counts, hashes = np.empty(len(names), np.int64), np.empty(len(names), np.uint64)
    kernels.name_shapes(names.values, names.offsets, counts, hashes)
    total = int(counts.sum())
    starts, ends = np.empty(total, np.int64), np.empty(total, np.int64)
    numbers, kinds = np.empty(total, np.uint32), np.empty(total, np.uint8)
    kernels.name_numbers(names.values, names.offsets, starts, ends, numbers, kinds)
    first = np.cumsum(counts) - counts
    shape = np.full(len(names), -1, np.int64)
    layout: list[dict[str, Any]] = []
    for rows in _groups(hashes):
        k = int(counts[rows[0]])
        if (counts[rows] != k).any():
            continue
        at = first[rows][:, None] + np.arange(k)
        if (kinds[at] != kinds[at[0]]).any():
            continue
        g = len(layout)
        shape[rows] = g
        begins = np.column_stack((names.offsets[rows], ends[at]))
        stops = np.column_stack((starts[at], names.offsets[rows + 1]))
        layout.append({
            "kinds": kinds[at[0]].tolist(),
            "numbers": [_write_numbers(writer, f"{g}.n{j}", numbers[at[:, j]]) for j in range(k)],
            "texts": [
                _write_text(writer, f"{g}.t{j}", names.values, begins[:, j].copy(), stops[:, j].copy())
                for j in range(k + 1)
            ],
        })  # fmt: skip
    other = np.flatnonzero(shape < 0)
    shape[other] = len(layout)
    writer.numbers("shape", shape)
    rest = take(names, other)
    writer.numbers("other.length", rest.lengths)
    writer.add("other", rest.values)
    writer.add("layout", json.dumps(layout, separators=(",", ":")).encode())


def _groups(hashes: NDArray[np.uint64]) -> list[I64]:
    """Rows of each of the most frequent shapes."""
    _, of, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:MAX_SHAPES]
    return [np.flatnonzero(of == g) for g in most.tolist() if counts[g] >= MIN_ROWS]


def _write_numbers(writer: StreamWriter, name: str, values: U32) -> Any:
    """One number of all names, in the way that takes least: a number (all are equal), or the name of the way."""
    low, high = int(values.min()), int(values.max())
    if low == high:
        return low
    numbers = values.astype(np.int64)
    steps = np.diff(numbers, prepend=0)
    ways: dict[str, I64] = {"plain": numbers, "steps": (steps << 1) ^ (steps >> 63)}
    most = max(256, len(numbers) // 8)
    distinct, ranks = _ranks(numbers, high, most)
    if len(distinct) <= most:
        ways["ranks"] = ranks
    costs = {way: _cost(v) + (4 * len(distinct) if way == "ranks" else 0) for way, v in ways.items()}
    way = min(costs, key=lambda w: costs[w])
    writer.numbers(name, ways[way])
    if way == "ranks":
        writer.numbers(f"{name}.list", np.diff(distinct, prepend=0))
        return {"ranks": len(distinct)}
    return way


def _ranks(numbers: I64, high: int, most: int) -> tuple[I64, I64]:
    """The different numbers, 0 to ``high``, and for each number which of them it is; or too many, and nothing."""
    if high > max(1 << 16, 16 * len(numbers)):
        distinct, ranks = np.unique(numbers, return_inverse=True)
        return distinct, ranks
    there = np.zeros(high + 1, np.bool_)
    there[numbers] = True
    distinct = np.flatnonzero(there)
    return distinct, np.cumsum(there)[numbers] - 1 if len(distinct) <= most else numbers[:0]


def _cost(values: I64) -> float:
    """Estimate of the bytes that numbers take, plane by plane."""
    planes = [np.empty(len(values), np.uint8) for _ in range((int(values.max()).bit_length() + 7) // 8)]
    kernels.planes_split(values, False, planes)
    total = 0.0
    pairs = np.empty(1 << 16, np.uint32)
    for plane in planes:
        kernels.pair_counts(plane, pairs)
        first = pairs.reshape(256, 256).sum(1, dtype=np.int64)  # all but the last
        counts = first.copy()
        counts[plane[-1]] += 1
        costs = [_entropy(counts)]
        if len(plane) > 1000:
            costs.append(_entropy(pairs) - _entropy(first) + np.count_nonzero(pairs))
        total += min(costs)
    return total


def _entropy(counts: I64 | U32) -> float:
    """Bytes that values with these counts take, coded by themselves."""
    used = counts[counts > 0].astype(np.float64)
    total = float(used.sum())
    return (total * np.log2(total) - float((used * np.log2(used)).sum())) / 8 if total else 0.0


def _write_text(writer: StreamWriter, name: str, values: U8, starts: I64, ends: I64) -> Any:
    """One text of all names: the text itself (all are equal), or how it is kept."""
    ids = np.empty(len(starts), np.int64)
    distinct = kernels.span_numbers(values, starts, ends, ids)
    if distinct == 1:
        return values[starts[0] : ends[0]].tobytes().decode("latin-1")
    if distinct <= max(16, LISTED_SHARE * len(starts)):
        first = np.flatnonzero(np.diff(np.maximum.accumulate(ids), prepend=-1))
        writer.numbers(f"{name}.id", ids)
        _write_entries(writer, name, _spans(values, starts[first], ends[first]))
        return {"listed": distinct}
    _write_entries(writer, name, _spans(values, starts, ends))
    return {"each": len(starts)}


def _spans(values: U8, starts: I64, ends: I64) -> Column:
    out = Column.from_lengths(np.empty(int((ends - starts).sum()), np.uint8), ends - starts)
    assert out.offsets is not None
    kernels.copy_spans(values, starts, ends, out.values, out.offsets)
    return out


def _write_entries(writer: StreamWriter, name: str, entries: Column) -> None:
    lengths = entries.lengths
    values = entries.values
    if (lengths == lengths[0]).all():
        # Texts of one length are turned on their side: what stands at one place is alike.
        writer.numbers(f"{name}.width", lengths[:1])
        values = np.ascontiguousarray(values.reshape(len(lengths), -1).T) if lengths[0] else values
    else:
        writer.numbers(f"{name}.length", lengths)
    writer.add(name, values)


# Reading


def _read_new(reader: StreamReader, count: int) -> list[_Part]:
    try:
        layout = json.loads(bytes(reader.get("layout", 1 << 30)) or b"[]")
        return _read_parts(reader, count, layout)
    except (LookupError, TypeError, AttributeError, UnicodeError, RecursionError, json.JSONDecodeError) as error:
        raise CodecError("names", "layout", f"makes no sense: {error!r:.80}") from error


def _read_parts(reader: StreamReader, count: int, layout: list[dict[str, Any]]) -> list[_Part]:
    if type(layout) is not list or len(layout) > MAX_SHAPES:
        reader.fail("layout", "is no list of shapes")
    shape = reader.numbers("shape", count, len(layout))
    parts = []
    for g, entry in enumerate(layout):
        rows = np.flatnonzero(shape == g)
        kinds, numbers, texts = entry["kinds"], entry["numbers"], entry["texts"]
        if not all(type(kind) is int and 1 <= kind <= 9 for kind in kinds):
            reader.fail("layout", "a number of no kind")
        if len(numbers) != len(kinds) or len(texts) != len(kinds) + 1:
            reader.fail("layout", f"{len(kinds)} kinds, {len(numbers)} numbers, {len(texts)} texts")
        parts.append(_Part(
            rows, kinds, [_read_numbers(reader, f"{g}.n{j}", len(rows), way) for j, way in enumerate(numbers)],
            [_read_text(reader, f"{g}.t{j}", len(rows), way) for j, way in enumerate(texts)],
        ))  # fmt: skip
    rows = np.flatnonzero(shape == len(layout))
    lengths = reader.numbers("other.length", len(rows), MAX_DECODED)
    values = reader.exactly("other", _total(reader, lengths))
    parts.append(_Part(rows, [], [], [_Text(Column.from_lengths(values, lengths), None)]))
    return parts


def _total(reader: StreamReader, lengths: I64) -> int:
    # Each is below 2^34 and there are at most 2^24 of them: the sum cannot overflow.
    total = int(lengths.sum())
    if total > MAX_DECODED:
        reader.fail("sizes", f"{total} bytes of names")
    return total


def _read_numbers(reader: StreamReader, name: str, rows: int, way: Any) -> U32:
    if type(way) is int:
        if not 0 <= way <= LARGEST:
            reader.fail(name, f"a number beyond {LARGEST}")
        return np.broadcast_to(np.uint32(way), rows)
    if way == "plain":
        values = reader.numbers(name, rows, LARGEST)
    elif way == "steps":
        values = np.cumsum(reader.numbers(name, rows, LARGEST, signed=True))
    else:
        distinct = way["ranks"]
        if type(distinct) is not int or not 0 < distinct <= max(rows, 1):
            reader.fail(name, f"{distinct!r:.20} numbers of {rows} names")
        listed = np.cumsum(reader.numbers(f"{name}.list", distinct, LARGEST))
        values = listed[reader.numbers(name, rows, distinct - 1)]
    if len(values) and not 0 <= int(values.min()) <= int(values.max()) <= LARGEST:
        reader.fail(name, f"a number beyond {LARGEST}")
    return values.astype(np.uint32)


def _read_text(reader: StreamReader, name: str, rows: int, way: Any) -> _Text:
    if isinstance(way, str):
        return _Text(Column.from_list([way.encode("latin-1")]), None)
    if "each" in way:
        return _Text(_read_entries(reader, name, rows), None)
    distinct = way["listed"]
    if type(distinct) is not int or not 0 < distinct <= max(rows, 1):
        reader.fail(name, f"{distinct!r:.20} texts of {rows} names")
    entries = _read_entries(reader, name, distinct)
    return _Text(entries, reader.numbers(f"{name}.id", rows, distinct - 1))


def _read_entries(reader: StreamReader, name: str, count: int) -> Column:
    width = int(reader.numbers(f"{name}.width", 1, MAX_DECODED)[0]) if f"{name}.width:0" in reader.entries else 0
    if width:
        if width * count > MAX_DECODED:
            reader.fail(name, f"{count} texts of {width} bytes")
        values = reader.exactly(name, width * count)
        upright = np.ascontiguousarray(values.reshape(width, count).T).reshape(-1)
        return Column.from_lengths(upright, np.full(count, width))
    lengths = reader.numbers(f"{name}.length", count, MAX_DECODED)
    return Column.from_lengths(reader.exactly(name, _total(reader, lengths)), lengths)


def _pieces(part: _Part) -> list[_Piece]:
    """What names consist of; what is the same in all of them is joined."""
    pieces: list[_Piece] = []
    fixed = b""
    for j, text in enumerate(part.texts):
        if len(text.entries) == 1:
            fixed += text.entries[0]
        else:
            assert text.entries.offsets is not None
            pieces += [*_fixed(fixed), (text.entries.values, text.entries.offsets, text.ids)]
            fixed = b""
        if j == len(part.numbers):
            break
        numbers, width = part.numbers[j], part.kinds[j] if part.kinds[j] > 1 else 0
        if len(numbers) and numbers.strides == (0,):
            fixed += b"%0*d" % (width, numbers[0])
            if 0 < width < len(b"%d" % numbers[0]):
                raise CodecError("names", "layout", f"{numbers[0]} has more than {width} digits")
        else:
            pieces += [*_fixed(fixed), (np.ascontiguousarray(numbers), width)]
            fixed = b""
    return pieces + _fixed(fixed)


def _fixed(text: bytes) -> list[_Piece]:
    return [(np.frombuffer(text, np.uint8), np.array([0, len(text)]), None)] if text else []


def _join(parts: list[_Part]) -> Column:
    """Names from their parts."""
    lengths = np.zeros(sum(len(part.rows) for part in parts), np.int64)
    pieces = [_pieces(part) for part in parts]
    for part, of in zip(parts, pieces, strict=True):
        sizes = np.empty(len(part.rows), np.int64)
        kernels.name_sizes(of, sizes)
        lengths[part.rows] = sizes
    if int(lengths.sum()) > MAX_DECODED:
        raise CodecError("names", "sizes", f"more than {MAX_DECODED} bytes of names")
    out = Column.from_lengths(np.empty(int(lengths.sum()), np.uint8), lengths)
    assert out.offsets is not None
    for part, of in zip(parts, pieces, strict=True):
        kernels.write_names(of, out.offsets[part.rows], out.values)
    return out


# Fields


def _parse(column: Column) -> I64:
    table = np.empty(4 * len(column), np.int64)
    assert column.offsets is not None
    kernels.name_fields(column.values, column.offsets, table)
    return table.reshape(-1, 4)


def _fields_of(part: _Part) -> I64:
    """Lane, tile, x and y of the names of a part: all are alike where their delimiters stand at the same places."""
    count = len(part.rows)
    if not count or not part.numbers or not all(_alike(text) for text in part.texts):
        return _parse(_join([_Part(np.arange(count), part.kinds, part.numbers, part.texts)]))
    pattern = b"".join(
        text.entries[0] + (b"%d" % (j + 1) if j < len(part.numbers) else b"") for j, text in enumerate(part.texts)
    )
    which = _parse(Column.from_list([pattern]))[0]
    if (which < 1).any() or (which > len(part.numbers)).any() or not _whole(part, which):
        return _parse(_join([_Part(np.arange(count), part.kinds, part.numbers, part.texts)]))
    return np.column_stack([part.numbers[j - 1] for j in which.tolist()]).astype(np.int64)


def _whole(part: _Part, which: I64) -> bool:
    """Whether the chosen numbers are fields of their own: a delimiter before and after them."""
    if len(part.numbers) >= MAX_NUMBERS:
        return False
    before = [part.texts[j - 1].entries[0] for j in which.tolist()]
    after = [part.texts[j].entries[0] for j in which.tolist()]
    return all(text.endswith(b":") for text in before) and all(text[:1] in (b"", *DELIMITERS) for text in after)


def _alike(text: _Text) -> bool:
    """Whether all entries have the same delimiters at the same places: all are one, or of one length."""
    entries = text.entries
    if len(entries) == 1:
        return True
    lengths = entries.lengths
    if not len(entries) or (lengths != lengths[0]).any() or not lengths[0]:
        return False
    delimiter = np.isin(entries.values, np.frombuffer(b"".join(DELIMITERS), np.uint8))
    table = np.where(delimiter, entries.values, 0).reshape(len(entries), -1)
    return bool((table == table[0]).all())
