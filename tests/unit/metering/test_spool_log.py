"""The log's segments: begun, sealed, read back, removed; and on a disk that fails."""

from __future__ import annotations

import errno

import pytest
from books import closed, opened
from memory_folder import MemoryFolder, Moment
from spooled import (
    BATCHES,
    PATH,
    ROWS,
    SEGMENT_BYTES,
    everything,
    folded,
    many_segments,
    only,
    open_log,
    written,
)

from metering import spool_log
from metering.charge import Row
from metering.spool_file import SpoolError
from metering.spool_log import SpoolLog
from metering.spool_segment import FILLED_BYTES, SegmentWriter


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    monkeypatch.setattr(spool_log, "SEGMENT_BYTES", SEGMENT_BYTES)


def test_a_full_segment_is_followed_by_another():
    folder = MemoryFolder()
    log = open_log(folder)
    rows = []
    while len(folder.files) < 5:
        rows.append([opened(f"c{len(rows)}")])
        log.append(rows[-1])
    assert all(len(content.memory) <= 2 * SEGMENT_BYTES for content in folder.files.values())
    assert everything(log) == [row for batch in rows for row in batch]
    assert everything(open_log(folder)) == [row for batch in rows for row in batch]


def test_a_batch_larger_than_a_segment_gets_one_of_its_own():
    folder = MemoryFolder()
    log = open_log(folder)
    large = [opened(f"c{i}") for i in range(100)]
    for batch in ([opened("before")], large, [opened("after")]):
        log.append(batch)
    assert everything(open_log(folder)) == [opened("before"), *large, opened("after")]


def test_forgetting_at_any_row_and_starting_again_keeps_all_after_it():
    reference = open_log(many_segments(MemoryFolder()))
    rows = everything(reference)
    removed = set()
    for upto in range(len(rows) + 1):
        folder = many_segments(MemoryFolder())
        log = open_log(folder)
        log.forget(upto)
        for found in (log, open_log(folder)):
            forgotten = found.forgotten_seq
            removed.add(forgotten)
            assert forgotten <= upto
            assert found.last_seq == len(rows)
            assert found.read(upto, 10**6) == rows[upto:]
            for seq in (forgotten, upto, len(rows)):
                assert found.open_charges(seq).rows() == folded(rows[:seq])
    assert len(removed) > 4
    assert max(removed) == len(rows)


def test_the_disk_holds_little_more_than_the_ledger_lacks():
    folder = MemoryFolder()
    log = open_log(folder)
    for i in range(2000):
        log.append([opened(f"c{i}"), closed(f"c{i}")])
        log.forget(log.last_seq - 5)
        assert sum(len(content.memory) for content in folder.files.values()) < 4 * SEGMENT_BYTES
    assert log.last_seq == 4000


def test_what_stays_for_a_restored_ledger_has_a_bound():
    folder, most = MemoryFolder(), 3
    log = SpoolLog(folder, PATH, "gateway", 3600.0, most)
    files = set()
    for i in range(500):
        log.append([opened(f"c{i}"), closed(f"c{i}")])
        log.forget(log.last_seq)
        files.add(len(folder.files))
    assert files == set(range(1, most + 2))
    kept = log.read(log.forgotten_seq, 10**6)
    assert len(kept) == log.last_seq - log.forgotten_seq > 20


def test_an_orderly_end_with_all_in_the_ledger_leaves_a_header():
    folder = many_segments(MemoryFolder())
    log = open_log(folder)
    log.append([opened("last")])
    last_seq = log.last_seq
    still_open = log.open_charges(last_seq).rows()
    log.seal()
    log.forget(last_seq)
    log.close()
    content = only(folder)
    again = open_log(folder)
    assert len(content.memory) < SEGMENT_BYTES + 100 * len(still_open)
    assert again.last_seq == again.forgotten_seq == last_seq
    assert again.open_charges(last_seq).rows() == still_open


def test_starting_over_and_over_makes_no_heap_of_files():
    folder = written(*BATCHES)
    for _ in range(10):
        open_log(folder)
    assert len(folder.files) == 2


def test_reading_goes_on_where_it_was_and_anywhere_else():
    folder = many_segments(MemoryFolder())
    log = open_log(folder)
    rows = everything(log)
    for step in (1, 3, 7):
        seq = 0
        while found := log.read(seq, step):
            assert found == rows[seq : seq + len(found)]
            assert len(found) >= min(step, len(rows) - seq)
            seq += len(found)
        assert seq == len(rows)
    for seq in reversed(range(len(rows))):
        assert log.read(seq, 1)[0] == rows[seq]


def test_rows_before_the_first_are_not_made_up():
    folder = many_segments(MemoryFolder())
    log = open_log(folder)
    log.forget(log.last_seq)
    with pytest.raises(SpoolError, match="holds no row 1, the first is"):
        log.read(0, 1)


class Writes:
    """A file that knows only how much was written where."""

    def __init__(self):
        self.seen = []

    def write(self, data, offset):
        self.seen.append((offset, len(data), len(data.rstrip(b"\0"))))
        return len(data)


def test_a_write_that_reaches_reserved_room_fills_some_of_it():
    room = 2 * FILLED_BYTES + 500
    file = Writes()
    writer = SegmentWriter(file, room)
    for size in (100, 200, FILLED_BYTES, FILLED_BYTES - 300, 250, 400):
        writer.append(b"x" * size)
    full = 2 * FILLED_BYTES
    ends = [FILLED_BYTES, 300, full, full, room, room + 150]
    assert [offset + size for offset, size, _ in file.seen] == ends
    assert sum(size for _, _, size in file.seen) == writer.end == room + 150


# A disk that fails.


def test_short_writes_are_completed():
    folder = MemoryFolder()
    folder.bytes_a_write = 7
    log = open_log(folder)
    for batch in BATCHES:
        log.append(batch)
    assert everything(open_log(folder)) == ROWS


def test_a_disk_that_takes_nothing_is_an_error():
    folder = MemoryFolder()
    log = open_log(folder)
    folder.bytes_a_write = 0
    with pytest.raises(OSError, match="takes no more"):
        log.append(BATCHES[0])


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_after_a_failed_write_nothing_is_written_ever_again(moment, code):
    folder = MemoryFolder()
    log = open_log(folder)
    log.append(BATCHES[0])
    folder.error = code
    folder.faults = lambda step: moment if step == "write" else None
    with pytest.raises(OSError, match="write") as raised:
        log.append(BATCHES[1])
    assert raised.value.errno == code
    folder.faults = lambda step: None
    before = bytes(only(folder).memory)
    with pytest.raises(OSError, match="failed before"):
        log.append(BATCHES[1])
    with pytest.raises(OSError, match="failed before"):
        log.seal()
    assert bytes(only(folder).memory) == before
    found = everything(open_log(folder))
    assert found in (ROWS[:1], ROWS[:3])


@pytest.mark.parametrize("step", ["create", "write", "sync", "rename", "sync folder", "truncate"])
@pytest.mark.parametrize("moment", list(Moment))
def test_a_segment_that_cannot_be_begun_fails_the_write_and_loses_nothing(step, moment):
    folder = MemoryFolder()
    log = open_log(folder)
    durable: list[Row] = []
    batch: list[Row] = [opened("c" * 50)]

    def append_often() -> None:
        for _ in range(10):
            log.append(batch)
            durable.extend(batch)

    folder.faults = lambda what: moment if len(folder.files) > 1 and what == step else None
    if step == "create":
        folder.faults = lambda what: moment if what == step else None
    with pytest.raises(OSError, match=step):
        append_often()
    folder.faults = lambda what: None
    assert durable
    found = everything(open_log(folder))
    assert found[: len(durable)] == durable
    assert len(found) <= len(durable) + 1


def test_a_disk_that_fails_at_the_start_is_an_error():
    folder = written(*BATCHES)
    for step in ("open", "read", "sync", "create", "write", "rename", "sync folder"):
        folder.faults = lambda what, step=step: Moment.BEFORE if what == step else None
        with pytest.raises(OSError, match=step):
            open_log(folder)
    folder.faults = lambda what: None
    assert everything(open_log(folder)) == ROWS
