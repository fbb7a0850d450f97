"""Memory that is used again."""

from __future__ import annotations

import gc
import mmap
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from agd import clib
from agd.kernels import memory as arrays
from agd.kernels.memory import Pool
from agd.run import Runner, SerialRunner, ThreadRunner
from agd.run.memory import give_back


def address(array: np.ndarray) -> int:  # type: ignore[type-arg]
    return int(array.__array_interface__["data"][0])


def test_what_is_gone_is_used_again() -> None:
    pool = Pool(smallest=100, kept=10_000)
    array = pool.empty(1000)
    array[:] = 7
    place = address(array)
    assert array.flags.writeable
    assert array.flags.c_contiguous
    del array
    assert address(pool.empty(990)) == place
    assert len(pool.empty(0)) == 0
    assert pool.empty(99).base is None  # so few are not worth it


def test_views_keep_what_they_are_of() -> None:
    pool = Pool(smallest=100, kept=10_000)
    array = pool.empty(1000)
    array[:] = np.arange(1000) % 251
    views = [array[10:500][5:], array.view(np.int64)[3:7], memoryview(array)[4:], np.asarray(memoryview(array))[9:]]
    kept = [bytes(view) for view in views]
    place = address(array)
    del array
    others = []
    while views:
        other = pool.empty(1000)
        assert address(other) != place
        other[:] = 0xEE
        others.append(other)
        assert [bytes(view) for view in views] == kept
        views.pop()
        kept.pop()
    assert address(pool.empty(1000)) == place


def test_no_more_is_kept_than_may_be() -> None:
    pool = Pool(smallest=1, kept=3000)
    arrays = [pool.empty(900) for _ in range(10)]
    places = {address(array) for array in arrays}
    assert len(places) == 10
    arrays.clear()
    assert sum(map(len, pool._free)) == pool._kept <= 3000
    assert not pool._lent
    again = [pool.empty(900) for _ in range(3)]
    assert {address(array) for array in again} <= places
    assert pool._kept == 0
    del again
    pool.clear()
    assert pool._kept == 0 == len(pool._free)


def test_how_much_is_kept_can_be_chosen() -> None:
    pool = Pool(smallest=1, kept=0)
    pool.empty(900)
    assert pool._kept == 0
    pool.keep(2000)
    arrays = [pool.empty(900) for _ in range(3)]
    arrays.clear()
    assert 0 < pool._kept <= 2000


def test_arrays_of_other_sizes_are_let_be() -> None:
    pool = Pool(smallest=1, kept=100_000)
    large = address(pool.empty(5000))
    assert address(pool.empty(100)) != large
    assert address(pool.empty(6000)) != large
    assert address(pool.empty(4900)) == large


def test_arrays_that_leave_the_process_are_copies() -> None:
    pool = Pool(smallest=1, kept=10_000)
    array = pool.empty(300)
    array[:] = 3
    copy = pickle.loads(pickle.dumps(array))
    del array
    pool.empty(300)[:] = 9
    assert (copy == 3).all()


class Interrupted(list):  # type: ignore[type-arg]
    """A list of blocks in the middle of whose search an array goes, as one that the collector of garbage finds."""

    def __init__(self, blocks: list[Any], held: list[Any]) -> None:
        super().__init__(blocks)
        self.held = held

    def __iter__(self) -> Iterator[Any]:
        for block in super().__iter__():
            self.held.clear()
            yield block


def test_arrays_that_go_while_one_is_looked_for() -> None:
    pool = Pool(smallest=1, kept=3200)
    held = [pool.empty(2000)]
    arrays = [pool.empty(size) for size in (150, 450, 1800)]
    large = address(arrays[-1])
    del arrays[:]
    pool._free = Interrupted(pool._free, held)
    found = pool.empty(1700)
    assert address(found) == large
    assert not held
    assert sum(map(len, pool._free)) == pool._kept
    del found
    assert sum(map(len, pool._free)) == pool._kept <= 3200
    assert not pool._lent
    assert not pool._back


def test_threads_are_never_given_the_same() -> None:
    pool = Pool(smallest=1, kept=100_000)

    def run(value: int) -> bool:
        good = True
        for i in range(300):
            held = [pool.empty(500 + (value * 37 + i * 11 + k) % 400) for k in range(3)]
            for k, array in enumerate(held):
                array[:] = 3 * value + k
            good &= all((array == 3 * value + k).all() for k, array in enumerate(held))
        return good

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(run, range(16)))
    gc.collect()
    assert not pool._lent


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may keep what pages hold")
def test_whole_pages_are_given_back_and_nothing_beside_them() -> None:
    page = mmap.PAGESIZE
    array = np.full(5 * page, 7, np.uint8)
    start = -address(array) % page  # of the first whole page
    clib.discard(address(array) + start + 1, 3 * page)
    expected = np.full(5 * page, 7, np.uint8)
    expected[start + page : start + 3 * page] = 0
    np.testing.assert_array_equal(array, expected)
    clib.discard(address(array) + start + 1, page - 2)
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("runner", [SerialRunner(), ThreadRunner(2)])
def test_all_that_is_kept_is_given_back(monkeypatch: pytest.MonkeyPatch, runner: Runner) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(clib, "discard", lambda start, size: given.append((start, size)))
    arrays.release()
    held = [arrays.empty(arrays.SMALLEST + i) for i in range(3)]
    places = {address(array) for array in held}
    del held
    give_back(runner)
    assert {start for start, _ in given} == places
    assert all(size >= arrays.SMALLEST for _, size in given)
    assert arrays.release() == []
