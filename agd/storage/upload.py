"""A large object of S3 from bytes that come one after the other: several parts under way at a time."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from agd.storage.failures import Retry

#: Bytes of a part.
PART_BYTES = 16 << 20

#: Parts that are under way at one time: with the one that is being filled, the memory of an upload.
PARTS_AHEAD = 4

#: S3 takes 10,000 parts: those after the first 5,000 (80 GiB) are larger, which allows for an object of 1.3 TiB.
_SMALL_PARTS, _LARGER = 5000, 16


class Upload:
    """An object in the making, invisible before :meth:`commit`. Used by one thread.

    Parameters
    ----------
    filesystem : s3fs.S3FileSystem
        Makes the requests; its own retries are off.
    path : str
        Bucket and key.
    retry : Retry, optional
    """

    def __init__(self, filesystem: Any, path: str, retry: Retry | None = None) -> None:
        self._filesystem = filesystem
        self._retry = retry or Retry()
        bucket, key, _ = filesystem.split_path(path)
        self._where = {"Bucket": bucket, "Key": key}
        self._buffer = bytearray()
        self._parts = 0
        self._id: str | None = None
        self._pool = ThreadPoolExecutor(PARTS_AHEAD, thread_name_prefix="agd-upload")
        self._live: deque[Future[str]] = deque()
        self._tags: list[str] = []

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._retry(lambda: self._filesystem.call_s3(method, **self._where, **arguments))

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes; waits when too many parts are under way, and raises what went wrong with one of them."""
        view = memoryview(data).cast("B")
        while len(view):
            wanted = PART_BYTES * (1 if self._parts < _SMALL_PARTS else _LARGER)
            taken = min(len(view), wanted - len(self._buffer))
            self._buffer += view[:taken]
            view = view[taken:]
            if len(self._buffer) == wanted:
                self._send()

    def _send(self) -> None:
        if self._id is None:
            self._id = self._call("create_multipart_upload")["UploadId"]
        while len(self._live) >= PARTS_AHEAD:
            self._tags.append(self._live.popleft().result())
        self._parts += 1
        number, body, upload = self._parts, self._buffer, self._id
        self._buffer = bytearray()

        def part() -> str:
            return str(self._call("upload_part", PartNumber=number, UploadId=upload, Body=bytes(body))["ETag"])

        self._live.append(self._pool.submit(part))

    def commit(self) -> None:
        """Make the object visible, in place of what was there."""
        if self._id is None:
            body = bytes(self._buffer)
            self._call("put_object", Body=body)
        else:
            if self._buffer:
                self._send()
            while self._live:
                self._tags.append(self._live.popleft().result())
            self._complete([{"PartNumber": i, "ETag": tag} for i, tag in enumerate(self._tags, 1)])
        self._pool.shutdown()

    def _complete(self, parts: list[dict[str, Any]]) -> None:
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            self._filesystem.call_s3(
                "complete_multipart_upload", **self._where, UploadId=self._id, MultipartUpload={"Parts": parts}
            )

        try:
            self._retry(attempt)
        except FileNotFoundError:
            # An upload that is not there any more may be one whose completion was done and the answer lost.
            if attempts == 1 or not str(self._call("head_object")["ETag"]).strip('"').endswith(f"-{len(parts)}"):
                raise

    def abort(self) -> None:
        """Leave nothing behind, as far as the store can be reached: what is left then is never visible."""
        while self._live:
            future = self._live.popleft()
            future.cancel()
        self._pool.shutdown()
        self._buffer = bytearray()
        if self._id is not None:
            with contextlib.suppress(Exception):
                self._filesystem.call_s3("abort_multipart_upload", **self._where, UploadId=self._id)
