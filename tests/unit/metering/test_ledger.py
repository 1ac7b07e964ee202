"""What every ledger does beyond the rules of transfers: watermarks, charges, epochs."""

from __future__ import annotations

import msgspec
import pytest
from books import closed, deposit, opened, single, used

from metering.accounts import AccountError
from metering.ledger import Balance, EpochRow, Group, PostResult
from metering.posting import close_group, hold_group


def charge(ledger, name, account="alice", usage=None):
    opening = opened(name, account=account)
    return ledger.post("g", [hold_group(opening), close_group(opening, closed(name, usage))])


def epoch(number=1, from_seq=0, to_seq=1, **changes):
    row = EpochRow(
        epoch=number,
        from_seq=from_seq,
        to_seq=to_seq,
        params="{}",
        inputs="{}",
        result="{}",
        state="{}",
        created_ns=1,
        hash="ab",
    )
    return msgspec.structs.replace(row, **changes)


def test_an_empty_ledger_says_so(ledger):
    assert ledger.balance("usd:customer:alice") == Balance()
    assert ledger.balances(["usd:customer:alice"]) == {}
    assert ledger.trial_balance() == []
    assert ledger.last_seq() == 0
    assert ledger.watermark("g") == 0
    assert list(ledger.charges()) == []
    assert list(ledger.epochs()) == []
    assert ledger.verify().ok


def test_a_watermark_moves_with_what_is_booked_and_never_back(ledger):
    assert ledger.post("g", [deposit("alice", 5)], watermark=7) == [PostResult.OK]
    assert ledger.post("g", [deposit("alice", 5)], watermark=6) == [PostResult.EXISTS]
    assert ledger.watermark("g") == 7
    assert ledger.watermark("other") == 0


def test_a_watermark_stays_if_a_group_is_refused_and_the_other_groups_stand(ledger):
    overdraft = single("t", "usd:customer:alice", "usd:fee_vault", 6)
    results = ledger.post("g", [deposit("alice", 5), overdraft, deposit("bob", 1)], watermark=3)
    assert results == [PostResult.OK, PostResult.EXCEEDS_CREDITS, PostResult.OK]
    assert ledger.watermark("g") == 0
    assert ledger.balance("usd:customer:bob").available == 1


def test_a_refused_transfer_brings_no_account_into_being(ledger):
    ledger.post("g", [single("t", "usd:customer:alice", "usd:treasury", 1)])
    parts = (deposit("alice", 5), single("t", "usd:customer:alice", "usd:treasury", 6))
    linked = Group(transfers=tuple(part.transfers[0] for part in parts))
    assert ledger.post("g", [linked]) == [PostResult.EXCEEDS_CREDITS]
    assert ledger.trial_balance() == []
    assert ledger.last_seq() == 0


def test_an_account_can_be_opened_empty(ledger):
    assert ledger.open_account("usd:customer:alice")
    assert not ledger.open_account("usd:customer:alice")
    assert [line.account for line in ledger.trial_balance()] == ["usd:customer:alice"]
    with pytest.raises(AccountError):
        ledger.open_account("usd:customer:Alice")
    assert ledger.verify().ok


def test_holds_and_closes_may_be_booked_in_one_batch_or_two(ledger):
    ledger.post("g", [deposit("alice", 10**9)])
    one, two = opened("c1"), opened("c2")
    ledger.post("g", [hold_group(one), hold_group(two), close_group(one, closed("c1", used(1)))])
    assert ledger.balance("usd:customer:alice").debits_pending == two.hold_nano_usd
    assert ledger.post("g", [close_group(two, closed("c2"))]) == [PostResult.OK]
    assert ledger.balance("usd:customer:alice").debits_pending == 0
    assert [record.charge_id for record in ledger.charges()] == ["c1", "c2"]


def test_what_costs_more_than_its_hold_leaves_the_rest_to_the_shortfall(ledger):
    ledger.post("g", [deposit("alice", 3000)])
    opening = opened("c", hold=3000)
    ledger.post("g", [hold_group(opening), close_group(opening, closed("c", used(5)))])
    (record,) = ledger.charges()
    assert (record.cost_nano_usd, record.charged_nano_usd) == (5000, 3000)
    assert ledger.balance("usd:shortfall").debits_posted == 2000
    assert ledger.balance("usd:fee_vault").posted == 5000
    assert ledger.balance("usd:customer:alice").available == 0


def test_charges_are_listed_by_account_page_and_end(ledger):
    for i in range(6):
        charge(ledger, f"c{i}", account="alice" if i % 2 else "bob", usage=used(i + 1))
    ids = [record.charge_id for record in ledger.charges()]
    assert ids == ["c0", "c1", "c2", "c3", "c4", "c5"]
    assert [r.charge_id for r in ledger.charges("alice")] == ["c1", "c3", "c5"]
    assert [r.charge_id for r in ledger.charges(limit=2)] == ["c0", "c1"]
    assert [r.charge_id for r in ledger.charges("bob", limit=2, newest_first=True)] == ["c4", "c2"]
    assert [r.charge_id for r in ledger.charges(after_seq=ledger.last_seq() - 1)] == ["c5"]
    assert list(ledger.charges("carol")) == []


def test_totals_count_what_was_billed_in_the_range(ledger):
    charge(ledger, "c1", usage=used(1))
    start = ledger.last_seq()
    charge(ledger, "c2", usage=used(2))
    charge(ledger, "c3")
    charge(ledger, "c4", usage=used(4))
    end = ledger.last_seq()
    charge(ledger, "c5", usage=used(5))
    (total,) = ledger.charge_totals(start, end)
    assert (total.supplier_id, total.model, total.charges) == ("sup-1", "tiny", 2)
    assert (total.prompt_tokens, total.completion_tokens) == (20, 6)
    assert (total.cost_nano_usd, total.charged_nano_usd) == (7600, 0)
    assert ledger.charge_totals(end, end) == []


def test_an_epoch_is_booked_once_with_its_transfers(ledger):
    ledger.post("g", [deposit("alice", 5)])
    pay = single("epoch:1:pay", "io:issuance", "io:supplier:s1", 9)
    assert ledger.post_epoch(epoch(), [pay], "ide") == PostResult.OK
    assert ledger.post_epoch(epoch(created_ns=2), [pay], "ide") == PostResult.EXISTS
    assert (
        ledger.post_epoch(epoch(hash="cd"), [pay], "ide") == PostResult.EXISTS_WITH_DIFFERENT_EPOCH
    )
    assert ledger.balance("io:supplier:s1").posted == 9
    assert list(ledger.epochs()) == [epoch()]
    assert ledger.epoch(1) == epoch()
    assert ledger.epoch(2) is None
    assert ledger.verify().ok


def test_an_epoch_whose_transfers_are_refused_is_not_booked(ledger):
    ledger.post("g", [deposit("alice", 5)])
    good = single("epoch:1:pay", "io:issuance", "io:supplier:s1", 9)
    bad = single("epoch:1:burn", "io:circulating", "io:burned", 1)
    assert ledger.post_epoch(epoch(), [good, bad], "ide") == PostResult.EXCEEDS_CREDITS
    assert list(ledger.epochs()) == []
    assert ledger.balance("io:supplier:s1") == Balance()
    ledger.post("ide", [good])
    assert ledger.post_epoch(epoch(), [good], "ide") == PostResult.LINKED_FAILED


def test_epochs_leave_no_gap_and_no_overlap(ledger):
    for i in range(3):
        ledger.post("g", [deposit("alice", 5, name=str(i))])
    invalid = [
        epoch(1, 1, 2),
        epoch(1, 0, 4),
    ]
    assert {ledger.post_epoch(row, [], "ide") for row in invalid} == {PostResult.INVALID_EPOCH}
    assert ledger.post_epoch(epoch(1, 0, 2), [], "ide") == PostResult.OK
    invalid = [epoch(3, 2, 3), epoch(2, 1, 3), epoch(2, 3, 3)]
    assert {ledger.post_epoch(row, [], "ide") for row in invalid} == {PostResult.INVALID_EPOCH}
    assert ledger.post_epoch(epoch(2, 2, 2), [], "ide") == PostResult.OK
    assert [row.epoch for row in ledger.epochs()] == [1, 2]
    assert ledger.verify().ok


def test_an_empty_post_books_nothing(ledger):
    assert ledger.post("g", []) == []
    assert ledger.post("g", [Group(transfers=())]) == [PostResult.INVALID_GROUP]
    assert ledger.last_seq() == 0
