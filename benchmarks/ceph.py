"""Everything remote against a real Ceph RADOS gateway: ``make ceph``.

Starts a cluster of its own on the loopback device, runs the contract suite of storage and the comparison of clients
against it, then the steps from FASTQ to BAM on ``s3://``: once in peace, once with the gateway killed in the middle of
every step (half of the time that it took in peace) and started again two seconds later. Both must give the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pysam
import s3fs

import agd
from agd.testing import content_digest
from benchmarks.ceph_server import ACCESS_KEY, SECRET_KEY, Cluster, cluster, missing

#: How long the gateway stays away, in seconds.
AWAY = 2.0


def say(**line: object) -> None:
    """One line of JSON."""
    print(json.dumps(line), flush=True)


def check_loopback(running: Cluster) -> None:
    """Every socket that the daemons listen on must be one of the loopback device."""
    for name, pid in running.pids().items():
        for connection in psutil.Process(pid).net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.ip != "127.0.0.1":
                raise RuntimeError(f"{name} listens on {connection.laddr}")


def contract(client: str) -> None:
    """The contract suite of storage with one client."""
    suite = ["-q", "-p", "no:cacheprovider", "tests/contract/test_storage.py", "-k", client]
    command = [sys.executable, "-m", "pytest", *suite]
    begun = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    summary = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    say(step="contract", client=client, result=summary, seconds=round(time.monotonic() - begun, 1))
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        raise SystemExit(1)


class Steps:
    """From FASTQ to BAM below a url."""

    def __init__(self, folder: Path, place: str) -> None:
        reads = [f"{folder}/R1.fq.gz", f"{folder}/R2.fq.gz"]
        few = ["--chunk-records", "2000"]
        self.place = place
        self.commands = {
            "import": ["import", "fastq", *reads, "-o", f"{place}/s.agd", *few],
            "align": ["align", f"{place}/s.agd", "-r", f"{folder}/genome.fa"],
            "sort": ["sort", f"{place}/s.agd", "-o", f"{place}/sorted.agd", *few],
            "dedup": ["dedup", f"{place}/sorted.agd"],
            "export": ["export", "bam", f"{place}/sorted.agd", "-o", f"{place}/out.bam"],
        }

    def run(self, verb: str, crash: Cluster | None = None, after: float = 0.0) -> float:
        """Run a step in a process of its own, with ``crash`` and the gateway killed after some seconds; seconds."""
        begun = time.monotonic()
        command = [sys.executable, "-c", "from agd.cli import main; main()", *self.commands[verb]]
        process = subprocess.Popen([*command, "--threads", "2", "--quiet"], stderr=subprocess.PIPE, text=True)
        kills = 0
        if crash is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after)
            if process.poll() is None:
                crash.kill_gateway()
                time.sleep(AWAY)
                crash.start_gateway()
                kills = 1
        error = process.communicate()[1]
        seconds = time.monotonic() - begun
        say(step=verb, kills=kills, code=process.returncode, seconds=round(seconds, 1))
        if process.returncode:
            raise SystemExit(f"{verb}: {error}")
        return seconds

    def digests(self, filesystem: s3fs.S3FileSystem, folder: Path) -> list[str]:
        """What came out: both datasets, and the records of the BAM file as samtools prints them."""
        copy = folder / "out.bam"
        filesystem.get_file(f"{self.place}/out.bam", str(copy))
        filesystem.get_file(f"{self.place}/out.bam.bai", f"{copy}.bai")
        records = pysam.samtools.view(str(copy))
        datasets = [content_digest(agd.open(f"{self.place}/{name}")) for name in ("s.agd", "sorted.agd")]
        return [*datasets, str(hash(records)), str(records.count("\n"))]


def main() -> int:
    """Start, measure, kill, compare, stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000, help="read pairs of the steps")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each client")
    chosen = parser.parse_args()
    if missing():
        print(f"needs: apt-get install --no-install-recommends {' '.join(missing())}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="agd-ceph-") as name:
        folder = Path(name)
        (folder / "cluster").mkdir()
        begun = time.monotonic()
        with cluster(folder / "cluster") as running:
            version = subprocess.check_output(["radosgw", "--version"], text=True).strip()
            say(step="start", seconds=round(time.monotonic() - begun, 1), version=version)
            check_loopback(running)
            run(running, folder, chosen.pairs, chosen.rounds)
    return 0


def run(running: Cluster, folder: Path, pairs: int, rounds: int) -> None:
    """All of it against a running cluster."""
    os.environ |= {
        "AWS_ENDPOINT_URL": running.endpoint, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AGD_TEST_S3_ENDPOINT": running.endpoint,
    }  # fmt: skip
    filesystem = s3fs.S3FileSystem(use_listings_cache=False)
    for bucket in ("agd-bench", "agd-steps"):
        filesystem.mkdir(bucket)
    for client in ("s3fs", "obstore"):
        contract(client)
    subprocess.run(
        [sys.executable, "-m", "benchmarks.remote", "--endpoint", running.endpoint, "--url", "s3://agd-bench",
         "--rounds", str(rounds)], check=True,
    )  # fmt: skip
    agd.simulate(
        f"{folder}/R1.fq.gz", f"{folder}/R2.fq.gz", pairs=pairs, genome=f"{folder}/genome.fa", genome_length=200_000,
        seed=5,
    )  # fmt: skip
    peace, crash = Steps(folder, "s3://agd-steps/peace"), Steps(folder, "s3://agd-steps/crash")
    seconds = {verb: peace.run(verb) for verb in peace.commands}
    for verb in crash.commands:
        crash.run(verb, running, seconds[verb] / 2)
    found = [steps.digests(filesystem, folder) for steps in (peace, crash)]
    say(step="compare", equal=found[0] == found[1], records=int(found[0][-1]))
    if found[0] != found[1]:
        raise SystemExit("the results differ")


if __name__ == "__main__":
    sys.exit(main())
