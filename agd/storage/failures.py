"""Failed requests to remote stores: which are worth another try, what the others mean, and what to do about them."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


def _status(*numbers: str) -> str:
    """Pattern of a status in the text of an error: not of a number in a url, of a port or of a duration ("416.2µs")."""
    return rf"(?<![\w./:+-])(?:{'|'.join(numbers)})(?![\w/:&+-]|\.\w)"


#: Requests that fail for a passing reason are tried this many times in all, over about 20 seconds.
ATTEMPTS = 8

#: Longest pause between two attempts, in seconds.
LONGEST_PAUSE = 8.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Tries requests again that fail for a passing reason; the clients below do not, so that every attempt is seen.

    Attributes
    ----------
    attempts : int
        In all.
    sleep : callable
        How to wait, given seconds; a test may count instead.
    draw : callable
        A random number of 0 to 1: pauses double from 0.2 s, times 0.5 to 1.5, so that workers that were refused
        together do not come back together.
    """

    attempts: int = ATTEMPTS
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random

    def __call__(self, request: Callable[[], T]) -> T:
        """The answer to a request; its last error if it cannot be had."""
        for attempt in range(1, self.attempts):
            try:
                return request()
            except Exception as error:
                if not is_transient(error):
                    raise
            self.sleep(min(LONGEST_PAUSE, 0.1 * 2**attempt) * (0.5 + self.draw()))
        return request()


def is_transient(error: BaseException) -> bool:
    """Whether a failed request may succeed when it is simply made again."""
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    if isinstance(error, (FileNotFoundError, FileExistsError, PermissionError)):
        return False
    return re.search(_TRANSIENT, _text(error)) is not None


# Patterns are compiled when they are first needed: few runs see a failure, and it takes a tenth of the time of a start.
_TRANSIENT = (
    r"Timeout|timed out|Connection|EndOfStream|Incomplete|PayloadError|SlowDown|InternalError|ServiceUnavailable"
    # Ceph says the first of these of an object that is replaced while it is read.
    r"|UnknownError|ServerDisconnected|ClientOSError|HttpError|error sending request|decoding response body"
    r"|TooManyRequests|ConditionalRequestConflict|" + _status("429", "50[0234]")
)


def is_refused_create(error: BaseException) -> bool:
    """Whether a store says that an object which was to be created is there already.

    Ceph answers a lost race without the Condition field by which s3fs knows it, and s3fs turns that into EINVAL.
    """
    return isinstance(error, FileExistsError) or "PreconditionFailed" in _text(error) or "(412)" in _text(error)


def is_refused_condition(error: BaseException) -> bool:
    """Whether a store, or what speaks to it, says that it knows no exclusive creation."""
    if is_transient(error) or isinstance(error, PermissionError):
        return False
    if isinstance(error, (NotImplementedError, TypeError, ValueError)):
        return True
    return re.search(_UNKNOWN, _text(error)) is not None


_UNKNOWN = (
    r"NotImplemented|not implemented|[Nn]ot supported|[Uu]nsupported|InvalidArgument|InvalidRequest|BadRequest"
    r"|MethodNotAllowed|" + _status("400", "405", "501")
)


def is_beyond_end(error: BaseException) -> bool:
    """Whether a store refuses a range because it begins at or after the end of the object."""
    return re.search(_BEYOND_END, _text(error)) is not None


_BEYOND_END = r"InvalidRange|[Rr]ange (?:is )?[Nn]ot [Ss]atisfiable|" + _status("416")


def explain(error: BaseException) -> tuple[str, str]:
    """What a failure means and the remedy, for people."""
    text = _text(error)
    detail = f"{type(error).__name__}: {str(error).split(chr(10))[0]:.300}".rstrip(": ")
    for pattern, reason, remedy in _MEANINGS:
        if re.search(pattern, text):
            return f"{reason} ({detail})", remedy
    return detail, "check the network, the endpoint and the credentials, then run the same command again"


def _text(error: BaseException) -> str:
    # What a client library makes of an answer is often less than what the server said: that is the cause.
    texts = [f"{type(error).__name__}: {error}"]
    if error.__cause__ is not None:
        texts.append(f"{type(error.__cause__).__name__}: {error.__cause__}")
    return " | ".join(texts)


_CREDENTIALS = "give others: AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN)"

#: Pattern, meaning, remedy: the first that is found in the text of an error.
_MEANINGS = (
    ("NoCredentials|NoAuthProvider|locate credentials|PartialCredentials", "there are no credentials",
     "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket --storage-option anon=true"),
    ("Invalid endpoint|not a valid URI", "the endpoint is not a url", "begin it with http:// or https://"),
    ("unexpected keyword", "an option is not known to this store",
     "check --storage-option, the options of the call, and fsspec's configuration (FSSPEC_S3, ~/.config/fsspec)"),
    ("ProfileNotFound", "there is no such profile", "check AWS_PROFILE and the file ~/.aws/config"),
    ("RequestTimeTooSkewed", "the clock of this machine differs from that of the server", "set the clock"),
    ("SignatureDoesNotMatch|InvalidAccessKeyId|ExpiredToken|InvalidToken|Unauthenticated",
     "the credentials are refused", _CREDENTIALS),
    ("NoSuchBucket|bucket does not exist", "there is no such bucket",
     "check the bucket in the url and the endpoint, or make the bucket first"),
    ("Redirect|AuthorizationHeaderMalformed|LocationConstraint|Moved Permanently",
     "the bucket is in another region or at another endpoint", "set AWS_DEFAULT_REGION to the region of the bucket"),
    ("PermissionError|AccessDenied|Forbidden|PermissionDenied|" + _status("401", "403"), "access denied",
     "check the credentials and the policy of the bucket"),
    ("FileNotFoundError|" + _status("404"), "not found", "check the url"),
    ("NotImplementedError|ReadOnly|read-only", "this store cannot be written to",
     "write to a local path or to an object store such as s3://"),
    ("SlowDown|TooManyRequests|" + _status("429"), "the server asks for fewer requests",
     "run the same command again, with fewer --threads"),
    ("Timeout|timed out|kind: Timeout", "no answer in time",
     "check the endpoint and the network, or wait longer for a slow server (AGD_TIMEOUT, in seconds; default 60), then "
     "run the same command again"),
    ("ertificate|SSL", "the certificate of the server is not trusted",
     "set AWS_CA_BUNDLE to the file of the authority that signed it"),
    ("Incomplete|PayloadError|decoding response body|EndOfStream", "the answer was cut short",
     "check the network, then run the same command again"),
    ("Connect|error sending request|resolve", "no connection",
     "check the endpoint (--storage-option endpoint_url=URL, or AWS_ENDPOINT_URL) and the network, then run the same "
     "command again"),
)  # fmt: skip
