"""Rows handed from one thread to another: all of them, in order, and when."""

from __future__ import annotations

import queue
import sys
import threading

import pytest

from metering.spool_queue import ENOUGH_ROWS, GATHER_MAX_S, GATHER_S, UNAWAITED_S, SpoolQueue


def ignore(failure: Exception | None) -> None:
    pass


@pytest.fixture
def hasty():
    """Threads change places at nearly every instruction."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_no_row_is_lost_or_moved_however_the_threads_change_places(hasty):
    rows: SpoolQueue[int] = SpoolQueue()
    taken: list[int] = []

    def take_all() -> None:
        while True:
            closed = rows.closed
            batch = rows.take(1024)
            taken.extend(row for row, _ in batch)
            if closed and not batch:
                return

    taker = threading.Thread(target=take_all)
    taker.start()
    for number in range(100_000):
        rows.put(number, ignore if number % 3 else None)
    rows.close()
    taker.join()
    assert taken == list(range(100_000))


def test_a_row_that_comes_while_others_are_taken_is_taken_next():
    class Meanwhile(list):
        def __getitem__(self, key):
            found = super().__getitem__(key)
            if isinstance(key, slice) and len(self) == 1:
                self.append(("late", ignore))
            return found

    rows: SpoolQueue[str] = SpoolQueue()
    rows._rows = Meanwhile()
    rows.put("early", ignore)
    assert [[row for row, _ in rows.take(10)] for _ in range(2)] == [["early"], ["late"]]


def test_an_awaited_row_is_taken_at_once_and_takes_the_others_along():
    rows: SpoolQueue[str] = SpoolQueue()
    rows.put("progress", None)
    rows.put("closing", ignore)
    rows._wake = sleeps = Sleeps()
    assert [row for row, _ in rows.take(10)] == ["progress", "closing"]
    assert sleeps.seconds == []


def test_a_row_that_nobody_awaits_is_taken_a_moment_later():
    rows: SpoolQueue[str] = SpoolQueue()
    rows.put("progress", None)
    rows._wake = sleeps = Sleeps()
    assert [row for row, _ in rows.take(10)] == ["progress"]
    assert sleeps.seconds == [UNAWAITED_S]
    assert rows.take(10) == []


def test_more_than_a_batch_is_left_for_the_next():
    rows: SpoolQueue[int] = SpoolQueue()
    for number in range(5):
        rows.put(number, ignore)
    assert [[row for row, _ in rows.take(2)] for _ in range(3)] == [[0, 1], [2, 3], [4]]


class Sleeps:
    """In place of the queue that wakes the writer: how long it would have slept."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def get(self, timeout: float) -> None:
        self.seconds.append(timeout)
        raise queue.Empty

    def put(self, token: None) -> None:
        pass

    def empty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Milliseconds, moved by hand."""

    class Clock:
        milliseconds = 0

        def monotonic(self) -> float:
            return self.milliseconds / 1000

    found = Clock()
    monkeypatch.setattr("metering.spool_queue.time", found)
    return found


def busy(clock, rows_a_millisecond: int = 3) -> tuple[SpoolQueue[int], Sleeps]:
    """A queue through which so many awaited rows came for a tenth of a second."""
    rows: SpoolQueue[int] = SpoolQueue()
    rows._wake = sleeps = Sleeps()
    for clock.milliseconds in range(100):
        for _ in range(rows_a_millisecond):
            rows.put(clock.milliseconds, ignore)
        rows.take(100)
    return rows, sleeps


def test_rows_gather_once_many_come(clock):
    rows, sleeps = busy(clock)
    assert set(sleeps.seconds) == {GATHER_S}
    assert len(sleeps.seconds) > 50
    sleeps.seconds.clear()
    for clock.milliseconds in range(100, 400, 5):
        rows.put(clock.milliseconds, ignore)
        rows.take(10)
    assert len(sleeps.seconds) < 10


def test_rows_gather_for_as_long_as_the_loop_is_behind(clock):
    rows, sleeps = busy(clock)
    for told_after_s in (GATHER_S / 2, 0.007, 60.0):
        rows.told_after_s = told_after_s
        rows.put(0, ignore)
        rows.take(100)
    assert sleeps.seconds[-3:] == [GATHER_S, 0.007, GATHER_MAX_S]


def test_few_rows_gather_too_while_the_loop_is_behind_but_not_after_a_pause(clock):
    rows: SpoolQueue[int] = SpoolQueue()
    rows._wake = sleeps = Sleeps()
    rows.told_after_s = 0.007
    rows.put(0, ignore)
    rows.take(10)
    assert sleeps.seconds == [0.007]
    assert rows.take(10) == []
    rows.put(0, ignore)
    sleeps.seconds.clear()
    rows.take(10)
    assert sleeps.seconds == []


def test_so_many_that_an_fsync_pays_are_not_kept_waiting(clock):
    _, sleeps = busy(clock, rows_a_millisecond=ENOUGH_ROWS)
    assert sleeps.seconds == []


def test_the_writer_is_woken_while_it_gathers_once_there_are_enough(clock, monkeypatch):
    rows, _ = busy(clock)
    rows._wake = queue.SimpleQueue()
    monkeypatch.setattr("metering.spool_queue.GATHER_S", 60.0)
    rows.put(0, ignore)
    taken: list[tuple[int, object]] = []
    taker = threading.Thread(target=lambda: taken.extend(rows.take(100)))
    taker.start()
    for number in range(1, ENOUGH_ROWS):
        rows.put(number, ignore)
    taker.join(30)
    assert [row for row, _ in taken] == list(range(ENOUGH_ROWS))


def test_closing_ends_the_gathering(clock, monkeypatch):
    rows, _ = busy(clock)
    rows._wake = queue.SimpleQueue()
    monkeypatch.setattr("metering.spool_queue.GATHER_S", 60.0)
    rows.put(0, ignore)
    taken: list[tuple[int, object]] = []
    taker = threading.Thread(target=lambda: taken.extend(rows.take(100)))
    taker.start()
    rows.close()
    taker.join(30)
    assert [row for row, _ in taken] == [0]
