"""For tests of what is built on AGD: stores that fail or are slow on purpose, and contents to compare by.

>>> from agd.testing import FaultyStorage, fail_at, wrapped
>>> with wrapped(lambda storage: FaultyStorage(storage, fail_at(3, OSError("lost")))):
...     pass  # every dataset that is opened here loses its third request
"""

from agd.testing.content import content_digest
from agd.testing.faults import Fault, FaultyStorage, Rule, fail_at, kill_at
from agd.testing.latency import LatencyStorage
from agd.testing.pickling import PicklingRunner
from agd.testing.wrapped import wrapped

__all__ = [
    "Fault", "FaultyStorage", "LatencyStorage", "PicklingRunner", "Rule", "content_digest", "fail_at", "kill_at",
    "wrapped",
]  # fmt: skip
