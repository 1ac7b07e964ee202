"""What every database does for the ledger: it outlives the process, and several may share it."""

from __future__ import annotations

import threading

from books import closed, deposit, opened, used

from metering.backend import open_ledger
from metering.ledger import PostResult
from metering.posting import close_group, hold_group


def test_the_books_outlive_their_process(where):
    ledger = open_ledger(where)
    opening = opened("c")
    ledger.post("g", [deposit("alice", 10**9), hold_group(opening)], watermark=2)
    ledger.close()
    again = open_ledger(where)
    assert again.watermark("g") == 2
    assert again.post("g", [close_group(opening, closed("c", used(1)))]) == [PostResult.OK]
    assert again.balance("usd:customer:alice").debits_pending == 0
    assert again.verify().ok
    again.close()


def test_two_processes_book_in_turn_and_see_each_other(where):
    """Each handle stands for a process: they share nothing but the database."""
    ledgers = [open_ledger(where) for _ in range(3)]
    versions = [ledger.data_version() for ledger in ledgers]

    def book(k: int) -> None:
        for i in range(40):
            assert ledgers[k].post(f"w{k}", [deposit(f"a{i % 4}", 1, name=f"{k}-{i}")], i + 1)

    threads = [threading.Thread(target=book, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ledger, version in zip(ledgers, versions, strict=True):
        assert ledger.balance("usd:external").debits_posted == 120
        assert ledger.data_version() != version
        ledger.verify()
    assert ledgers[0].verify().ok
    for ledger in ledgers:
        ledger.close()


def test_its_own_writes_do_not_change_its_data_version(where):
    ledger, other = open_ledger(where), open_ledger(where)
    version = ledger.data_version()
    ledger.post("g", [deposit("alice", 1)])
    assert ledger.data_version() == version
    other.post("cli", [deposit("alice", 2, name="2")])
    assert ledger.data_version() != version
    ledger.close()
    other.close()


def test_a_hold_resolved_by_another_process_is_not_resolved_twice(where):
    """The first handle remembers the hold and assumes it is open: the unique index knows better."""
    ledger, other = open_ledger(where), open_ledger(where)
    opening = opened("c")
    ledger.post("g", [deposit("alice", 10**9), hold_group(opening)])
    other.post("h", [close_group(opening, closed("c"))])
    billed = close_group(opening, closed("c", used(1)))
    assert ledger.post("g", [billed]) == [PostResult.PENDING_ALREADY_VOIDED]
    assert ledger.verify().ok
    ledger.close()
    other.close()


def test_a_batch_larger_than_a_statement_is_booked_whole(where):
    ledger = open_ledger(where)
    groups = [deposit(f"a{i % 7}", i, name=str(i)) for i in range(1237)]
    assert set(ledger.post("g", groups)) == {PostResult.OK}
    assert ledger.balance("usd:external").debits_posted == sum(range(1237))
    assert ledger.verify().transfers == 1237
    ledger.close()


def test_charges_come_in_pages(where):
    ledger = open_ledger(where)
    openings = [opened(f"c{i:04}") for i in range(2100)]
    groups = [g for o in openings for g in (hold_group(o), close_group(o, closed(o.charge_id)))]
    ledger.post("g", groups)
    ids = [record.charge_id for record in ledger.charges()]
    assert ids == [o.charge_id for o in openings]
    newest = ledger.charges("alice", newest_first=True, limit=1500)
    assert [record.charge_id for record in newest] == ids[:-1501:-1]
    ledger.close()
