"""The command line: help, exit codes, errors, reports, interrupts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

import agd
from agd.cli import VERBS, run
from agd.cli import agd as group

FASTQ = "@r1\nACGT\n+\nIIII\n@r2\nACGN\n+\nII#I\n"


@pytest.fixture
def reads(tmp_path: Path) -> str:
    path = tmp_path / "reads.fq"
    path.write_text(FASTQ)
    return str(path)


def commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    context = click.Context(group)
    for verb in VERBS:
        command = group.get_command(context, verb)
        assert command is not None, verb
        found.append((verb,))
        if isinstance(command, click.Group):
            found += [(verb, name) for name in command.list_commands(context)]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_verb_explains_itself(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: agd {' '.join(words)}")
    command = group
    for word in words:
        command = command.get_command(click.Context(command), word)  # type: ignore[attr-defined]
    if not isinstance(command, click.Group):
        assert "Example" in text
        assert "--storage-option KEY=VALUE" in text


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"agd {agd.__version__}\n"


def test_done_is_0_and_json_is_json(reads: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", "fastq", reads, "-o", str(tmp_path / "s.agd"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["records"] == 2
    assert run(["info", str(tmp_path / "s.agd"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["columns"]["bases"]["type"] == "bases"
    assert run(["info", str(tmp_path / "s.agd")]) == 0
    assert "bases" in capsys.readouterr().out
    assert run(["export", "fastq", str(tmp_path / "s.agd"), "-o", str(tmp_path / "back.fq")]) == 0
    assert (tmp_path / "back.fq").read_text() == FASTQ


def test_failure_is_1_with_place_and_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.fq"
    bad.write_text("@r1\nACGT\n+\nIII\n")
    assert run(["import", "fastq", str(bad), "-o", str(tmp_path / "s.agd")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"agd: error: {bad}")
    assert "record 1" in error
    assert "remedy:" in error
    assert "Traceback" not in error
    assert not (tmp_path / "s.agd").exists()
    assert run(["info", str(tmp_path / "missing.agd")]) == 1
    assert "no dataset" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["import", "fastq"],
        ["sort", "x.agd", "-o", "y.agd", "--memory", "much"],
        ["import", "fastq", "x", "-o", "y", "--chunk-records", "few"],
        ["view", "x.agd", "-F", "NOFLAG"],
    ],
)
def test_wrong_request_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert "Error" in capsys.readouterr().err


def test_existing_dataset_is_refused(reads: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import", "fastq", reads, "-o", str(tmp_path / "s.agd")]
    assert run(words) == 0
    assert run(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run([*words, "--overwrite"]) == 0


SAM = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c1\tLN:99\nr1\t0\tc1\t1\t9\t4M\t*\t0\t0\tACGT\tIIII\n"


@pytest.fixture
def lines(tmp_path: Path) -> str:
    """A dataset of three alignment lines in coordinate order."""
    line = SAM.splitlines(keepends=True)[-1]
    (tmp_path / "s.sam").write_text(SAM + line.replace("r1", "r2") + line.replace("r1", "r3"))
    agd.import_sam(str(tmp_path / "s.sam"), str(tmp_path / "lines.agd"))
    agd.export_bam(agd.open(tmp_path / "lines.agd"), str(tmp_path / "lines.bam"))
    return str(tmp_path / "lines.agd")


@pytest.mark.parametrize(
    "words",
    [
        ["export", "fastq", "S"], ["export", "fastq", "S", "-o", "/dev/stdout"], ["export", "sam", "S"],
        ["export", "bam", "S", "-o", "-"], ["export", "cram", "S", "-o", "-", "--no-reference"],
        ["sort", "B", "-o", "-"], ["simulate", "-", "--pairs", "1"], ["dedup", "S", "--metrics", "-"],
        ["report", "S", "-o", "-"], ["pipeline", "x.fq", "--reference", "y.fa", "-o", "-"],
    ],
)  # fmt: skip
def test_no_json_among_data(lines: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [{"S": lines, "B": lines[:-4] + ".bam"}.get(word, word) for word in words]
    assert run([*words, "--json"]) == 2
    out, error = capsys.readouterr()
    assert "--json prints on standard output, where the data go" in error
    assert not out


def test_what_clear_does_not_use_is_refused(lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dedup", lines]) == 0
    for option in (["--json"], ["--remove", "q.agd"], ["--metrics", "m.txt"], ["--barcode-tag", "RX"], ["--overwrite"],
                   ["--optical-distance", "9"], ["--read-groups"], ["--partition", "1/2"], ["--tmp", "x"]):  # fmt: skip
        assert run(["dedup", lines, "--clear", *option]) == 2
        assert f"{option[0]} does not go with --clear" in capsys.readouterr().err
    assert run(["dedup", lines, "--clear"]) == 0
    assert "duplicates" not in agd.open(lines).columns


def test_counts(lines: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["view", lines, "-c"]) == 0
    assert run(["view", lines, "-c", "--head", "2"]) == 0
    assert run(["view", lines, "-c", "--head", "9"]) == 0
    assert capsys.readouterr().out == "3\n2\n3\n"
    assert run(["view", lines, "-c", "-o", str(tmp_path / "count.txt")]) == 0
    assert (tmp_path / "count.txt").read_text() == "3\n"
    for option, other in (("--header-only", "--count"), ("--with-header", "--count")):
        assert run(["view", lines, "-c", option]) == 2
        assert f"{option} does not go with {other}" in capsys.readouterr().err
    assert run(["view", lines, "-c", "--columns", "POS"]) == 2
    assert run(["view", lines, "-H", "--head", "2"]) == 2
    assert "--head does not go with --header-only" in capsys.readouterr().err


def test_files_are_replaced_without_being_asked(lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sort", lines[:-4] + ".bam", "-o", lines[:-10] + "/o.bam"]
    assert run(words) == 0
    assert run(words) == 0
    assert run([*words, "--overwrite"]) == 2
    assert "--overwrite goes with datasets" in capsys.readouterr().err
    assert run(["sort", lines, "-o", "x.agd", "--no-index"]) == 2
    assert "--no-index goes with BAM files" in capsys.readouterr().err


def test_lists_of_files_in_any_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsencode(tmp_path) + b"/r\xff.fq"
    with open(name, "w") as file:
        file.write(FASTQ)
    (tmp_path / "list.txt").write_bytes(b"# one\n\n" + name + b"\n")
    assert run(["import", "fastq", "--list", str(tmp_path / "list.txt"), "-o", str(tmp_path / "s.agd")]) == 0
    assert run(["export", "fastq", str(tmp_path / "s.agd"), "-o", str(tmp_path / "back.fq")]) == 0
    assert (tmp_path / "back.fq").read_text() == FASTQ
    os.unlink(name)
    assert run(["import", "fastq", "--list", str(tmp_path / "list.txt"), "-o", str(tmp_path / "t.agd")]) == 1
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_is_130_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    fifo = tmp_path / "reads.fq"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-c", "from agd.cli import main; main()", "import", "fastq", str(fifo), "-o",
         str(tmp_path / "s.agd"), "--chunk-records", "10k"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    done = threading.Event()

    def feed() -> None:
        # More than the importer reads at one time, so that it begins to write; then it has to wait for the rest.
        with contextlib.suppress(BrokenPipeError), open(fifo, "w") as file:
            file.write(FASTQ * 500_000)
            file.flush()
            done.wait()

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        while not list((tmp_path / "s.agd").glob("s-*")) and process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    finally:
        done.set()
        process.kill()
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "interrupted" in error
    assert not list((tmp_path / "s.agd").glob("manifest*"))
    # The same command goes on where it was stopped.
    fifo.unlink()
    fifo.write_text(FASTQ)
    assert run(["import", "fastq", str(fifo), "-o", str(tmp_path / "s.agd"), "--overwrite"]) == 0


def test_closed_pipe_is_no_error(reads: str, tmp_path: Path) -> None:
    many = tmp_path / "many.fq"
    many.write_text(FASTQ * 20_000)
    assert run(["import", "fastq", str(many), "-o", str(tmp_path / "s.agd"), "--quiet"]) == 0
    command = f"{sys.executable} -c 'from agd.cli import main; main()' view {tmp_path / 's.agd'}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | head -n 1"], capture_output=True, text=True, check=False
    )
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_start_up_imports_nothing_heavy() -> None:
    code = (
        "import sys; from agd.cli import run; run(['--version']); "
        "heavy = {'numpy', 'fsspec', 'pyarrow', 'pysam', 'agd.dataset'} & set(sys.modules); sys.exit(bool(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path, unbuffered: str) -> None:
    (tmp_path / "r.fq").write_text(FASTQ * 20_000)
    assert run(["import", "fastq", str(tmp_path / "r.fq"), "-o", str(tmp_path / "s.agd"), "--quiet"]) == 0
    program = [sys.executable, "-c", "from agd.cli import main; main()"]
    for verb in (["view", str(tmp_path / "s.agd")], ["export", "fastq", str(tmp_path / "s.agd"), "-o", "-"]):
        process = subprocess.Popen(
            [*program, *verb, "--quiet"] if verb[0] == "export" else [*program, *verb], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
