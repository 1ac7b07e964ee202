"""Rows handed from one thread to another: all of them, in order, and when."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from metering.spool_queue import GATHER_S, UNAWAITED_S, SpoolQueue


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
    started_s = time.monotonic()
    assert [row for row, _ in rows.take(10)] == ["progress", "closing"]
    assert time.monotonic() - started_s < UNAWAITED_S


def test_a_row_that_nobody_awaits_is_taken_a_moment_later():
    rows: SpoolQueue[str] = SpoolQueue()
    rows.put("progress", None)
    assert [row for row, _ in rows.take(10)] == ["progress"]
    assert rows.take(10) == []


def test_more_than_a_batch_is_left_for_the_next():
    rows: SpoolQueue[int] = SpoolQueue()
    for number in range(5):
        rows.put(number, ignore)
    assert [[row for row, _ in rows.take(2)] for _ in range(3)] == [[0, 1], [2, 3], [4]]


def test_rows_gather_once_many_come(monkeypatch):
    slept: list[float] = []
    clock_s = 0.0

    class Clock:
        def monotonic(self) -> float:
            return clock_s

        def sleep(self, seconds: float) -> None:
            slept.append(seconds)

    monkeypatch.setattr("metering.spool_queue.time", Clock())
    rows: SpoolQueue[int] = SpoolQueue()
    for millisecond in range(100):
        clock_s = millisecond / 1000
        for _ in range(3):
            rows.put(millisecond, ignore)
        rows.take(10)
    assert set(slept) == {GATHER_S}
    assert len(slept) > 50
    slept.clear()
    for millisecond in range(100, 400, 5):
        clock_s = millisecond / 1000
        rows.put(millisecond, ignore)
        rows.take(10)
    assert len(slept) < 10
