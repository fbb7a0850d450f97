"""The law of ``map``, for every runner; the bound on memory; sizes as people write them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agd.errors import UsageError
from agd.processors import threads_here
from agd.run import Runner, SerialRunner, ThreadRunner, available_cpus, items_in_flight
from agd.run.memory import BASE, available_memory, default_memory
from agd.run.runner import Stage
from agd.units import format_size, parse_size

#: Nothing here takes this long unless it hangs.
PATIENCE = 60

STAGES: tuple[Stage, ...] = ("cpu", "io")


@pytest.fixture(params=["serial", "1 thread", "2 threads", "5 threads"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    if request.param == "serial":
        made: Runner = SerialRunner()
    else:
        made = ThreadRunner(int(request.param[0]), io_workers=3)
    yield made
    made.close()


@pytest.fixture
def threads() -> Iterator[ThreadRunner]:
    with ThreadRunner(2, io_workers=3) as made:
        yield made


class Failure(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("on", STAGES)
@pytest.mark.parametrize("ahead", [None, 1, 2, 7, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_map_is_the_builtin_map(runner: Runner, on: Stage, ahead: int | None, count: int) -> None:
    assert list(runner.map(hex, range(count), on=on, ahead=ahead)) == list(map(hex, range(count)))


@pytest.mark.parametrize("on", STAGES)
def test_unordered_gives_the_same_results(runner: Runner, on: Stage) -> None:
    assert sorted(runner.map(str, range(100), on=on, ordered=False)) == sorted(map(str, range(100)))


def test_a_runner_is_a_runner(runner: Runner) -> None:
    assert isinstance(runner, Runner)
    assert runner.workers >= 1


def test_order_does_not_depend_on_who_is_finished_first(threads: ThreadRunner) -> None:
    second_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(PATIENCE)
        else:
            second_done.set()
        return item

    assert list(threads.map(work, range(4))) == [0, 1, 2, 3]


def test_unordered_hands_out_what_is_finished(threads: ThreadRunner) -> None:
    release = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert release.wait(PATIENCE)
        return item

    results = threads.map(work, range(2), ordered=False)
    assert next(results) == 1
    release.set()
    assert list(results) == [0]


@pytest.mark.parametrize("ahead", [1, 2, 3, 8])
@pytest.mark.parametrize("ordered", [True, False])
def test_items_are_taken_and_kept_within_the_bound(runner: Runner, ahead: int, ordered: bool) -> None:
    lock = threading.Lock()
    begun = handed_out = most = 0

    def source() -> Iterator[int]:
        nonlocal begun, most
        for i in range(40):
            with lock:
                begun += 1
                most = max(most, begun - handed_out)
            yield i

    for _ in runner.map(lambda x: x, source(), ahead=ahead, ordered=ordered):
        handed_out += 1
    assert handed_out == 40
    assert 1 <= most <= ahead


def test_items_do_run_at_the_same_time() -> None:
    with ThreadRunner(3) as runner:
        together = threading.Barrier(3)
        assert len(list(runner.map(lambda _: together.wait(PATIENCE), range(3)))) == 3


def test_no_more_items_run_at_the_same_time_than_there_are_workers() -> None:
    lock = threading.Lock()
    running = most = 0

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        for _ in range(100):
            with lock:
                pass
        with lock:
            running -= 1

    with ThreadRunner(2, io_workers=3) as runner:
        list(runner.map(work, range(200), ahead=50))
        assert most <= 2
        list(runner.map(work, range(200), ahead=50, on="io"))
        assert most <= 3


def test_reading_is_lazy(runner: Runner) -> None:
    results = runner.map(lambda x: x + 1, itertools.count(), ahead=2)
    assert list(itertools.islice(results, 5)) == [1, 2, 3, 4, 5]
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("ordered", [True, False])
def test_the_first_error_surfaces_and_stops_the_rest(runner: Runner, ordered: bool) -> None:
    done: list[int] = []

    def work(item: int) -> int:
        if item == 5:
            raise Failure(f"item {item}")
        done.append(item)
        return item

    with pytest.raises(Failure, match="item 5"):
        for _ in runner.map(work, range(1000), ahead=4, ordered=ordered):
            pass
    assert len(done) <= 5 + 4
    assert list(runner.map(str, range(3))) == ["0", "1", "2"], "the runner is of use afterwards"


def test_results_before_an_error_are_handed_out(runner: Runner) -> None:
    def work(item: int) -> int:
        if item == 5:
            raise Failure
        return item

    got: list[int] = []
    with pytest.raises(Failure):
        got.extend(runner.map(work, range(10), ahead=3))
    assert got == [0, 1, 2, 3, 4]


def test_an_error_of_the_source_surfaces(runner: Runner) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise Failure("source")

    with pytest.raises(Failure, match="source"):
        list(runner.map(str, source()))


def test_when_an_error_surfaces_nothing_runs_any_more(threads: ThreadRunner) -> None:
    lock = threading.Lock()
    running, begun = 0, threading.Barrier(2)

    def work(item: int) -> None:
        nonlocal running
        with lock:
            running += 1
        begun.wait(PATIENCE)
        try:
            if item == 0:
                raise Failure
            for _ in range(1000):
                with lock:
                    pass
        finally:
            with lock:
                running -= 1

    with pytest.raises(Failure):
        list(threads.map(work, range(2)))
    assert running == 0


class Source:
    """An iterator that knows whether it was closed."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = False

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> int:
        self.given += 1
        return self.given

    def close(self) -> None:
        self.closed = True


def test_closing_stops(runner: Runner) -> None:
    source = Source()
    results: Any = runner.map(str, source, ahead=3)
    assert next(results) == "1"
    results.close()
    assert source.closed
    assert source.given <= 4
    assert list(results) == []


def test_an_error_closes_the_source(runner: Runner) -> None:
    def fail(_: int) -> None:
        raise Failure

    source = Source()
    with pytest.raises(Failure):
        list(runner.map(fail, source, ahead=2))
    assert source.closed


def test_closing_reaches_through_stages(runner: Runner) -> None:
    source = Source()
    results: Any = runner.map(str, runner.map(abs, source, on="io", ahead=2), ahead=2)
    assert next(results) == "1"
    results.close()
    assert source.closed
    assert source.given <= 1 + 2 + 2


@pytest.mark.parametrize("stages", list(itertools.product(STAGES, repeat=4)))
def test_maps_within_maps_do_not_wait_for_each_other(stages: tuple[Stage, ...]) -> None:
    """Run on a thread of its own, so that a deadlock is a failure and not a test run that never ends."""

    def nested(depth: int) -> int:
        if depth == len(stages):
            return 1
        return sum(runner.map(lambda _: nested(depth + 1), range(3), on=stages[depth]))

    runner = ThreadRunner(1, io_workers=1)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(nested(0)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert found == [3**4], f"deadlock of {stages}"
    runner.close()


@pytest.mark.parametrize(("outer", "inner"), list(itertools.product(STAGES, repeat=2)))
def test_items_may_be_maps(runner: Runner, outer: Stage, inner: Stage) -> None:
    """Maps that were made outside, and are run by an item; on a thread of its own, as above."""
    found: list[list[list[str]]] = []

    def all_of_all() -> None:
        maps = [runner.map(str, range(3), on=inner) for _ in range(7)]
        found.append(list(runner.map(list, maps, on=outer)))

    thread = threading.Thread(target=all_of_all, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert found == [[["0", "1", "2"]] * 7], "deadlock"


def test_two_callers_may_share_a_runner(threads: ThreadRunner) -> None:
    found: dict[int, list[int]] = {}

    def caller(number: int) -> None:
        found[number] = list(threads.map(lambda x: x * number, range(50)))

    callers = [threading.Thread(target=caller, args=(n,)) for n in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(PATIENCE)
    assert found == {n: [x * n for x in range(50)] for n in range(4)}


def test_a_closed_runner_says_so() -> None:
    runner = ThreadRunner(1)
    assert list(runner.map(str, range(2))) == ["0", "1"]
    runner.close()
    with pytest.raises(RuntimeError):
        list(runner.map(str, range(2)))


@pytest.mark.parametrize("workers", [1, 2, 6])
def test_items_share_the_processors_of_their_runner(workers: int) -> None:
    together = threading.Barrier(workers)

    def among_others(_: int) -> int:
        together.wait(PATIENCE)
        found = threads_here()
        together.wait(PATIENCE)
        return found

    with ThreadRunner(workers) as runner:
        assert list(runner.map(lambda _: threads_here(), range(5), ahead=1)) == [workers] * 5
        assert list(runner.map(among_others, range(workers))) == [1] * workers
        assert list(runner.map(lambda _: next(runner.map(lambda _: threads_here(), [0])), [0])) == [workers]
    assert threads_here() == available_cpus()


def test_cpus_and_memory_are_sane() -> None:
    assert 1 <= available_cpus() <= 4096
    assert 0 < default_memory() < available_memory()


# Sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1", 1), ("512", 512), ("512B", 512), ("1k", 1024), ("1K", 1024), ("1KB", 1024), ("1KiB", 1024),
        ("512M", 512 << 20), ("4G", 4 << 30), ("4g", 4 << 30), ("4GB", 4 << 30), ("1.5GiB", 3 << 29), ("2T", 2 << 40),
        (" 3 M ", 3 << 20), ("0.5K", 512),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1P", "1,5G", "1e3", "12BB", "1iB", "4 G G", "1.M", ".5M", "٣"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size") as caught:
        parse_size(text)
    assert "512M" in caught.value.remedy


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (1023 * 1024, "1023 KiB"),
        (1024 * 1024 - 1, "1 MiB"), (1000 << 20, "1000 MiB"), (123_456_789, "118 MiB"), (1 << 40, "1 TiB"),
        (5000 << 40, "5000 TiB"),
    ],
)  # fmt: skip
def test_sizes_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 1 << 60))
def test_sizes_for_people_can_be_read_back(size: int) -> None:
    text = format_size(size)
    assert "e" not in text
    assert parse_size(text) == pytest.approx(size, rel=0.006)


def test_items_in_flight() -> None:
    assert items_in_flight(BASE + 10, 1, 100) == 10
    assert items_in_flight(BASE + 10, 1, 2) == 6, "never more than three for each worker"
    assert items_in_flight(BASE + 10, 1, 2, fixed=9) == 1
    assert items_in_flight(BASE + 10, 0, 1) == 3


def test_too_little_memory_says_how_much_would_do() -> None:
    with pytest.raises(UsageError, match="too little") as caught:
        items_in_flight(100 << 20, 50 << 20, 2, fixed=10 << 20)
    need = int("".join(filter(str.isdigit, caught.value.remedy)))
    assert items_in_flight(need << 20, 50 << 20, 2, fixed=10 << 20) == 1
    with pytest.raises(UsageError):
        items_in_flight((need - 1) << 20, 50 << 20, 2, fixed=10 << 20)
