"""samtools as the oracle, in a process of its own.

``pysam.samtools`` runs in this process, where samtools leaves settings behind: a sort with ``-n`` that follows one with
``-N`` is lexicographic too.
"""

from __future__ import annotations

import subprocess
import sys

_CODE = "import sys, pysam; getattr(pysam.samtools, sys.argv[1])(*sys.argv[2:], catch_stdout=False)"


def samtools(command: str, *arguments: str) -> None:
    """Run the samtools of pysam; write to a file with ``-o``."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE, command, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
