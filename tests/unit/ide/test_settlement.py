from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ide.epoch import EpochResult, SlashBurn
from ide.invariants import InvariantError, check_books
from ide.journal import books_of, epoch_group, posted_balances
from ide.params import IdeParams
from ide.replay import replay
from ide.settlement import (
    Settlement,
    SettlementError,
    SettlementStatus,
    open_supply,
    settle,
    stored_params,
    stored_result,
)
from metering import accounts
from metering.accounts import Asset
from metering.backend import open_ledger
from metering.charge import ChargeOutcome, CloseCharge, OpenCharge
from metering.ledger import Group, Ledger, Transfer, TransferKind
from metering.money import IO_UNIT, USD_UNIT
from metering.posting import close_group, hold_group
from metering.prices import ModelPrice
from metering.reference_ledger import ReferenceLedger
from metering.usage import Usage, UsageSource

CENTS_16 = 160_000_000
PARAMS = IdeParams()
PRICE = ModelPrice(
    version="1", prompt_nano_usd=200, cached_prompt_nano_usd=200, completion_nano_usd=900
)


@pytest.fixture(params=["reference", "sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    made: Ledger = ReferenceLedger()
    if request.param == "sqlite":
        made = open_ledger(tmp_path / "ledger.db")
    elif request.param == "postgres":
        made = open_ledger(request.getfixturevalue("postgres_url"))
    yield made
    made.close()


def deposit(ledger: Ledger, usd: int) -> None:
    paid_in = Transfer(
        id="deposit",
        kind=TransferKind.SINGLE,
        debit=accounts.USD_EXTERNAL,
        credit=accounts.customer("acme"),
        amount=usd * USD_UNIT,
        code="deposit",
    )
    assert all(answer.booked for answer in ledger.post("test", [Group(transfers=(paid_in,))]))


def charge(ledger: Ledger, name: str, supplier: str, tokens: int, hold: int = USD_UNIT) -> None:
    """Book a charge of `tokens` prompt and as many completion tokens: 1,100 nano-USD each."""
    opened = OpenCharge(
        charge_id=name,
        request_id=f"req-{name}",
        account="acme",
        key_id="k",
        model="m",
        price=PRICE,
        hold_nano_usd=hold,
        prompt_tokens_estimate=tokens,
        created_ns=1,
    )
    closed = CloseCharge(
        charge_id=name,
        outcome=ChargeOutcome.COMPLETED,
        node_id=f"node-of-{supplier}",
        supplier_id=supplier,
        usage=Usage(prompt_tokens=tokens, completion_tokens=tokens),
        usage_source=UsageSource.NODE,
        closed_ns=2,
        ttft_ns=1,
    )
    groups = [hold_group(opened), close_group(opened, closed)]
    assert all(answer.booked for answer in ledger.post("gateway", groups))


def close(
    ledger: Ledger,
    *,
    price: int | None = CENTS_16,
    epoch: int | None = None,
    even_if_empty: bool = False,
    params: IdeParams = PARAMS,
) -> Settlement:
    return settle(
        ledger,
        params,
        io_price_nano_usd=price,
        now_ns=7,
        epoch=epoch,
        even_if_empty=even_if_empty or epoch is not None,
    )


def posted(ledger: Ledger) -> dict[str, int]:
    return posted_balances(ledger.trial_balance())


def assert_books_balance(ledger: Ledger, settlement: Settlement) -> None:
    assert settlement.row is not None
    balances = posted(ledger)
    for asset in Asset:
        assert sum(v for account, v in balances.items() if account.startswith(f"{asset}:")) == 0
    check_books(books_of(balances), stored_result(settlement.row).state)
    assert -balances[accounts.IO_ISSUANCE] == 800_000_000 * IO_UNIT
    assert ledger.verify().ok


def test_an_epoch_pays_suppliers_and_burns(ledger: Ledger) -> None:
    deposit(ledger, 10)
    charge(ledger, "c1", "sup-a", 100)
    charge(ledger, "c2", "sup-b", 300)
    charge(ledger, "c3", "sup-a", 200)
    settlement = close(ledger)
    assert settlement.status is SettlementStatus.SETTLED
    assert settlement.row is not None
    assert (settlement.row.epoch, settlement.row.from_seq) == (1, 0)
    balances = posted(ledger)
    # 600 x 1,100 nano-USD in; 70% of each half is 231,000, at 1.6 nano-USD a base unit.
    assert balances["io:supplier:sup-a"] == balances["io:supplier:sup-b"] == 144_375
    assert balances["usd:exchange"] == 330_000
    assert balances["io:burned"] == 206_250
    assert balances["usd:fee_vault"] == 330_000
    assert_books_balance(ledger, settlement)


def test_closing_an_epoch_again_changes_nothing(ledger: Ledger) -> None:
    deposit(ledger, 10)
    charge(ledger, "c1", "sup-a", 100)
    first = close(ledger, epoch=1)
    before, seq = posted(ledger), ledger.last_seq()
    again = close(ledger, epoch=1, price=2 * CENTS_16)
    assert (again.status, again.row) == (SettlementStatus.ALREADY_SETTLED, first.row)
    unnumbered = close(ledger)
    assert (unnumbered.status, unnumbered.row) == (SettlementStatus.NOTHING_NEW, first.row)
    assert (posted(ledger), ledger.last_seq()) == (before, seq)
    assert len(list(ledger.epochs())) == 1


def test_a_late_charge_falls_into_the_next_epoch(ledger: Ledger) -> None:
    deposit(ledger, 10)
    charge(ledger, "c1", "sup-a", 100)
    first = close(ledger)
    charge(ledger, "c2", "sup-a", 50)
    second = close(ledger)
    assert first.row is not None
    assert second.row is not None
    assert (second.row.epoch, second.row.from_seq) == (2, first.row.to_seq)
    assert stored_result(second.row).report.revenue_nano_usd == 50 * 1_100
    assert_books_balance(ledger, second)


def test_a_ledger_without_charges(ledger: Ledger) -> None:
    assert close(ledger) == Settlement(status=SettlementStatus.NOTHING_NEW, row=None)
    assert ledger.last_seq() == 0
    empty = close(ledger, even_if_empty=True)
    assert empty.row is not None
    assert stored_result(empty.row).report.payouts == ()
    named = close(ledger, epoch=2)
    assert named.status is SettlementStatus.SETTLED
    assert_books_balance(ledger, named)


@pytest.mark.parametrize("epoch", [0, 3, -1])
def test_an_epoch_out_of_turn_is_refused(ledger: Ledger, epoch: int) -> None:
    close(ledger, epoch=1)
    with pytest.raises(SettlementError, match="the next one is 2"):
        close(ledger, epoch=epoch)


def test_without_a_price_no_io_moves_and_usd_is_paid(ledger: Ledger) -> None:
    deposit(ledger, 10)
    charge(ledger, "c1", "sup-a", 100)
    settlement = close(ledger, price=None)
    balances = posted(ledger)
    assert balances["usd:supplier:sup-a"] == 77_000
    assert balances["io:unemitted"] == PARAMS.unemitted_opening_io
    assert "io:burned" not in balances
    assert_books_balance(ledger, settlement)


def test_what_nobody_paid_for_is_owed_but_is_no_revenue(ledger: Ledger) -> None:
    deposit(ledger, 10)
    charge(ledger, "c1", "sup-a", 100, hold=60_000)
    settlement = close(ledger)
    assert settlement.row is not None
    report = stored_result(settlement.row).report
    assert (report.revenue_nano_usd, report.obligation_nano_usd) == (60_000, 77_000)
    assert_books_balance(ledger, settlement)


def test_parameters_may_change_between_epochs_and_all_replays(ledger: Ledger) -> None:
    deposit(ledger, 10)
    charge(ledger, "c1", "sup-a", 100)
    close(ledger, price=None)
    charge(ledger, "c2", "sup-b", 70)
    later = IdeParams(version="2", burn_share_ppm=900_000, usage_share_ppm=800_000)
    second = close(ledger, params=later)
    assert second.row is not None
    assert stored_params(second.row) == later
    result = replay(ledger)
    assert (result.ok, result.epochs, result.problem) == (True, 2, None)


def test_another_supply_than_the_ledger_was_opened_with_is_refused(ledger: Ledger) -> None:
    open_supply(ledger, PARAMS)
    with pytest.raises(SettlementError, match="unemitted_opening_io"):
        close(ledger, epoch=1, params=IdeParams(unemitted_opening_io=5))
    assert list(ledger.epochs()) == []


def test_io_that_moved_behind_the_engine_stops_it(ledger: Ledger) -> None:
    close(ledger, epoch=1)
    theft = Transfer(
        id="theft",
        kind=TransferKind.SINGLE,
        debit=accounts.IO_UNEMITTED,
        credit=accounts.supplier(Asset.IO, "mallory"),
        amount=1,
        code="oops",
    )
    ledger.post("test", [Group(transfers=(theft,))])
    with pytest.raises(InvariantError, match="unemitted IO in the ledger"):
        close(ledger, epoch=2)
    result = replay(ledger)
    assert not result.ok
    assert "unemitted IO in the ledger" in str(result.problem)


def test_a_fee_vault_that_lost_money_behind_the_engine_stops_it(ledger: Ledger) -> None:
    deposit(ledger, 10)
    charge(ledger, "c1", "sup-a", 100)
    close(ledger)
    drained = Transfer(
        id="drained",
        kind=TransferKind.SINGLE,
        debit=accounts.USD_FEE_VAULT,
        credit=accounts.USD_TREASURY,
        amount=1,
        code="oops",
    )
    ledger.post("test", [Group(transfers=(drained,))])
    with pytest.raises(InvariantError, match="Fee Vault after epoch 1"):
        close(ledger, epoch=2)


def test_transfers_that_do_not_make_the_state_are_not_booked(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_the_burn(result: EpochResult, slashed: tuple[SlashBurn, ...]) -> Group | None:
        group = epoch_group(result, slashed)
        assert group is not None
        return Group(transfers=group.transfers[:-1])

    deposit(ledger, 10)
    charge(ledger, "c1", "sup-a", 100)
    monkeypatch.setattr("ide.settlement.epoch_group", without_the_burn)
    with pytest.raises(InvariantError, match="market, stakes and suppliers IO in the ledger"):
        close(ledger)
    assert list(ledger.epochs()) == []
    assert "io:supplier:sup-a" not in posted(ledger)


class Overtaken(ReferenceLedger):
    """A ledger in which another process settles the epoch just before this one books it."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self._when = when
        self._overtaken = False

    def _overtake(self, now: str) -> None:
        if now == self._when and not self._overtaken:
            self._overtaken = True
            settle(self, PARAMS, io_price_nano_usd=5 * CENTS_16, now_ns=3)

    def trial_balance(self):  # type: ignore[no-untyped-def]
        self._overtake("reading")
        return super().trial_balance()

    def post_epoch(self, row, groups, writer, sealed=None):  # type: ignore[no-untyped-def]
        self._overtake("booking")
        return super().post_epoch(row, groups, writer, sealed)


@pytest.mark.parametrize("when", ["reading", "booking"])
def test_two_processes_settle_an_epoch_once(when: str) -> None:
    ledger = Overtaken(when)
    deposit(ledger, 10)
    charge(ledger, "c1", "sup-a", 100)
    settlement = close(ledger)
    assert settlement.status is SettlementStatus.ALREADY_SETTLED
    assert settlement.row is not None
    assert settlement.row.created_ns == 3
    assert_books_balance(ledger, settlement)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("inputs", '{"io_price_nano_usd":1,"usage":[]}', "not that of the ledger's rows"),
        ("result", "{}", "the report stored"),
        ("hash", "00", "the hash stored"),
        ("params", "}", "malformed"),
    ],
)
def test_replay_finds_a_record_that_was_changed(field: str, value: str, problem: str) -> None:
    class Forged(ReferenceLedger):
        def epochs(self):  # type: ignore[no-untyped-def]
            return [msgspec.structs.replace(row, **{field: value}) for row in super().epochs()]

    ledger = Forged()
    deposit(ledger, 10)
    charge(ledger, "c1", "sup-a", 100)
    close(ledger)
    result = replay(ledger)
    assert (result.ok, result.first_bad_epoch) == (False, 1)
    assert problem in str(result.problem)
