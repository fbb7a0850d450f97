"""Folders of temporary files: where they lie, and that they go."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from agd.ops.sort_spill import PREFIX, default_folder, spill_folder
from agd.scratch import remove_stale


def test_spills_lie_beside_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "s.agd").mkdir()
    os.mkfifo(tmp_path / "pipe")
    places = [str(tmp_path / name) for name in ("s.agd", "s.agd/", "new.agd", "pipe")]
    outside = tempfile.gettempdir()
    assert [default_folder(x) for x in places] == [str(tmp_path)] * 3 + [outside]
    assert [default_folder(x) for x in ("-", "/dev/stdout", "/dev/fd/63", "s3://bucket/s.agd")] == [outside] * 4


def test_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    script = f"""
import os
from agd.ops.sort_spill import spill_folder
with spill_folder({str(tmp_path)!r}) as folder:
    print(folder, flush=True)
    input()
    os._exit(1)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().decode().strip())
        remove_stale(str(tmp_path), PREFIX)
        assert folder.is_dir()  # its process lives
        process.communicate(b"\n")
    assert folder.is_dir()
    (tmp_path / f"{PREFIX}1").mkdir()  # of a process that was killed between two calls
    (tmp_path / f"{PREFIX}2.lock").touch()
    with spill_folder(str(tmp_path)) as own:
        assert {p.name for p in tmp_path.iterdir()} == {Path(own).name, f"{Path(own).name}.lock"}
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_lock_was_taken_by_another_process_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, looked = fcntl.flock, []

    def late(file: Any, how: int) -> None:
        if how == fcntl.LOCK_EX and len(looked) < 2:
            looked.append(file)
            remove_stale(str(tmp_path), PREFIX)  # another process, between the opening of the file and its lock
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with spill_folder(str(tmp_path)) as folder:
        remove_stale(str(tmp_path), PREFIX)
        assert (os.path.isdir(folder), len(looked)) == (True, 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM"])
def test_a_signal_leaves_no_temporary_files(end: str, tmp_path: Path) -> None:
    script = f"""
import signal, time
from agd.ops.sort_spill import spill_folder
signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
with spill_folder({str(tmp_path)!r}) as folder:
    print("ready", flush=True)
    while True:
        time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(list(tmp_path.iterdir())) == 2  # the folder and its lock
        process.send_signal(signal.Signals[end])
    assert list(tmp_path.iterdir()) == []
