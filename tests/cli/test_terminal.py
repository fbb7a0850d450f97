"""At the terminal: help, completion, colours, width, units, and what is imported."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import agd
from agd.cli import VERBS, run
from agd.cli import agd as group
from agd.cli.completion import command as completion
from agd.cli.info import describe
from agd.cli.terminal import colour, fit
from agd.display import column_sizes
from agd.units import bar, format_ratio, format_seconds, format_share, format_short

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    agd.create(str(tmp_path / "s.agd"), {"bases": ["ACGT"] * 9, "qualities": ["IIII"] * 9, "score": [0.5] * 9})
    return str(tmp_path / "s.agd")


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from commands(found, f"{name} {below}")


def test_every_verb_has_an_example() -> None:
    found = dict(commands(group, "agd"))
    assert len(found) > len(VERBS)
    for name, command in found.items():
        text = command.get_help(click.Context(command, info_name=name))
        found_one = re.search(rf"Examples?:\n(?: +.*\n)*? .*{name}\b", text)
        assert name == "agd" or found_one, f"{name} --help has no example"
        assert all(param.help for param in command.params if isinstance(param, click.Option)), name


def complete(words: str, **environment: str) -> list[str]:
    """What bash would be told for a line that ends here."""
    parts = words.split(" ")
    told = os.environ | {"_AGD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(parts) - 1)}
    done = subprocess.run([sys.executable, "-c", "from agd.cli import main; main()"], env=told | environment,
                          capture_output=True, text=True, check=True)  # fmt: skip
    return done.stdout.split()


def test_completion(dataset: str) -> None:
    assert complete("agd rep") == ["plain,report", "plain,repair"]
    assert "plain,--multiqc" in complete("agd report --m")
    assert complete("agd report s.a") == ["file,s.a"]
    assert complete("agd export ") == [f"plain,{name}" for name in ("bam", "cram", "fastq", "sam")]
    assert complete(f"agd column drop {dataset} q") == ["plain,qualities"]
    assert complete("agd column drop nowhere.agd q") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert isinstance(completion, click.Command)
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_AGD_COMPLETE={shell}_complete" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its syntax was not checked")
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colour(
    variables: dict[str, str], expected: bool, dataset: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert colour(io.StringIO()) is expected
    assert run(["info", dataset]) == 0
    assert run(["info", f"{dataset}x"]) == 1
    out, err = capsys.readouterr()
    assert bool(ANSI.search(out)) is bool(ANSI.search(err)) is expected
    assert "remedy:" in err


def on_a_terminal(arguments: list[str], columns: int, **environment: str) -> str:
    """What a verb prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    told = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "TQDM_DISABLE")}
    told |= {"COLUMNS": str(columns), "TERM": "xterm", "PYTHONUTF8": "1"} | environment
    child = subprocess.Popen([sys.executable, "-c", "from agd.cli import main; main()", *arguments], env=told,
                             stdin=theirs, stdout=theirs, stderr=theirs)  # fmt: skip
    os.close(theirs)
    read = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # Linux says so when the other side is closed
            break
        if not piece:
            break
        read += piece
    os.close(ours)
    assert child.wait() == 0
    return read.decode().replace("\r\n", "\n")


def test_narrow_and_wide_terminals(dataset: str) -> None:
    for columns in (40, 60, 80, 120):
        text = on_a_terminal(["info", dataset], columns)
        assert ANSI.search(text)
        assert max(len(ANSI.sub("", line)) for line in text.splitlines()) <= max(columns, 52)
        assert ("base2" in text) == (columns >= 84)
        assert ("█" in text) == (columns >= 64)
    assert not ANSI.search(on_a_terminal(["info", dataset], 80, NO_COLOR="1"))


def test_progress_is_for_terminals(dataset: str) -> None:
    command = [sys.executable, "-c", "from agd.cli import main; main()", "report", dataset, "--json"]
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert piped.stderr == ""
    json.loads(piped.stdout)
    quiet = on_a_terminal(["report", dataset, "-o", f"{dataset}.html", "--quiet"], 80)
    assert quiet == ""
    assert "report" in on_a_terminal(["report", dataset, "-o", f"{dataset}.html"], 80)


def test_table_of_columns(dataset: str) -> None:
    text = ANSI.sub("", describe(agd.open(dataset)))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("  ")}
    assert rows["score"][1] == "float64"
    sizes = {c.name: (c.bytes, c.decoded) for c in column_sizes(agd.open(dataset).manifest)}
    assert [sizes[name][1] for name in ("bases", "qualities", "score")] == [36, 36, 72]
    assert rows["score"][4] == format_ratio(72, sizes["score"][0])


def test_not_all_terminals_know_unicode(dataset: str) -> None:
    done = subprocess.run([sys.executable, "-c", "from agd.cli import main; main()", "info", dataset],
                          env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=True)  # fmt: skip
    assert b"qualities" in done.stdout


def modules(arguments: list[str]) -> set[str]:
    code = f"import sys\nfrom agd.cli import run\nrun({arguments!r})\nprint(*sys.modules, file=sys.stderr)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split())


def test_nothing_heavy_is_imported(dataset: str) -> None:
    heavy = {"pyarrow", "polars", "pandas", "duckdb", "pysam", "s3fs", "aiohttp", "tqdm", "distributed", "minibwa"}
    version = modules(["--version"])
    assert not version & (heavy | {"numpy", "fsspec", "zstandard", "asyncio"})
    assert len(version) < 200
    info = modules(["info", dataset])
    assert not info & heavy
    assert len(info) < 600


def test_units() -> None:
    assert [format_seconds(s) for s in (0.04, 59.9, 61, 3725)] == ["0.0 s", "59.9 s", "1 min 01 s", "1 h 02 min"]
    assert [format_short(v) for v in (0, 950, 9500, 15_000, 2.5e6, 3.2e9, 0.125)] == [
        "0", "950", "9,500", "15k", "2.5M", "3.2G", "0.125"
    ]  # fmt: skip
    assert format_short(5000, 20_000) == "5k"
    assert [format_share(1, 3), format_share(0, 0)] == ["33.33 %", "n/a"]
    assert [format_ratio(10, 4), format_ratio(1, 0)] == ["2.5×", ""]
    assert [bar(0), bar(1e-9), bar(0.5, 4), bar(1, 4), bar(7, 2)] == ["", "▏", "██", "████", "██"]
    assert [fit("abcdef", n) for n in (None, 6, 3)] == ["abcdef", "abcdef", "ab…"]


@pytest.mark.parametrize(
    ("redirect", "code"), [(">/dev/full", 1), (">&-", 0), ("| true", 0), ("2>&-", 0)],
    ids=["full", "closed", "gone", "quiet"],
)
def test_what_is_printed_goes_out_before_the_end_or_is_an_error(redirect: str, code: int) -> None:
    # Printed by the verb without being flushed, as a library might.
    script = "import agd.cli as c; c.run = lambda _: print('x' * 9) or 0; c.main()"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c \"{script}\" {redirect}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, env={**os.environ, "PYTHONUNBUFFERED": ""},
    )  # fmt: skip
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("No space left" in done.stderr) == (code == 1)
