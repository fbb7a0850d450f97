"""Kill every verb at random writes, run it again, and compare: ``make kill-campaign``.

Each trial runs a verb in a process of its own that ends by SIGKILL at a random write (before it, half way through it,
or with the answer lost), runs the verb again, and checks that the result has the content of an uninterrupted run, that
what had been stored whole was kept, and that ``agd gc`` leaves nothing behind that is not named.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pysam

import agd
from agd.cell import decode_cell
from agd.convert.many import SUFFIX
from agd.errors import AgdError, DatasetNotFoundError, FormatError
from agd.files import open_source
from agd.manifest import MANIFEST_KEY
from agd.ops.gc import gc
from agd.storage import TEMPORARY_PREFIX, open_storage
from agd.testing import content_digest

VERBS = ("import", "align", "sort", "dedup", "export", "import-list")
MOMENTS = ("before", "torn", "after")


@dataclass
class Outcome:
    """What the trials of a verb gave."""

    trials: int = 0
    killed: int = 0
    whole: int = 0
    redone: int = 0
    failures: list[str] = field(default_factory=list)


def run(arguments: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own; ``options`` are those of ``agd.testing.run``."""
    command = [sys.executable, "-m", "agd.testing.run", *options, "--", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def copy(source: str, target: str) -> None:
    """Copy the objects of a dataset."""
    here, there = open_storage(source), open_storage(target, create=True)
    for key in list(here.keys()):
        there.put(key, here.get(key))


class Campaign:
    """Inputs, the commands of the verbs, and what they should give.

    Parameters
    ----------
    folder : Path
        For the inputs.
    place : str
        Url under which the datasets are made.
    verbs : tuple of str
        Those that are killed.
    """

    def __init__(self, folder: Path, place: str, verbs: tuple[str, ...] = VERBS, *, pairs: int = 400) -> None:
        self.folder, self.place = folder, place
        self.genome = str(folder / "genome.fa")
        self.reads = [str(folder / f"R{i}.fq.gz") for i in (1, 2)]
        agd.simulate(*self.reads, pairs=pairs, genome=self.genome, genome_length=60_000, contigs=2, read_length=100,
                     seed=3)  # fmt: skip
        self.list = str(folder / "files.txt")
        Path(self.list).write_text("".join(f"{path}\n" for path in self.reads))
        self.base = f"{place}/base"
        self.writes: dict[str, int] = {}
        self.expected: dict[str, str] = {}
        steps = [verb for verb in VERBS if verb in verbs or VERBS.index(verb) < max(map(VERBS.index, verbs))]
        for verb in steps:
            if verb in ("dedup", "export") and verb not in verbs:
                continue  # nothing is made of what they make
            self.prepare(verb, self.base)
            count = folder / "count"
            done = run(self.command(verb, self.base), "--count", str(count))
            if done.returncode:
                raise RuntimeError(f"{verb}: {done.stderr}")
            self.writes[verb] = int(count.read_text())
            self.expected[verb] = self.digest(verb, self.base)

    def command(self, verb: str, place: str) -> list[str]:
        """Arguments of a verb whose result is made in ``place``."""
        few = ["--chunk-records", "100"]
        return {
            "import": ["import", "fastq", *self.reads, "-o", f"{place}/s.agd", *few],
            "align": ["align", f"{place}/aligned.agd", "-r", self.genome],
            "sort": ["sort", f"{self.base}/aligned.agd", "-o", f"{place}/sorted.agd", *few],
            "dedup": ["dedup", f"{place}/marked.agd"],
            "export": ["export", "bam", f"{self.base}/sorted.agd", "-o", f"{place}/out.bam"],
            "import-list": ["import", "fastq", "--list", self.list, "-o", f"{place}/many.agd", *few],
        }[verb] + ["--threads", "2"]

    def prepare(self, verb: str, place: str) -> None:
        """Copy the dataset that a verb adds to."""
        if "://" not in place:
            os.makedirs(place, exist_ok=True)
        if verb == "align":
            copy(f"{self.base}/s.agd", f"{place}/aligned.agd")
        if verb == "dedup":
            copy(f"{self.base}/sorted.agd", f"{place}/marked.agd")

    def result(self, verb: str, place: str) -> str:
        """Url of what a verb makes."""
        names = {"import": "s.agd", "align": "aligned.agd", "sort": "sorted.agd", "dedup": "marked.agd",
                 "import-list": "many.agd"}  # fmt: skip
        return f"{place}/{names.get(verb, 'out.bam')}"

    def digest(self, verb: str, place: str) -> str:
        """What tells two results apart; "" if there is none."""
        if verb != "export":
            try:
                return content_digest(agd.open(self.result(verb, place)))
            except DatasetNotFoundError:
                return ""
        # The header holds the command line, which names the place.
        copied = str(self.folder / "copy.bam")
        for suffix in ("", ".bai"):
            try:
                source = open_source(self.result(verb, place) + suffix)
            except AgdError:
                return ""
            Path(copied + suffix).write_bytes(b"".join(iter(lambda s=source: s.read(1 << 20), b"")))  # type: ignore
            source.close()
        with pysam.AlignmentFile(copied) as file:
            references, lengths = file.references, file.lengths
        text = pysam.samtools.view(copied) + pysam.samtools.view(copied, references[0]) + repr((references, lengths))
        return hashlib.sha256(text.encode()).hexdigest()

    def trial(self, verb: str, number: int, moment: str, outcome: Outcome) -> None:
        """Kill, run again, compare."""
        place = f"{self.place}/{uuid.uuid4().hex[:12]}"
        self.prepare(verb, place)
        outcome.trials += 1
        first = run(self.command(verb, place), "--kill", str(number), "--moment", moment)
        outcome.killed += first.returncode == -signal.SIGKILL
        # A kill after the publishing leaves the whole result, which must not be touched by running again.
        done = self.digest(verb, place) == self.expected[verb]
        before = {} if verb == "export" else self.whole_objects(verb, place)
        again = run(self.command(verb, place))
        what = f"{verb}, killed {moment} write {number}"
        if again.returncode and not (done and again.returncode in (1, 2)):
            outcome.failures.append(f"{what}: run again: {again.stderr}")
            return
        if self.digest(verb, place) != self.expected[verb]:
            outcome.failures.append(f"{what}: another result")
        if verb == "export":
            if "://" not in place and (left := [n for n in os.listdir(place) if n.startswith(TEMPORARY_PREFIX)]):
                outcome.failures.append(f"{what}: left {left}")
            return
        after = self.whole_objects(verb, place)
        outcome.whole += len(before)
        redone = [key for key, stamp in before.items() if after.get(key) != stamp]
        outcome.redone += len(redone)
        if redone:
            outcome.failures.append(f"{what}: {redone} were whole and are not kept")
        outcome.failures += [f"{what}: {text}" for text in self.leftovers(verb, place)]

    def whole_objects(self, verb: str, place: str) -> dict[str, str]:
        """Chunk files that are whole: key, and what changes when it is written again (content only, if remote)."""
        storage = open_storage(self.result(verb, place))
        found = {}
        for key in list(storage.keys()):
            if key.startswith((TEMPORARY_PREFIX, "manifest", "draft-")):
                continue
            data = storage.get(key)
            try:
                decode_cell(data, key)
            except FormatError:
                continue
            stamp = hashlib.sha256(data).hexdigest()
            if "://" not in place:
                status = os.stat(os.path.join(self.result(verb, place), key))
                stamp += f" {status.st_ino} {status.st_mtime_ns}"
            found[key] = stamp
        return found

    def leftovers(self, verb: str, place: str) -> Iterator[str]:
        """What ``agd gc`` fails to remove, and what it should not have."""
        storage = open_storage(self.result(verb, place))
        gc(storage)
        dataset = agd.open(self.result(verb, place))
        named = {dataset.manifest.object_key(c, chunk.first) for chunk in dataset.chunks for c in chunk.cells}
        if list(open_storage(self.result(verb, place) + SUFFIX).keys()):
            yield "objects of the parts are left"
        spare = [k for k in set(storage.keys()) - named if not k.startswith(MANIFEST_KEY.removesuffix(".json"))]
        if spare:
            yield f"gc left {spare}"
        if self.digest(verb, place) != self.expected[verb]:
            yield "gc removed what is needed"


def campaign(place: str, folder: Path, kills: int, seed: int, verbs: tuple[str, ...]) -> dict[str, Outcome]:
    """Outcomes by verb; ``kills`` in all."""
    chance = random.Random(seed)
    job = Campaign(folder, place, verbs)
    outcomes = {verb: Outcome() for verb in verbs}
    for i in range(kills):
        verb = verbs[i % len(verbs)]
        job.trial(verb, chance.randint(1, job.writes[verb]), chance.choice(MOMENTS), outcomes[verb])
    return outcomes


def main() -> int:
    """Run the campaign on local disk and on an S3 server of its own; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="in each store")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=["local", "s3"], action="append")
    parser.add_argument("--verb", choices=VERBS, action="append")
    chosen = parser.parse_args()
    from agd.cli import VERBS as KNOWN

    verbs = tuple(verb for verb in chosen.verb or VERBS if verb.partition("-")[0] in KNOWN)
    failed = 0
    for store in chosen.store or ["local", "s3"]:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="agd-kill-") as name:
            folder = Path(name)
            (folder / "inputs").mkdir()
            if store == "s3":
                with s3_server() as place:
                    outcomes = campaign(place, folder / "inputs", chosen.kills, chosen.seed, verbs)
            else:
                outcomes = campaign(str(folder), folder / "inputs", chosen.kills, chosen.seed, verbs)
        for verb, o in outcomes.items():
            print(json.dumps({"store": store, "verb": verb, "trials": o.trials, "killed": o.killed,
                              "objects kept": o.whole - o.redone, "objects redone": o.redone,
                              "failures": o.failures}))  # fmt: skip
            failed += len(o.failures)
        print(f"{store}: {time.monotonic() - started:.0f} s, {failed} failures")
    return int(failed > 0)


class s3_server:  # noqa: N801 - used as a context manager
    """An S3 server on a free port of this machine; gives the url of a bucket."""

    def __enter__(self) -> str:
        import logging

        import s3fs
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        os.environ |= {
            "AGD_S3_ENDPOINT": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        bucket = f"kill-{uuid.uuid4().hex}"
        s3fs.S3FileSystem(endpoint_url=os.environ["AGD_S3_ENDPOINT"], use_listings_cache=False).mkdir(bucket)
        return f"s3://{bucket}"

    def __exit__(self, *exc: object) -> None:
        self.server.stop()


if __name__ == "__main__":
    sys.exit(main())
