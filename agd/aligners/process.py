"""A program that is fed on its standard input while its standard output is read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import IO, Any

from agd.errors import AlignerError

#: Most bytes of standard output handed out at one time, and the room in the pipes where the system grants it.
BLOCK = 1 << 20

#: Bytes of standard error kept for error messages.
TAIL = 4000

#: Seconds that a program which no longer reads its input has to end.
GRACE = 10.0


class Program:
    """Runs a program; threads feed it and listen to its complaints.

    Leaving the ``with`` block ends the program, whatever it does, and all that it has started.

    Parameters
    ----------
    command : list of str
    feed : iterable of bytes-like
        What to write to its standard input; iterated in a thread of its own, at the pace at which the program reads.
    """

    def __init__(self, command: list[str], feed: Iterable[Any]) -> None:
        self.command = command
        self._feed = feed
        self._failure: BaseException | None = None
        self._deaf = False
        self._complaints: deque[bytes] = deque()
        self._stopping = threading.Event()

    def __enter__(self) -> Program:
        try:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise AlignerError(f"{self.command[0]} cannot be started: {error}") from error
        for pipe in (self._process.stdin, self._process.stdout):
            _widen(pipe)
        self._threads = [
            threading.Thread(target=target, name=f"agd-{name}", daemon=True)
            for name, target in (("feed", self._write), ("stderr", self._listen))
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def kill(self) -> None:
        """End the program at once."""
        # The whole group: some aligners are scripts that start the program proper.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        source = iter(self._feed)
        try:
            for data in source:
                if self._stopping.is_set():
                    break
                _write_all(pipe, data)
            pipe.close()
        except BrokenPipeError:
            self._deaf = True
            # It may be about to end with a message of its own; if it just hangs, it is stopped.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
            self.kill()
        except BaseException as error:
            self._failure = error
            self.kill()
        finally:
            close: Callable[[], None] | None = getattr(source, "close", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    close()
            with contextlib.suppress(OSError):
                pipe.close()

    def _listen(self) -> None:
        pipe = self._process.stderr
        assert pipe is not None
        kept = 0
        while data := os.read(pipe.fileno(), 65536):
            self._complaints.append(data)
            kept += len(data)
            while kept - len(self._complaints[0]) > TAIL:
                kept -= len(self._complaints.popleft())

    def blocks(self) -> Iterator[bytes]:
        """Standard output, in pieces; when it has ended, so has the program, and its exit code was 0.

        Raises
        ------
        AlignerError
            The program failed; with the end of what it wrote to standard error.
        """
        pipe = self._process.stdout
        assert pipe is not None
        # What is there, not a full block: the program may be waiting for nothing else than that this is taken.
        while data := os.read(pipe.fileno(), BLOCK):
            yield data
        code = self._process.wait()
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure
        if self._deaf and code in (0, -signal.SIGKILL):
            raise self.error("stopped reading before the end of the reads")
        if code:
            raise self.error(f"was stopped by signal {-code}" if code < 0 else f"ended with exit code {code}")

    def error(self, what: str) -> AlignerError:
        """An error with the end of what the program wrote to standard error."""
        text = b"".join(self._complaints)[-TAIL:].decode(errors="replace").strip()
        said = "its last words:\n" + "\n".join(f"    {line}" for line in text.splitlines()[-15:])
        return AlignerError(f"{os.path.basename(self.command[0])} {what}", said if text else "it gave no reason")


def _widen(pipe: IO[bytes] | None) -> None:
    """Give a pipe more room than the usual 64 KiB, so that the two sides wait for each other less often."""
    assert pipe is not None
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, BLOCK)


def _write_all(pipe: IO[bytes], data: Any) -> None:
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(pipe.fileno(), view) :]
