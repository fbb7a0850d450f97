"""Damage the payloads of every codec; each is refused with an error of AGD, or gives as many records as it should.

    python -m tests.corruption.payloads --cases 1000000

Made for kernels that were built with sanitizers (``make sanitize-payloads``), for there is no checksum in the way.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import agd
from agd.batch import AnyColumn, Column
from agd.codecs import Chain, Context, rans
from agd.codecs.base import Codec
from agd.codecs.profile import PROFILES, candidates
from agd.codecs.streams import StreamReader, StreamWriter
from agd.dataset import Dataset
from agd.errors import AgdError, CodecError
from tests.corruption.campaign import SAM, SECONDS, damage

#: What is decoded may not be larger than this, in bytes.
MOST = 1 << 28

#: Codecs that lie in no profile, and what they take.
OTHERS = {"bases": [["base3"], ["base2"]], "results": [["protobuf"]], "qualities": [["gzip"], []]}


@dataclass(frozen=True, slots=True)
class Payload:
    """A sound payload: the chain that made it, and what decoding it takes."""

    label: str
    chain: Chain
    data: bytes
    count: int
    sizes: Any
    raw_size: int
    context: Context


def datasets(folder: Path) -> Iterator[Dataset]:
    """Simulated pairs, aligned, as they were read and sorted; and records that are odd in many ways."""
    reads = [str(folder / "R1.fq"), str(folder / "R2.fq")]
    agd.simulate(*reads, genome=str(folder / "ref.fa"), pairs=30, genome_length=6000)
    agd.import_fastq(*reads, output=str(folder / "a.agd"))
    agd.align(agd.open(str(folder / "a.agd")), str(folder / "ref.fa"), read_group="@RG\tID:s\tSM:s")
    agd.sort(agd.open(str(folder / "a.agd")), str(folder / "s.agd"))
    (folder / "odd.sam").write_text(SAM)
    agd.import_sam(str(folder / "odd.sam"), str(folder / "odd.agd"))
    for name in ("a", "s", "odd"):
        yield agd.open(str(folder / f"{name}.agd"))


def payloads(folder: Path) -> list[Payload]:
    """Every column of every dataset with every chain that takes it."""
    found: list[Payload | None] = []
    for dataset in datasets(folder):
        chunk = dataset.chunks[0]
        blobs = dataset.fetch(chunk)
        context = dataset.context(chunk, blobs)
        for name, spec in dataset.manifest.columns.items():
            column = dataset.decode_column(chunk, name, blobs)
            chains = [chain for profile in PROFILES for chain in candidates(profile, name, spec.type)]
            chains += [[{"name": step} for step in chain] for chain in OTHERS.get(name, [])]
            for chain in {str(c): c for c in chains}.values():
                label = f"{name} by {' '.join(c['name'] for c in chain) or 'none'}"
                found += [_encode(label, chain, column, context)]
                if {"name": "rans"} in chain:
                    with _short_streams_as_long_ones():
                        found += [_encode(f"{label}, wide", chain, column, context)]
    return [payload for payload in found if payload is not None]


@contextlib.contextmanager
def _short_streams_as_long_ones() -> Iterator[None]:
    """Streams of ``rans`` have 64 lanes, which otherwise only long ones have."""
    long, rans.LONG = rans.LONG, 256
    try:
        yield
    finally:
        rans.LONG = long


def _encode(label: str, config: list[dict[str, Any]], column: AnyColumn, context: Context) -> Payload | None:
    chain = Chain.from_json(config)
    try:
        encoded = chain.encode(column, context)
    except AgdError:
        return None  # not made for these records, or they have no reference
    return Payload(label, chain, bytes(encoded.data), len(column), encoded.sizes, encoded.raw_size, context)


def changed(rng: np.random.Generator, good: Payload) -> tuple[bytes, Any, int]:
    """Payload, record sizes and raw size with something done to them."""
    data, sizes, raw = good.data, good.sizes, good.raw_size
    if good.chain.pack is not None and rng.random() < 0.7:
        data = _changed_stream(rng, data, good.chain.pack)
    else:
        data = damage(rng, data)
        if not good.chain.bytes:
            raw = len(data)
    if sizes is not None and rng.random() < 0.2:
        sizes = sizes.copy()
        sizes[int(rng.integers(0, len(sizes)))] = int(rng.choice([0, 1, 2, 100, 1 << 16]))
    return data, sizes, raw


def _changed_stream(rng: np.random.Generator, data: bytes, codec: Codec) -> bytes:
    """A payload of which one stream is damaged, put together again; another kind of payload is damaged as it is."""
    try:
        reader = StreamReader(data, codec.name)
        streams = {name: bytes(reader.get(name, MOST)) for name in reader.entries}
    except CodecError:
        return damage(rng, data)
    names = sorted(streams)
    if not names:
        return damage(rng, data)
    name = names[int(rng.integers(0, len(names)))]
    streams[name] = damage(rng, streams[name])
    writer = StreamWriter(1)
    for key, stream in streams.items():
        writer.add(key, np.frombuffer(stream, np.uint8))
    return bytes(writer.finish())


def check(good: Payload, data: bytes, sizes: Any, raw: int) -> str:
    """What comes of a payload: "noticed", "same" or "other".

    Raises
    ------
    AssertionError
        It is not read, and not refused as it should be.
    """
    if sizes is not None and int(sizes.sum()) > MOST:
        return "noticed"  # the header of a chunk file does not allow it
    try:
        column = good.chain.decode(data, good.count, sizes, raw, context=good.context)
    except AgdError:
        return "noticed"
    if len(column) != good.count:
        raise AssertionError(f"{len(column)} records, not {good.count}")
    if sizes is not None and isinstance(column, Column) and column.offsets is not None:
        np.testing.assert_array_equal(column.lengths, sizes)
    return "same" if data == good.data else "other"


def run_payloads(folder: Path, cases: int, seed: int) -> Counter[str]:
    """Run that many cases; how many of each kind of payload were noticed, or read.

    Raises
    ------
    AssertionError
        A codec failed in a way that is not allowed; the payload is kept as ``failed`` in the current folder.
    """
    rng = np.random.default_rng(seed)
    sound = payloads(folder)
    for good in sound:
        assert check(good, good.data, good.sizes, good.raw_size) == "same", good.label
    counts: Counter[str] = Counter()
    for case in range(cases):
        good = sound[case % len(sound)]
        wrong, sizes, raw = changed(rng, good)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            counts[f"{good.label}: {check(good, wrong, sizes, raw)}"] += 1
        except BaseException as error:
            Path("failed").write_bytes(wrong)
            raise AssertionError(f"{good.label}, seed {seed}, case {case}: {type(error).__name__}: {error}") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
    return counts


def main() -> None:
    """Run the campaign and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = run_payloads(Path(folder), arguments.cases, arguments.seed)
    for name, number in sorted(counts.items()):
        print(f"{number:9,} {name}")
    print(f"{arguments.cases:,} payloads in {time.perf_counter() - start:.0f} s: all as they must be")


if __name__ == "__main__":
    sys.exit(main())
