"""Every error that AGD raises on purpose.

An error says what is wrong, where (file, record, line, offset, chunk, column) and what to do about it.
"""

from __future__ import annotations

import os


class AgdError(Exception):
    """Base of all errors raised by AGD.

    Parameters
    ----------
    message : str
        What is wrong and where.
    remedy : str, optional
        What the user can do about it; printed on a line of its own.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # The constructors of subclasses differ; an error must still travel between processes.
        return (_rebuild, (type(self), self.__dict__.copy(), self.args))


def _rebuild(kind: type[AgdError], state: dict[str, object], args: tuple[object, ...]) -> AgdError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(AgdError):
    """The request itself cannot be carried out (exit code 2)."""


class KernelError(AgdError, ValueError):
    """A kernel met bad input.

    Parameters
    ----------
    reason : str
        What is wrong.
    record : int
        0-based record within the arrays given to the kernel, or -1.
    offset : int
        0-based byte offset within the buffer given to the kernel, or -1.
    """

    def __init__(self, reason: str, record: int = -1, offset: int = -1) -> None:
        where = "".join(f", {k} {v}" for k, v in (("record", record), ("offset", offset)) if v >= 0)
        super().__init__(reason + where)
        self.reason = reason
        self.record = record
        self.offset = offset


class InputError(AgdError):
    """An input file (FASTQ, SAM, BAM, …) is damaged or not what it should be.

    Parameters
    ----------
    path : str
        The file.
    reason : str
        What is wrong.
    record, line, offset : int, optional
        1-based record and line, 0-based byte offset; left out when unknown.
    """

    def __init__(
        self, path: str | os.PathLike[str], reason: str, *, record: int = -1, line: int = -1, offset: int = -1,
        remedy: str = "",
    ) -> None:
        places = (("record", record), ("line", line), ("offset", offset))
        where = "".join(f", {k} {v:,}" for k, v in places if v >= 0)
        super().__init__(f"{os.fspath(path)}{where}: {reason}", remedy)
        self.path = os.fspath(path)
        self.reason = reason
        self.record = record
        self.line = line
        self.offset = offset


class InputUnreachableError(InputError):
    """An input cannot be had for now (a lost network, refused credentials, a failing disk); it may be sound.

    The same command, run again, goes on with what is done.
    """


class FormatError(AgdError):
    """An AGD object (chunk file or manifest) is damaged or of another version.

    Parameters
    ----------
    where : str
        The object's url or key.
    field : str
        The field that is wrong, as named in the specification.
    reason : str
        What is wrong with it.
    """

    default_remedy = "run 'agd verify' on the dataset to see every damaged object and 'agd repair' to mend it"

    def __init__(self, where: str, field: str, reason: str, remedy: str | None = None) -> None:
        super().__init__(f"{where}: {field}: {reason}", self.default_remedy if remedy is None else remedy)
        self.where = where
        self.field = field
        self.reason = reason


class ChecksumError(FormatError):
    """Stored bytes do not give the checksum that was noted for them."""


class TruncatedError(FormatError):
    """An object is shorter (or longer) than it says it is."""


class VersionTooNewError(FormatError):
    """The object was written by a later version of the format."""

    default_remedy = "install a newer release of AGD"


class VersionTooOldError(FormatError):
    """The object was written by a version of the format that is no longer read."""

    default_remedy = "recompute the dataset, or convert it with a release of agd that still reads this version"


class CodecError(FormatError):
    """A payload cannot be decoded by the codec chain that is recorded for it."""


class UnknownCodecError(CodecError):
    """A codec chain names a codec that is not registered here."""

    default_remedy = "upgrade agd, or install the package that provides the codec"


class ReferenceNotFoundError(AgdError):
    """A reference sequence that the bases are stored against cannot be found; the other columns are readable."""


class DatasetNotFoundError(AgdError):
    """There is no dataset at this url."""


class DatasetExistsError(UsageError):
    """There is a dataset (or an unfinished one) at this url already."""


class ColumnError(UsageError):
    """A column is missing, or is there already, or is of another type than is asked for."""


class ConflictError(AgdError):
    """Another writer has committed a change that contradicts this one."""


class StorageError(AgdError):
    """A store refused or failed a request."""


class ObjectNotFoundError(StorageError):
    """An object is not in the store."""


class ObjectExistsError(StorageError):
    """An object that was to be created exclusively exists already."""


class AlignerError(AgdError):
    """An aligner is missing, crashed, or produced what cannot be understood."""


class VerificationError(AgdError):
    """Data are not what they are required to be (a digest, an order, a count)."""
