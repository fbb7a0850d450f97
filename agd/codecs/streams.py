"""Named streams in one payload: the container of the codecs that take records apart (``spec/codecs/streams.md``).

A directory at the front says where each stream is, so that a reader of one field fetches and decodes nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from agd import kernels
from agd.batch import I64, U8
from agd.codecs import rans
from agd.codecs.compress import Zstd
from agd.errors import CodecError
from agd.kernels.memory import empty

#: How the bytes of a stream are stored.
STORED, ZSTD, RANS = 0, 1, 2

#: From this level of Zstandard on, an entropy coder is tried as well, on streams of more bytes than these.
RANS_LEVEL, RANS_BYTES = 3, 512

#: Bytes that tell whether a large stream can be made smaller.
SAMPLE = 1 << 16

_LARGEST = (1 << 63) - 1
_NO_BYTES = np.empty(0, np.uint8)

_HEAD = struct.Struct("<II")
_ENTRY = struct.Struct("<BBQQQ")

#: Most streams in one payload, and most bytes of a name.
MAX_STREAMS, MAX_NAME = 1 << 16, 64


class Entry(NamedTuple):
    """Where a stream is.

    Attributes
    ----------
    coder : int
        STORED, ZSTD or RANS.
    offset, stored : int
        Its bytes within the payload.
    raw : int
        Bytes once decoded.
    checksum : int
        xxh3-64 of the stored bytes.
    """

    coder: int
    offset: int
    stored: int
    raw: int
    checksum: int


class StreamWriter:
    """Collects streams; :meth:`finish` gives the payload.

    Parameters
    ----------
    level : int
        Of Zstandard.
    """

    def __init__(self, level: int) -> None:
        self._zstd = Zstd(level)
        self._level = level
        self._streams: list[tuple[bytes, int, int, bytes]] = []

    def add(self, name: str, data: Any) -> None:
        """A stream of bytes; one without bytes is left out."""
        raw = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        if len(raw):
            self._streams.append((name.encode("latin-1"), *self._coded(raw)))

    def add_smaller(self, streams: Mapping[str, U8]) -> None:
        """Of several streams that say the same, the one that takes least; the first of equal ones."""
        coded = [(name.encode("latin-1"), *self._coded(data.data)) for name, data in streams.items() if len(data)]
        if coded:
            self._streams.append(min(coded, key=lambda stream: len(stream[-1])))

    def _coded(self, raw: memoryview) -> tuple[int, int, bytes]:
        """Coder, size and stored bytes of a stream."""
        coder, stored = STORED, b""
        if not self._hopeless(raw):
            coder, stored = ZSTD, self._zstd.encode(raw)
        if coder == STORED or len(stored) >= len(raw):
            coder, stored = STORED, bytes(raw)
        if self._level >= RANS_LEVEL and len(raw) > RANS_BYTES and len(stored) > RANS_BYTES // 4:
            coded = rans.compress(np.frombuffer(raw, np.uint8))
            if len(coded) < len(stored):
                coder, stored = RANS, bytes(coded)
        return coder, len(raw), stored

    def _hopeless(self, raw: memoryview) -> bool:
        """Whether fast levels would only lose time on a large stream, such as bases in no order: by three samples."""
        if self._level >= RANS_LEVEL or len(raw) < 16 * SAMPLE:
            return False
        starts = (0, (len(raw) - SAMPLE) // 2, len(raw) - SAMPLE)
        return all(len(self._zstd.encode(raw[at : at + SAMPLE])) > 0.99 * SAMPLE for at in starts)

    def numbers(self, name: str, values: NDArray[Any], *, signed: bool = False) -> None:
        """Integers as one stream for each byte of the widest of them, lowest first; none where all are 0.

        Parameters
        ----------
        signed : bool
            Fold the sign into the lowest bit: 0, -1, 1, -2, … become 0, 1, 2, 3, ….
        """
        values = np.ascontiguousarray(values, np.int64)
        planes = [np.empty(len(values), np.uint8) for _ in range((kernels.folded_bits(values, signed) + 7) // 8)]
        kernels.planes_split(values, signed, planes)
        for k, plane in enumerate(planes):
            self.add(f"{name}:{k}", plane)

    def finish(self) -> bytes:
        """Directory and streams."""
        directory = b"".join(
            _ENTRY.pack(len(name), coder, raw, len(stored), xxhash.xxh3_64_intdigest(stored)) + name
            for name, coder, raw, stored in self._streams
        )
        head = _HEAD.pack(len(self._streams), len(directory))
        return b"".join((head, directory, *(stored for *_, stored in self._streams)))


class StreamReader:
    """Streams of a payload, decoded when they are asked for.

    Parameters
    ----------
    data : bytes-like
        The payload, or (with ``parts``) its first bytes with the whole directory.
    codec : str
        Name of the codec, for errors.
    parts : bool
        True: streams come through :meth:`provide`.

    Raises
    ------
    CodecError
        The directory is not one.
    """

    def __init__(self, data: Any, codec: str, *, parts: bool = False) -> None:
        self._data = memoryview(data).cast("B") if len(data) else memoryview(b"")
        self._codec = codec
        self._parts: dict[str, Any] | None = {} if parts else None
        self.entries: dict[str, Entry] = {}
        self._used: set[str] = set()
        count, size = self.measure(self._data, codec)
        end = self._directory(count, size)
        if not parts and end != len(self._data):
            self.fail("directory", f"the streams end at {end}, the payload at {len(self._data)}")

    @staticmethod
    def measure(data: Any, codec: str) -> tuple[int, int]:
        """Number of streams and bytes of the directory, from the first 8 bytes of a payload."""
        if len(data) < _HEAD.size:
            raise CodecError(codec, "directory", f"{len(data)} bytes are too few")
        count, size = _HEAD.unpack_from(data)
        if count > MAX_STREAMS or size > count * (_ENTRY.size + MAX_NAME):
            raise CodecError(codec, "directory", f"{count} streams in {size} bytes")
        return count, size

    def _directory(self, count: int, size: int) -> int:
        at, offset = _HEAD.size, _HEAD.size + size
        if offset > len(self._data):
            self.fail("directory", "is cut short")
        for _ in range(count):
            if at + _ENTRY.size > _HEAD.size + size:
                self.fail("directory", "is cut short")
            length, coder, raw, stored, checksum = _ENTRY.unpack_from(self._data, at)
            at += _ENTRY.size
            name = bytes(self._data[at : at + length]).decode("latin-1")
            at += length
            if not 0 < length <= MAX_NAME or name in self.entries or coder not in (STORED, ZSTD, RANS) or not raw:
                self.fail("directory", f"stream {name!r:.40} makes no sense")
            self.entries[name] = Entry(coder, offset, stored, raw, checksum)
            offset += stored
        if at != _HEAD.size + size:
            self.fail("directory", "is not filled by its streams")
        return offset

    def fail(self, field: str, reason: str) -> None:
        """Raise a CodecError."""
        raise CodecError(self._codec, field, reason)

    def provide(self, name: str, data: Any) -> None:
        """The stored bytes of a stream, fetched for itself; they are verified."""
        assert self._parts is not None
        if len(data) != self.entries[name].stored or xxhash.xxh3_64_intdigest(data) != self.entries[name].checksum:
            self.fail(name, "its bytes do not give the checksum in the directory")
        self._parts[name] = data

    def get(self, name: str, limit: int) -> U8:
        """Decoded bytes of a stream; empty where there is none. Never more than ``limit``."""
        self._used.add(name)
        entry = self.entries.get(name)
        if entry is None:
            return np.empty(0, np.uint8)
        if entry.raw > limit:
            self.fail(name, f"{entry.raw} bytes, more than {limit}")
        if self._parts is None:
            data = self._data[entry.offset : entry.offset + entry.stored]
        else:
            data = memoryview(self._parts[name])
        decoded: Any = data
        if entry.coder == ZSTD:
            decoded = Zstd().decode(data, entry.raw)
        elif entry.coder == RANS:
            decoded = rans.decompress(np.frombuffer(data, np.uint8), entry.raw)
        if len(decoded) != entry.raw:
            self.fail(name, f"{len(decoded)} bytes, the directory says {entry.raw}")
        return np.frombuffer(decoded, np.uint8)

    def exactly(self, name: str, size: int) -> U8:
        """Decoded bytes of a stream that has ``size`` bytes: only one without bytes is absent."""
        data = self.get(name, size)
        if len(data) != size:
            self.fail(name, f"{len(data)} bytes, not {size}")
        return data

    def numbers(self, name: str, count: int, largest: int, *, signed: bool = False) -> I64:
        """``count`` integers as :meth:`StreamWriter.numbers` wrote them, int64; none is beyond ``largest``."""
        names = [f"{name}:{plane}" for plane in range(8)]
        while names and names[-1] not in self.entries:
            names.pop()
        if not names or not count:
            return np.zeros(count, np.int64)
        out = empty(8 * count).view(np.int64)
        planes = [self.exactly(plane, count) if plane in self.entries else _NO_BYTES for plane in names]
        # A bound that damage has put beyond what numbers can be is none.
        if not kernels.planes_join(planes, signed, min(largest, _LARGEST), out):
            self.fail(name, f"a number beyond {largest}")
        return out

    def finish(self) -> None:
        """Check that every stream was asked for: what nobody reads has no business here."""
        unknown = set(self.entries) - self._used
        if unknown:
            self.fail("directory", f"unknown stream {sorted(unknown)[0]!r:.40}")
