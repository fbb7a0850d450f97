"""Kill every verb at random writes, run it again, and compare: ``make kill-campaign``.

Each trial runs a verb in a process of its own that ends by SIGKILL at a random write (before it, half way through it,
or with the answer lost), runs the verb again, and checks that the result has the content of an uninterrupted run, that
what had been stored whole was kept, and that ``agd gc`` leaves nothing behind that is not named.
"""

from __future__ import annotations

import argparse
import contextlib
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

import psutil
import pysam

import agd
from agd.cell import decode_cell
from agd.convert.gc import gc_at
from agd.convert.pieces import SUFFIX
from agd.errors import AgdError, FormatError
from agd.files import open_source
from agd.manifest import MANIFEST_KEY
from agd.storage import TEMPORARY_PREFIX, open_storage
from agd.testing import content_digest

#: What each verb makes, the dataset that it changes a copy of, and the verb whose result it needs, which comes before.
RESULTS: dict[str, tuple[str, str, str]] = {
    "import": ("s.agd", "", ""), "align": ("aligned.agd", "s.agd", "import"), "sort": ("sorted.agd", "", "align"),
    "dedup": ("marked.agd", "sorted.agd", "sort"), "export": ("out.bam", "", "sort"),
    "import-list": ("many.agd", "", ""), "merge": ("merged.agd", "", "sort"), "collate": ("grouped.agd", "", "align"),
    "fixmate": ("fixed.agd", "grouped.agd", "collate"), "subset": ("half.agd", "", "sort"),
    "recompress": ("small.agd", "sorted.agd", "sort"), "recompress-embed": ("whole.agd", "sorted.agd", "sort"),
    "bin": ("binned.agd", "sorted.agd", "sort"), "repair": ("mended.agd", "sorted.agd", "export"),
    "import-cram": ("cram.agd", "", "sort"), "export-parts": ("parts.bam", "", "sort"),
    "sort-cluster": ("clustered.agd", "", "sort"),
}  # fmt: skip
VERBS = tuple(RESULTS)
MOMENTS = ("before", "torn", "after")


#: The command line as it is: stores that count cannot be sent to other processes.
PLAIN = "import sys; from agd.cli import run; sys.exit(run(sys.argv[1:]))"


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


def kill_a_worker(parent: int) -> bool:
    """Kill one of the Dask workers that a process has started; False if there is none any more."""
    for process in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("spawn_main" in text for text in process.cmdline()):
                process.kill()
                return True
    return False


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
        self.cram = str(folder / "in.cram")
        self.base = f"{place}/base"
        self.writes: dict[str, list[int]] = {}
        self.expected: dict[str, str] = {}
        needed = set(verbs)
        for verb in reversed(VERBS):
            if verb in needed and RESULTS[verb][2]:
                needed.add(RESULTS[verb][2])
        for verb in [verb for verb in VERBS if verb in needed]:
            if verb == "sort-cluster":
                self.expected[verb] = self.expected["sort"]
                continue
            self.prepare(verb, self.base)
            self.writes[verb] = [self.counted(command) for command in self.commands(verb, self.base)]
            self.expected[verb] = self.digest(verb, self.base)

    def counted(self, command: list[str]) -> int:
        """Run a command; its writes."""
        count = self.folder / "count"
        done = run(command, "--count", str(count))
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}")
        return int(count.read_text())

    def commands(self, verb: str, place: str) -> list[list[str]]:
        """The command lines, one after the other, whose result is made in ``place``."""
        few, base, out = ["--chunk-records", "100"], self.base, self.result(verb, place)
        aligned, ordered = f"{base}/aligned.agd", f"{base}/sorted.agd"
        threads = ["--threads", "1" if verb == "sort-cluster" else "2"]
        export = ["export", "bam", ordered, "-o", out]
        several = {"export-parts": [*([*export, "--partition", f"{i}/3"] for i in (2, 3, 1)), ["finalise", out]]}
        one = {
            "import": ["import", "fastq", *self.reads, "-o", out, *few],
            "align": ["align", out, "-r", self.genome],
            "sort": ["sort", aligned, "-o", out, *few],
            "dedup": ["dedup", out],
            "export": export,
            "import-list": ["import", "fastq", "--list", self.list, "-o", out, *few],
            "merge": ["merge", ordered, ordered, "-o", out, *few],
            "collate": ["collate", aligned, "-o", out, *few],
            "fixmate": ["fixmate", out],
            "subset": ["subset", ordered, "-o", out, "--fraction", "0.6"],
            "recompress": ["recompress", out, "--profile", "balanced", "--reference", self.genome],
            "recompress-embed": ["recompress", out, "--embed-reference", "--reference", self.genome],
            "bin": ["bin", out, "--scheme", "illumina-8"],
            "repair": ["repair", out, "--from", f"{base}/out.bam"],
            "import-cram": ["import", "cram", self.cram, "-o", out, "--reference", self.genome, *few],
            "sort-cluster": ["sort", aligned, "-o", out, *few, "--cluster", "local:2"],
        }
        return [[*command, *threads] for command in several.get(verb) or [one[verb]]]

    def prepare(self, verb: str, place: str) -> None:
        """Copy the dataset that a verb changes."""
        if "://" not in place:
            os.makedirs(place, exist_ok=True)
        source = RESULTS[verb][1]
        if source:
            copy(f"{self.base}/{source}", self.result(verb, place))
        if verb == "repair":
            storage = open_storage(self.result(verb, place))
            for key in [key for key in list(storage.keys()) if key.endswith("00.qualities")][::2]:
                storage.put(key, storage.get(key)[:-20])
        if verb == "import-cram" and not os.path.exists(self.cram):
            agd.export_cram(agd.open(f"{self.base}/sorted.agd"), self.cram, reference=self.genome)

    def result(self, verb: str, place: str) -> str:
        """Url of what a verb makes."""
        return f"{place}/{RESULTS[verb][0]}"

    def digest(self, verb: str, place: str) -> str:
        """What tells two results apart; "" if there is none."""
        if not self.result(verb, place).endswith(".bam"):
            try:
                return content_digest(agd.open(self.result(verb, place)))
            except AgdError:
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

    def kill(self, verb: str, place: str, number: int, moment: str) -> bool:
        """Run the commands of a verb up to the one that is killed at its write; whether it was."""
        for command, writes in zip(self.commands(verb, place), self.writes[verb], strict=True):
            if number <= writes:
                return run(command, "--kill", str(number), "--moment", moment).returncode == -signal.SIGKILL
            number -= writes
            run(command)
        return False

    def again(self, verb: str, place: str) -> subprocess.CompletedProcess[str]:
        """Run all commands of a verb, up to the first that fails."""
        for command in self.commands(verb, place):
            done = run(command)
            if done.returncode:
                break
        return done

    def worker_trial(self, verb: str, moment: float, outcome: Outcome) -> None:
        """Kill a worker some time after the work has begun; the step goes on without being run again."""
        place = f"{self.place}/{uuid.uuid4().hex[:12]}"
        self.prepare(verb, place)
        outcome.trials += 1
        command = [sys.executable, "-c", PLAIN, *self.commands(verb, place)[0]]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            storage = open_storage(self.result(verb, place))
            while process.poll() is None and not list(storage.keys()):
                time.sleep(0.05)
            time.sleep(moment)
            outcome.killed += kill_a_worker(process.pid)
            _, error = process.communicate()
        what = f"{verb}, a worker killed after {moment:.2f} s"
        if process.returncode:
            outcome.failures.append(f"{what}: {error}")
            return
        if self.digest(verb, place) != self.expected[verb]:
            outcome.failures.append(f"{what}: another result")
        outcome.failures += [f"{what}: {text}" for text in self.leftovers(verb, place)]

    def trial(self, verb: str, number: int, moment: str, outcome: Outcome) -> None:
        """Kill, run again, compare."""
        place = f"{self.place}/{uuid.uuid4().hex[:12]}"
        self.prepare(verb, place)
        outcome.trials += 1
        outcome.killed += self.kill(verb, place, number, moment)
        # A kill after the publishing leaves the whole result, which must not be touched by running again.
        done = self.digest(verb, place) == self.expected[verb]
        before = {} if self.result(verb, place).endswith(".bam") else self.whole_objects(verb, place)
        again = self.again(verb, place)
        what = f"{verb}, killed {moment} write {number}"
        if again.returncode and not (done and again.returncode in (1, 2)):
            outcome.failures.append(f"{what}: run again: {again.stderr}")
            return
        if self.digest(verb, place) != self.expected[verb]:
            outcome.failures.append(f"{what}: another result")
        if self.result(verb, place).endswith(".bam"):
            gc_at(self.result(verb, place))
            if "://" not in place and (left := [n for n in os.listdir(place) if n[-4:] not in (".bam", ".bai")]):
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
        gc_at(self.result(verb, place), keep=1)
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
        if verb == "sort-cluster":
            job.worker_trial(verb, chance.uniform(0, 1), outcomes[verb])
        else:
            job.trial(verb, chance.randint(1, sum(job.writes[verb])), chance.choice(MOMENTS), outcomes[verb])
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
