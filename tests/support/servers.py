"""Servers on the loopback device whose answers can be spoilt on purpose."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

#: What is done to a request: "refuse" answers with a status; "lose" does what is asked and then answers with a status;
#: "cut" sends half of the body; "unconditional" overlooks If-None-Match; "hang" does not answer.
Kind = Literal["refuse", "lose", "cut", "unconditional", "hang"]


@dataclass(frozen=True)
class Spoil:
    """How to spoil a request."""

    kind: Kind
    status: str = "503 Service Unavailable"
    code: str = "SlowDown"


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    query: str

    @property
    def is_listing(self) -> bool:
        """Whether it lists a bucket."""
        return self.method == "GET" and "/" not in self.path.strip("/") and "uploads" not in self.query


@dataclass
class S3Server:
    """An S3 server (moto) that notes what it is asked; ``rule`` may spoil a request."""

    endpoint: str = ""
    rule: Callable[[Request], Spoil | None] = lambda request: None
    log: list[Request] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def first(self, method: str, spoil: Spoil, times: int = 1, key: str = "") -> None:
        """Spoil the first requests of a kind about a key."""
        left = [times]

        def rule(request: Request) -> Spoil | None:
            if request.method != method or not request.path.endswith(key) or left[0] == 0:
                return None
            left[0] -= 1
            return spoil

        self.rule = rule

    def asked(self, method: str, key: str = "") -> int:
        """How many requests of a kind there were about a key."""
        return sum(request.method == method and request.path.endswith(key) for request in self.log)

    def wrap(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """The application with notes and spoils."""

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            request = Request(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("QUERY_STRING", ""))
            self.log.append(request)
            spoil = self.rule(request)
            if spoil is None:
                return app(environ, start)
            if spoil.kind == "unconditional":
                environ.pop("HTTP_IF_NONE_MATCH", None)
                return app(environ, start)
            if spoil.kind == "cut":
                body = b"".join(app(environ, start))
                return [body[: len(body) // 2]]
            if spoil.kind == "hang":
                self.ended.wait(60)
            elif spoil.kind == "lose":
                list(app(environ, lambda *_: None))
            else:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = f"<Error><Code>{spoil.code}</Code><Message>on purpose</Message></Error>".encode()
            start(spoil.status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [] if request.method == "HEAD" else [body]

        return answer


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running S3 server."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: object) -> None:
            pass

    server = S3Server()
    running = make_server(
        "127.0.0.1", 0, server.wrap(DomainDispatcherApplication(create_backend_app)), threaded=True,
        request_handler=Quiet,
    )  # fmt: skip
    server.endpoint = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        running.shutdown()
        thread.join()


class _Files(SimpleHTTPRequestHandler):
    """Files of a folder; ranges where ``ranges`` says so."""

    def __init__(self, *args: Any, ranges: bool, statuses: dict[str, int], **kwargs: Any) -> None:
        self.ranges, self.statuses = ranges, statuses
        super().__init__(*args, **kwargs)

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        path = Path(self.translate_path(self.path))
        status = self.statuses.get(path.name, 200 if path.is_file() else 404)
        if status != 200:
            self.send_error(status)
            return
        data, wanted = path.read_bytes(), self.headers.get("Range", "")
        total = len(data)
        if self.ranges and wanted.startswith("bytes="):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else total, total)
            data = data[start:stop]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{total}")
        else:
            self.send_response(200)
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


@contextlib.contextmanager
def http_server(folder: Path, *, ranges: bool = True, statuses: dict[str, int] | None = None) -> Iterator[str]:
    """Url of a server of the files in a folder, some of which are answered with another status."""
    handler = partial(_Files, directory=str(folder), ranges=ranges, statuses=statuses or {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
