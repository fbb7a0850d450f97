"""Fuzz one reader with coverage as the guide (atheris, libFuzzer's engine): of its Python code, or of the kernels.

    python -m tests.corruption.fuzz --target sam --seconds 60

The branches of the kernels are counted where these are built for it: ``make fuzz-native``.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import atheris

from agd.errors import AgdError
from tests.corruption.campaign import originals
from tests.corruption.targets import TARGETS


def main() -> None:
    """Fuzz until the time is over; a crash, a hang or a foreign error ends it with the input kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=list(TARGETS), required=True)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--native", action="store_true", help="Be guided by the branches of the kernels alone.")
    arguments = parser.parse_args()
    target = TARGETS[arguments.target]

    def one(data: bytes) -> None:
        with contextlib.suppress(AgdError):
            target(data)

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for i, (name, data) in enumerate(originals(Path(folder))):
            if name == arguments.target:
                (corpus / str(i)).write_bytes(data)
        options = [f"-max_total_time={arguments.seconds}", "-timeout=30", "-rss_limit_mb=4096", "-max_len=8192",
                   "-print_final_stats=1", str(corpus)]  # fmt: skip
        if not arguments.native:
            # The import hook of atheris does not see the modules of an editable install.
            atheris.instrument_all()
        atheris.Setup([sys.argv[0], *options], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
