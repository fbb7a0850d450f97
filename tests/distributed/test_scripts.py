"""The scripts in the documentation of clusters, run as they stand, with local processes in the place of a cluster."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import agd
from agd.aligners.align import align
from agd.testing import content_digest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"

#: Stands for Slurm: runs the tasks of an array two at a time, and a wrapped command once the job it waits for is over.
SBATCH = r"""#!/bin/bash
set -euo pipefail
echo "$*" >> sbatch.log
case "$*" in
  *--wrap*) [[ "$1 $2" == "--dependency=afterok:7 --wrap" ]] || exit 9; bash -c "$3"; echo "job 8" ;;
  *)
    script="${@: -1}"
    last=$(sed -n 's/^#SBATCH.*--array=1-\([0-9]*\).*/\1/p' "$script")
    export SLURM_ARRAY_TASK_COUNT=$last SLURM_CPUS_PER_TASK=1
    seq "$last" | SCRIPT=$script xargs -P 2 -I{} env SLURM_ARRAY_TASK_ID={} bash "$script" >&2
    echo 7 ;;
esac
"""


def block(start: str) -> str:
    """The block of the page that begins like this."""
    found = [b for b in re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.M | re.S) if b.startswith(start)]
    assert len(found) == 1, start
    return str(found[0])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    reads = [str(tmp_path / f"R{i}.fq") for i in (1, 2)]
    agd.simulate(*reads, pairs=100, genome=str(tmp_path / "ref.fa"), genome_length=20_000, read_length=100, seed=5)
    agd.import_fastq(*reads, output=str(tmp_path / "s.agd"), chunk_records=30)
    shutil.copytree(tmp_path / "s.agd", tmp_path / "whole.agd")
    align(agd.open(str(tmp_path / "whole.agd")), str(tmp_path / "ref.fa"))
    return tmp_path


def run(script: str, place: Path) -> None:
    path = f"{place}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=place, env=os.environ | {"PATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert content_digest(agd.open(str(place / "s.agd"))) == content_digest(agd.open(str(place / "whole.agd")))


def test_slurm(place: Path) -> None:
    (place / "sbatch").write_text(SBATCH)
    (place / "sbatch").chmod(0o755)
    script = block("#!/bin/bash\n#SBATCH")
    assert "--array=1-40 " in script
    (place / "align.sh").write_text(script.replace("--array=1-40 ", "--array=1-3 "))  # forty would take too long
    run(block("jobid="), place)
    assert len((place / "sbatch.log").read_text().splitlines()) == 2


def test_gnu_parallel(place: Path) -> None:
    if "GNU parallel" not in subprocess.run(
        ["bash", "-c", "parallel --version || true"], capture_output=True, text=True, check=True
    ).stdout:  # fmt: skip
        pytest.skip("GNU parallel is not installed here")
    run(block("parallel "), place)
