"""Errors say what, where and the remedy, and travel between processes."""

from __future__ import annotations

import inspect
import pickle

import pytest

from agd import errors
from agd.errors import AgdError, ChecksumError, FormatError, InputError, KernelError, UsageError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, AgdError)]


def make(kind: type[AgdError]) -> AgdError:
    if issubclass(kind, FormatError):
        return kind("s3://b/x.bases", "payload", "is damaged")
    if issubclass(kind, InputError):
        return kind("x.fastq", "no quality line", record=1200, line=4800, offset=0, remedy="fetch the file again")
    if issubclass(kind, KernelError):
        return kind("bad base", 3, 17)
    return kind("what is wrong, and where", "what to do")


@pytest.mark.parametrize("kind", ALL)
def test_errors_travel(kind: type[AgdError]) -> None:
    error = make(kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__
    assert again.args == error.args


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_description(kind: type[AgdError]) -> None:
    assert kind.__doc__


def test_the_remedy_stands_on_a_line_of_its_own() -> None:
    assert str(UsageError("no such column", "see 'agd info'")) == "no such column\n  remedy: see 'agd info'"
    assert str(UsageError("no such column")) == "no such column"


def test_places_are_named() -> None:
    assert str(InputError("x.fq", "bad", record=1200, line=4800)) == "x.fq, record 1,200, line 4,800: bad"
    assert str(InputError("x.fq", "bad", offset=0)) == "x.fq, offset 0: bad"
    assert str(InputError("x.fq", "bad")) == "x.fq: bad"
    assert str(KernelError("bad", 3, 17)) == "bad, record 3, offset 17"
    assert str(KernelError("bad")) == "bad"


def test_a_damaged_object_names_itself_and_the_remedy() -> None:
    error = ChecksumError("s3://b/x.bases", "payload", "is wrong")
    assert str(error).startswith("s3://b/x.bases: payload: is wrong\n  remedy: run 'agd verify'")
    assert ChecksumError("x", "y", "z", "").remedy == ""
