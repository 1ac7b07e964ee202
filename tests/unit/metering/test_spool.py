"""The log: durable before it says so, refused to a second process, emptied without forgetting."""

from __future__ import annotations

import contextlib
import errno
import os
import queue

import pytest
from books import closed, opened, progressed, used
from memory_folder import MemoryFolder, Moment

from metering import spool_log
from metering.charge import ChargeOutcome, CloseCharge
from metering.spool import TAIL_ROWS_MAX, Spool
from metering.spool_disk import DiskFolder
from metering.spool_file import SpoolError
from metering.spool_segment import RecordReader, read_header


class Loop:
    """Runs what the spool wants run on the appending thread, when the test says so."""

    def __init__(self):
        self.calls = queue.SimpleQueue()

    def notify(self, call):
        self.calls.put(call)

    def run_one(self):
        self.calls.get(timeout=10)()


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool"


def fill(spool, rows):
    """Make rows durable as one batch each."""
    for row in rows:
        spool.commit([row])


def records(path):
    """(first_seq, rows) of every record on disk."""
    found = []
    folder = DiskFolder(path)
    for name in sorted(name for name in folder.names() if name.endswith(".log")):
        with contextlib.closing(folder.open(name)) as file:
            header, start = read_header(file)
            reader = RecordReader(file, header.salt, start, header.first_seq)
            while record := reader.next():
                found.append(record[:2])
    return found


def test_a_row_is_durable_before_it_is_said_to_be(path, loop):
    spool = Spool(path)
    spool.start(loop.notify)
    answers = []
    spool.append(opened("c1"), answers.append)
    assert answers == []  # never from within append
    loop.run_one()
    assert answers == [None]
    assert records(path) == [(1, 1)]
    spool.close()


def test_rows_that_gather_share_a_commit_and_a_hop(path, loop):
    spool = Spool(path)
    answers = []
    for i in range(50):
        spool.append(opened(f"c{i}"), lambda error, i=i: answers.append((i, error)))
    spool.start(loop.notify)
    loop.run_one()
    assert answers == [(i, None) for i in range(50)]
    assert records(path) == [(1, 50)]
    spool.close()


def test_progress_is_written_without_anyone_waiting(path, loop):
    spool = Spool(path)
    spool.start(loop.notify)
    spool.append(opened("c1"))
    spool.append(progressed("c1", 5))
    spool.close()
    again = Spool(path)
    assert again.last_seq == 2
    assert again.open_charges(2).rows() == [opened("c1"), progressed("c1", 5)]
    again.close()


def test_rows_are_read_in_order_from_memory_and_from_the_file(path):
    spool = Spool(path)
    rows = [opened(f"c{i}") for i in range(9)]
    spool.commit(rows[:4])
    spool.commit(rows[4:5])
    spool.commit(rows[5:])
    assert spool.read(0, 100) == rows
    assert spool.read(2, 100) == rows[2:]
    assert spool.read(0, 3) == rows[:4]
    assert spool.read(9, 3) == []
    spool.close()
    again = Spool(path)
    assert again.read(0, 100) == rows
    assert again.read(2, 100) == rows[2:]
    assert again.read(0, 3) == rows[:4]
    assert again.read(9, 3) == []
    again.commit([opened("new")])
    assert again.read(8, 100) == [rows[8], opened("new")]
    assert again.read(9, 100) == [opened("new")]
    again.close()


def test_a_long_backlog_is_read_from_the_file_behind_the_tail(path):
    spool = Spool(path)
    rows = [opened(f"c{i}") for i in range(1000)]
    batches = TAIL_ROWS_MAX // 1000 + 2
    for _ in range(batches):
        spool.commit(rows)
    assert spool._tail_rows <= TAIL_ROWS_MAX
    seq = 0
    while found := spool.read(seq, 700):
        assert found == rows
        seq += len(found)
    assert seq == spool.last_seq == batches * 1000
    assert spool.backlog == seq
    spool.booked(seq)
    assert spool.backlog == 0
    assert spool._tail_rows == 0
    spool.close()


def test_backlog_and_bound(path, loop):
    spool = Spool(path, rows_max=2)
    assert not spool.full
    spool.append(opened("a"))  # queued counts too
    assert spool.backlog == 1
    spool.start(loop.notify)
    spool.append(opened("b"), lambda error: None)
    loop.run_one()
    assert spool.full
    assert spool.lag_seconds >= 0
    spool.append(closed("a"), lambda error: None)
    loop.run_one()
    assert spool.last_seq == 3  # what is open finds its end all the same
    spool.booked(3)
    assert not spool.full
    assert spool.lag_seconds == 0
    spool.close()


def test_a_second_process_is_refused_and_told_who_has_it(path):
    spool = Spool(path)
    with pytest.raises(SpoolError, match=f"in use by process {os.getpid()}: two gateways"):
        Spool(path)
    spool.close()
    Spool(path).close()


def test_its_name_in_the_ledger_is_its_files_own(path, tmp_path):
    spool = Spool(path, "gw")
    other = Spool(tmp_path / "other.db", "gw")
    name = spool.writer
    assert name.startswith("gw-")
    assert name != other.writer
    spool.close()
    other.close()
    again = Spool(path, "gw")
    assert again.writer == name
    again.close()


def test_what_was_open_at_a_crash_is_closed_as_far_as_was_recorded(path):
    spool = Spool(path)
    done, free = [opened("done"), closed("done", used(1))], [opened("free")]
    cut = [opened("cut"), progressed("cut", 3), progressed("cut", 8)]
    fill(spool, [*done, *cut, *free])
    spool.close()
    again = Spool(path)
    assert again.recover(now_ns=42) == 2
    billed, voided = again.read(6, 10)
    assert isinstance(billed, CloseCharge)
    assert isinstance(voided, CloseCharge)
    assert (billed.charge_id, billed.usage, billed.closed_ns) == ("cut", used(8), 42)
    assert (voided.charge_id, voided.usage) == ("free", None)
    assert billed.outcome is voided.outcome is ChargeOutcome.GATEWAY_CRASH
    again.close()
    once_more = Spool(path)
    assert once_more.recover(now_ns=43) == 0
    once_more.close()


def test_forgetting_keeps_what_is_open(path, monkeypatch):
    monkeypatch.setattr(spool_log, "SEGMENT_BYTES", 600)
    spool = Spool(path)
    rows = [opened("a"), opened("b"), progressed("b", 2), closed("a", used(1)), opened("c")]
    rows += [progressed("b", 7)] * 10
    fill(spool, rows)
    spool.booked(12)
    spool.forget(12)
    assert 1 < records(path)[0][0] <= 13
    spool.close()
    again = Spool(path)
    assert again.last_seq == len(rows)
    assert again.open_charges(12).rows() == [opened("b"), opened("c"), progressed("b", 7)]
    assert again.recover(now_ns=1) == 2
    again.close()


def test_a_spool_that_forgot_everything_goes_on_counting(path):
    spool = Spool(path)
    fill(spool, [opened("a"), closed("a")])
    spool.booked(2)
    spool.forget(2)
    spool.start(lambda call: None)
    spool.close()
    assert records(path) == []
    again = Spool(path)
    assert (again.last_seq, again.backlog) == (2, 0)
    again.commit([opened("b")])
    assert again.last_seq == 3
    again.close()


def test_a_file_is_kept_until_all_of_it_is_booked(path):
    spool = Spool(path)
    rows = [opened("a"), closed("a"), opened("b")]
    spool.commit(rows)
    spool.forget(2)
    spool.commit([closed("b")])
    spool.close()
    again = Spool(path)
    assert again.read(2, 1) == [opened("b")]
    assert again.open_charges(3).rows() == [opened("b")]
    again.close()


def test_what_cannot_be_removed_is_tried_again(path, caplog):
    path.mkdir()
    folder = MemoryFolder()
    spool = Spool(path, folder=folder)
    spool.commit([opened("a"), closed("a")])
    spool.close()
    again = Spool(path, folder=folder)
    folder.faults = lambda step: Moment.BEFORE if step == "remove" else None
    again.forget(2)
    assert "could not remove" in caplog.text
    assert again.read(0, 10) == [opened("a"), closed("a")]
    folder.faults = lambda step: None
    again.forget(2)
    assert len(folder.files) == 1
    again.close()


@pytest.mark.parametrize("upto", [1, 7])
def test_a_ledger_that_does_not_belong_to_the_spool_is_noticed(path, upto):
    spool = Spool(path)
    rows = [opened("a"), opened("b"), closed("a")]
    fill(spool, rows[:2])
    spool.close()
    spool = Spool(path)
    spool.forget(2)
    fill(spool, [rows[2], closed("b")])
    with pytest.raises(SpoolError, match=rf"holds rows 3 to 4, the ledger has booked {upto}"):
        spool.open_charges(upto)
    spool.close()


@pytest.mark.parametrize(
    ("code", "says"), [(errno.ENOSPC, "No space left"), (errno.EIO, "Input/output error")]
)
def test_a_disk_that_fails_fails_everyone_who_waits_and_all_who_come_later(path, loop, code, says):
    path.mkdir()
    folder = MemoryFolder()
    folder.error = code
    spool = Spool(path, folder=folder)
    folder.faults = lambda step: Moment.DURING if step == "write" else None
    answers = []
    for i in range(200):
        spool.append(opened(f"c{i}"), answers.append)
    spool.append(opened("nobody waits for this one"))
    spool.start(loop.notify)
    loop.run_one()
    assert len(answers) == 200
    assert all(isinstance(error, SpoolError) for error in answers)
    assert says in str(answers[0])
    assert spool.failed is answers[0]
    folder.faults = lambda step: None  # all is well again: still refused
    spool.append(opened("later"), answers.append)
    loop.run_one()
    assert answers[-1] is spool.failed
    assert spool.last_seq == 0
    before = dict(folder.files)
    spool.close()
    assert folder.files == before


def test_a_full_disk_at_the_end_or_the_start_is_an_error_by_name(path, caplog):
    path.mkdir()
    folder = MemoryFolder()
    folder.error = errno.ENOSPC
    spool = Spool(path, folder=folder)
    spool.commit([opened("a")])
    folder.faults = lambda step: Moment.BEFORE if step == "create" else None
    spool.close()
    assert "could not write" in caplog.text
    with pytest.raises(SpoolError, match=r"spool: \[Errno 28\]"):
        Spool(path, folder=folder)
    folder.faults = lambda step: None
    again = Spool(path, folder=folder)
    assert again.read(0, 10) == [opened("a")]
    again.close()


def test_what_cannot_be_read_back_is_an_error_by_name(path):
    path.mkdir()
    folder = MemoryFolder()
    spool = Spool(path, folder=folder)
    spool.commit([opened("a")])
    spool.close()
    again = Spool(path, folder=folder)
    folder.faults = lambda step: Moment.BEFORE if step == "read" else None
    with pytest.raises(SpoolError, match="spool: could not read"):
        again.read(0, 10)
    with pytest.raises(SpoolError, match="spool: could not read"):
        again.open_charges(0)
    again.close()


def test_a_row_that_cannot_be_written_down_stops_the_spool_instead_of_hanging(
    path, loop, monkeypatch
):
    crashes = []
    monkeypatch.setattr("threading.excepthook", crashes.append)
    spool = Spool(path)
    answers = []
    spool.append(object(), answers.append)
    spool.start(loop.notify)
    loop.run_one()
    assert isinstance(answers[0], SpoolError)
    spool.close()
    assert len(crashes) == 1


def test_nobody_left_to_tell_is_no_reason_not_to_write(path):
    def closed_loop(call):
        raise RuntimeError("Event loop is closed")

    spool = Spool(path)
    spool.start(closed_loop)
    spool.append(opened("a"), lambda error: None)
    spool.append(opened("b"), lambda error: None)
    spool.close()
    again = Spool(path)
    assert again.last_seq == 2
    again.close()
