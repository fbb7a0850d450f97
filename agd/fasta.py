"""Load a reference genome from FASTA."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
from dataclasses import dataclass

import numpy as np

from agd.batch import I64, U8
from agd.errors import InputError, UsageError
from agd.files import REQUEST_BYTES, open_source
from agd.storage import local_path
from agd.types import Reference

#: Characters that are no part of a sequence: all outside 33 to 126 (SAM specification, section 1.3.2).
_BLANK = bytes([*range(33), *range(127, 256)])

#: What may stand for a base: letters (IUPAC codes, soft-masked or not), stop and gap.
_BASES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*-"

#: Names of references that SAM allows (SAM specification, section 1.2.1).
_NAME = re.compile(rb"[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*")


@dataclass(frozen=True, slots=True)
class Genome:
    """All sequences of a reference, end to end.

    Attributes
    ----------
    url : str
        The FASTA file.
    contigs : tuple of Reference
        Name, length and MD5 (``@SQ M5``) of each sequence, in order.
    bases : ndarray of uint8
        ASCII, upper and lower case as in the file.
    offsets : ndarray of int64, shape (contigs + 1,)
        Contig ``i`` is ``bases[offsets[i]:offsets[i + 1]]``.
    """

    url: str
    contigs: tuple[Reference, ...]
    bases: U8
    offsets: I64

    @property
    def digest(self) -> str:
        """MD5 of the names and sequences in order: tells whether something was made from this very reference."""
        text = "".join(f"{c.name}\t{c.length}\t{c.md5}\n" for c in self.contigs)
        return _md5(text.encode())


def load_genome(url: str | os.PathLike[str]) -> Genome:
    """Load a FASTA file, plain or gzipped (bgzipped too), from disk or any url that fsspec reaches.

    Raises
    ------
    InputError
        It cannot be read from its url, is not FASTA, or names a sequence twice, or a sequence is empty; with the line.
    UsageError
        It cannot be opened on this machine, or the url cannot be understood.
    """
    url = os.fspath(url)
    data = _read(url)
    starts = [0] if data[:1] == b">" else []
    if not starts:
        reason = "is empty" if not len(data) else "does not begin with '>': this is not FASTA"
        raise InputError(url, reason, line=1, remedy="give the FASTA file of the reference (.fa or .fa.gz)")
    at = data.find(b"\n>")
    while at >= 0:
        starts.append(at + 1)
        at = data.find(b"\n>", at + 1)
    bases = np.empty(len(data), np.uint8)
    offsets = np.zeros(len(starts) + 1, np.int64)
    contigs: dict[str, Reference] = {}
    for i, (start, end) in enumerate(zip(starts, [*starts[1:], len(data)], strict=True)):
        name, sequence = _record(url, data, start, end)
        if name in contigs:
            raise InputError(url, f"a second sequence is named {name!r}", line=_line(data, start))
        contigs[name] = Reference(name, len(sequence), md5_of(sequence))
        offsets[i + 1] = offsets[i] + len(sequence)
        bases[offsets[i] : offsets[i + 1]] = np.frombuffer(sequence, np.uint8)
    return Genome(url, tuple(contigs.values()), bases[: offsets[-1]], offsets)


def md5_of(sequence: bytes) -> str:
    """``@SQ M5`` of a sequence: in upper case, without blanks (SAM specification, section 1.3.2)."""
    return _md5(without_blanks(sequence).upper())


def _md5(data: bytes) -> str:
    import hashlib  # takes a while to load, and few commands need it

    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def without_blanks(sequence: bytes) -> bytes:
    """The characters of a text that are part of a sequence; line ends and blanks are not."""
    return sequence.translate(None, _BLANK)


def _read(url: str) -> bytes | mmap.mmap:
    """The text of the file; mapped where it lies on this machine, so that it does not fill the memory twice."""
    path = local_path(url)
    if path is not None:
        try:
            with open(path, "rb") as file:
                head, size = file.read(2), os.fstat(file.fileno()).st_size
                if head != b"\x1f\x8b" and size:
                    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                file.seek(0)
                data = file.read()
        except FileNotFoundError as error:
            raise UsageError(f"{url}: there is no such file", "check --reference") from error
        except (OSError, ValueError) as error:
            raise UsageError(f"{url}: cannot be read: {error}", "check --reference") from error
    else:
        with contextlib.closing(open_source(url)) as source:
            data = b"".join(iter(lambda: source.read(REQUEST_BYTES), b""))
    if data[:2] != b"\x1f\x8b":
        return data
    from isal import igzip

    try:
        text: bytes = igzip.decompress(data)
    except Exception as error:  # isal has several kinds, some of them private
        raise InputError(url, f"damaged gzip data: {error}", remedy="fetch the reference again") from error
    return text


def _record(url: str, data: bytes | mmap.mmap, start: int, end: int) -> tuple[str, bytes]:
    stop = data.find(b"\n", start, end)
    stop = end if stop < 0 else stop
    words = data[start + 1 : stop].split(None, 1)
    name = words[0] if words and data[start + 1 : start + 2] not in b" \t\r" else b""
    if not _NAME.fullmatch(name):
        raise InputError(url, f"{name!r:.80} is not a name of a reference sequence", line=_line(data, start))
    sequence = without_blanks(data[stop:end])
    if not sequence:
        raise InputError(url, f"the sequence {name.decode()!r} is empty", line=_line(data, start))
    if sequence.translate(None, _BASES):
        raise _bad_letter(url, data, stop, end)
    return name.decode(), sequence


def _bad_letter(url: str, data: bytes | mmap.mmap, stop: int, end: int) -> InputError:
    found = re.search(rb"[^A-Za-z*\-\x00-\x20\x7f-\xff]", data[stop:end])
    assert found is not None
    return InputError(url, f"{found[0]!r} is no base", line=_line(data, stop + found.start()))


def _line(data: bytes | mmap.mmap, offset: int) -> int:
    return data[:offset].count(b"\n") + 1
