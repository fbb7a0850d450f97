"""Damage many small files in many ways; every reader must notice, or read the same.

    python -m tests.corruption.campaign --cases 100000
"""

from __future__ import annotations

import argparse
import bz2
import faulthandler
import gzip
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import zstandard

from agd.convert.bam_out import export_bam
from agd.convert.bgzf import EOF, deflate_blocks
from agd.convert.sam_in import import_sam
from agd.convert.sam_out import export_sam
from agd.dataset import Dataset
from agd.errors import AgdError
from tests.corruption.targets import GUARDED, TARGETS

#: A case may take so many seconds and bytes of address space.
SECONDS = 60
MEMORY = 6 << 30

SAM = """@HD\tVN:1.6\tSO:unsorted
@SQ\tSN:c1\tLN:1000
@SQ\tSN:c2\tLN:70000
@RG\tID:a\tSM:x
r1\t99\tc1\t10\t60\t3M1D1M\t=\t200\t194\tACGT\tIIII\tRG:Z:a\tNM:i:1\tXA:A:c\tXB:B:s,1,-2,3\tXF:f:1.5
r1\t147\tc1\t200\t60\t2S4M\t=\t10\t-194\tNNACGT\tII#III\tRG:Z:a\tNM:i:70000\tXH:H:1AE3
r2\t4\t*\t0\t0\t*\t*\t0\t0\tACGTRYKMNNA\t*
r3\t256\tc2\t60000\t3\t10M\t*\t0\t0\t*\t*\tXB:B:C,0,255
r4\t0\tc2\t61000\t3\t4M\tc1\t5\t0\tTTTT\t!!~~
r5\t16\tc2\t61001\t3\t1H2M2N2M1P\t*\t0\t0\tTTTT\tABCD\tSA:Z:c1,1,+,4M,3,0;
"""

FASTQ = "@r1 x\nACGTN\n+\nIIII#\n@r2\n\n+\n\n@r3/1\nACG\n+r3/1\n@+I\n"


def originals(folder: Path) -> list[tuple[str, bytes]]:
    """Targets and sound inputs for them."""
    (folder / "s.sam").write_text(SAM)
    found: list[tuple[str, bytes]] = []
    chains = {
        "plain": None,
        "bare": {name: [] for name in ("qualities", "metadata", "tags")},
        "gzip": {"qualities": [{"name": "gzip"}], "metadata": [{"name": "gzip"}]},
    }
    for label, codecs in chains.items():
        url = str(folder / f"{label}.agd")
        import_sam(str(folder / "s.sam"), url, chunk_records=4, codecs=codecs)
        ds = Dataset.open(url)
        for chunk in ds.chunks:
            for column in chunk.cells:
                data = ds.storage.get(ds.manifest.object_key(column, chunk.first))
                found += [("chunk file", data), ("sealed chunk file", data)]
    text = ds.manifest.to_bytes()
    export_bam(ds, str(folder / "s.bam"))
    export_sam(ds, str(folder / "o.sam"))
    packed = (folder / "s.bam").read_bytes()
    fastq = FASTQ.encode()
    bodies = [packed, gzip.compress(fastq), gzip.compress(fastq[:20]) + gzip.compress(fastq[20:]),
              bz2.compress(fastq), zstandard.ZstdCompressor(write_checksum=True).compress(fastq),
              deflate_blocks(np.frombuffer(fastq, np.uint8), 6)[0] + EOF]  # fmt: skip
    found += [("compressed", body) for body in bodies]
    return found + [
        ("manifest", text), ("sealed manifest", text), ("bam", gzip.decompress(packed)),
        ("sam", (folder / "o.sam").read_bytes()), ("fastq", fastq),
    ] * 3  # fmt: skip


def damage(rng: np.random.Generator, data: bytes) -> bytes:
    """The bytes with something done to them."""
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        at = int(rng.integers(0, max(1, len(out))))
        size = int(rng.choice([1, 2, 4, 8, 64]))
        match int(rng.integers(0, 9)):
            case 0 | 1:
                if out:
                    out[at] ^= 1 << int(rng.integers(0, 8))
            case 2:
                out[at : at + 1] = bytes([int(rng.integers(0, 256))])
            case 3:
                del out[at:]
            case 4:
                del out[at : at + size]
            case 5:
                out[at:at] = rng.bytes(size)
            case 6:
                out[at : at + size] = b"\xff" * min(size, len(out) - at)
            case 7:
                out[at : at + size] = bytes(min(size, len(out) - at))
            case 8:
                other = int(rng.integers(0, max(1, len(out))))
                out[at : at + size] = out[other : other + size]
    return bytes(out)


def damage_document(rng: np.random.Generator, data: bytes) -> bytes:
    """A manifest with a value exchanged anywhere in it."""
    document = json.loads(data)
    place, key = document, str(rng.choice(list(document)))
    for _ in range(6):
        value = place[key]
        if not isinstance(value, (dict, list)) or not value or rng.random() < 0.2:
            break
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        place, key = value, keys[int(rng.integers(0, len(keys)))]
    values = [None, True, -1, 0, 1, 1 << 31, 1 << 63, 1 << 70, 1.5, "", "x", "a/b", "\ud800", [], {}, [[]], [1],
              {"a": 1}]  # fmt: skip
    if rng.random() < 0.2:
        del place[key]
    else:
        place[key] = values[int(rng.integers(0, len(values)))]
    return json.dumps(document).encode()


def run_cases(folder: Path, cases: int, seed: int) -> Counter[str]:
    """Run that many cases; how many of each target were noticed, or read the same, or read otherwise.

    Raises
    ------
    AssertionError
        A reader failed in a way that is not allowed; the input is kept as ``failed`` in the current folder.
    """
    rng = np.random.default_rng(seed)
    sound = originals(folder)
    expected = [TARGETS[name](data) for name, data in sound]
    counts: Counter[str] = Counter()
    for case in range(cases):
        i = case % len(sound)
        name, data = sound[i]
        wrong = damage_document(rng, data) if name == "sealed manifest" and case % 4 else damage(rng, data)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            outcome = TARGETS[name](wrong)
        except AgdError:
            counts[f"{name}: noticed"] += 1
            continue
        except BaseException as error:
            Path("failed").write_bytes(wrong)
            raise AssertionError(f"{name}, seed {seed}, case {case}: {type(error).__name__}: {error}") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
        same = outcome == expected[i]
        if name in GUARDED and not same:
            Path("failed").write_bytes(wrong)
            raise AssertionError(f"{name}, seed {seed}, case {case}: damage was not noticed")
        counts[f"{name}: {'same' if same else 'other'}"] += 1
    return counts


def main() -> None:
    """Run the campaign and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = run_cases(Path(folder), arguments.cases, arguments.seed)
    for name, number in sorted(counts.items()):
        print(f"{number:9,} {name}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{arguments.cases:,} cases in {time.perf_counter() - start:.0f} s, peak {peak:.0f} MiB: all as they must be")


if __name__ == "__main__":
    sys.exit(main())
