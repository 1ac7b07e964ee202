"""The rows of a batch's lines, over both databases: what a crash left is settled by the ledger."""

from __future__ import annotations

import contextlib

import pytest
from books import closed, opened, used

from gateway.batches.batch import Batch, Status
from gateway.batches.batch_store import LEASE, BatchStore
from gateway.batches.line_store import Line, LineStore
from gateway.files.file_store import FilesFullError, FileStore, StoredFile
from metering.backend import open_ledger
from metering.database import Database
from metering.lease import Lease, LeaseLostError
from metering.posting import deposit_group, whole_group
from metering.usage import Usage

ME, OTHER = "gateway-1", "gateway-2"
NOW_NS = 10**18
SECOND = 10**9
BATCH = Batch(
    batch_id="batch_1",
    account="acme",
    key_id="key_1",
    endpoint="/v1/chat/completions",
    input_file_id="file-1",
    metadata=None,
    output_expires_s=None,
    status=Status.IN_PROGRESS,
    total=3,
    created_ns=NOW_NS,
    expires_ns=NOW_NS + SECOND,
)


class Clock:
    now_ns = 0


def lease(database: Database, holder: str, clock: Clock) -> Lease:
    return Lease(
        database,
        LEASE,
        holder,
        lease_s=1,
        monotonic_ns=lambda: clock.now_ns,
        wall_ns=lambda: NOW_NS,
    )


@pytest.fixture
def batches(database: Database) -> BatchStore:
    store = BatchStore(database)
    store.create(BATCH)
    assert lease(database, ME, Clock()).stand()
    return store


def line(number: int, charge_id: str | None) -> Line:
    usage = Usage(prompt_tokens=5, completion_tokens=7)
    return Line(batch_id="batch_1", number=number, charge_id=charge_id, output=b"{}\n", usage=usage)


def found(batches: BatchStore) -> Batch:
    batch = batches.get("acme", "batch_1")
    assert batch is not None
    return batch


def test_a_line_is_counted_when_its_charge_is_durable(database, batches) -> None:
    lines = LineStore(database, batches, ME)
    assert lines.write([line(1, "c1"), line(2, None)], []) == {("batch_1", 1), ("batch_1", 2)}
    assert (found(batches).completed, found(batches).failed) == (0, 1)
    assert lines.unsettled("batch_1") == 1
    lines.write([], [("batch_1", 1), ("batch_1", 1)])
    assert (found(batches).completed, found(batches).completion_tokens) == (1, 7)
    assert lines.outputs("batch_1", "done", 0) == [(1, b"{}\n")]
    assert lines.numbers("batch_1") == {1, 2}


def test_a_line_keeps_its_first_answer(database, batches) -> None:
    lines = LineStore(database, batches, ME)
    lines.write([line(1, "c1")], [])
    assert lines.write([line(1, "c2")], []) == set()
    assert lines.write([line(1, "c1")], []) == {("batch_1", 1)}, "a repeat is no other answer"


def test_a_crash_is_settled_by_what_the_ledger_has(where, database, batches) -> None:
    lines = LineStore(database, batches, ME)
    lines.write([line(1, "paid"), line(2, "void"), line(3, "unheard")], [])
    with contextlib.closing(open_ledger(where)) as ledger:
        groups = [
            deposit_group("acme", "acme", 10**9),
            whole_group(opened("paid", account="acme"), closed("paid", used(7))),
            whole_group(opened("void", account="acme"), closed("void")),
        ]
        assert all(result.booked for result in ledger.post("test", groups))
    assert LineStore(database, batches, OTHER).settle() == (0, 0), "those are not its own"
    assert lines.settle() == (1, 2)
    assert lines.settle() == (0, 0)
    assert lines.numbers("batch_1") == {1}
    assert found(batches).completed == 1


def test_who_lost_the_lease_writes_nothing(database, batches) -> None:
    lines = LineStore(database, batches, ME)
    clock = Clock()
    other = lease(database, OTHER, clock)
    assert not other.stand(), "it is held"
    lines.write([line(1, "c1")], [])
    clock.now_ns = SECOND
    assert other.stand(), "it ran out"
    with pytest.raises(LeaseLostError):
        lines.write([line(2, "c2")], [])
    with pytest.raises(LeaseLostError):
        batches.advance(ME, "batch_1", Status.IN_PROGRESS, status=Status.FINALIZING)
    assert found(batches).status is Status.IN_PROGRESS
    assert lines.numbers("batch_1") == {1}


def test_a_batch_advances_from_the_state_that_it_is_in(database, batches) -> None:
    lines = LineStore(database, batches, ME)
    lines.write([line(1, "c1")], [("batch_1", 1)])
    cancelled = batches.cancel("batch_1", NOW_NS)
    assert cancelled.status is Status.CANCELLING
    unchanged = batches.advance(ME, "batch_1", Status.IN_PROGRESS, status=Status.FINALIZING)
    assert unchanged.status is Status.CANCELLING
    batches.advance(ME, "batch_1", Status.CANCELLING, status=Status.CANCELLED, cancelled_ns=NOW_NS)
    assert not lines.numbers("batch_1"), "what is over needs no rows"
    assert not batches.any_unfinished()


def test_an_account_has_room_for_so_many_bytes(database) -> None:
    files = FileStore(database)

    def file(number: int, size: int) -> StoredFile:
        return StoredFile(
            file_id=f"file-{number}",
            account="acme",
            purpose="batch",
            filename="a",
            bytes=size,
            created_ns=NOW_NS,
            expires_ns=NOW_NS + SECOND,
        )

    files.add(file(1, 60), 100)
    with pytest.raises(FilesFullError):
        files.add(file(2, 41), 100)
    files.add(file(3, 40), 100)
    assert files.delete_expired(NOW_NS, 10) == []
    assert sorted(files.delete_expired(NOW_NS + SECOND, 10)) == ["file-1", "file-3"]


def test_the_input_of_a_batch_does_not_expire_under_it(database, batches) -> None:
    files = FileStore(database)
    files.add(
        StoredFile(
            file_id="file-1", account="acme", purpose="batch", filename="a", bytes=1,
            created_ns=NOW_NS, expires_ns=NOW_NS,
        ),
        100,
    )  # fmt: skip
    assert files.delete_expired(NOW_NS, 10) == []
    batches.advance(ME, "batch_1", Status.IN_PROGRESS, status=Status.EXPIRED, expired_ns=NOW_NS)
    assert files.delete_expired(NOW_NS, 10) == ["file-1"]
