"""Every ledger against the reference: the same answers and the same books for any calls.

Few ids, few accounts and small amounts, so that repeats, conflicts and refusals are common.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
from books import closed, opened, used
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from postgres_process import PostgresProcess

from metering.backend import open_ledger
from metering.expirer import Expirer
from metering.expiry import expiry_detail
from metering.ledger import EpochRow
from metering.posting import HOLD_NS, close_group, hold_group
from metering.reference_ledger import ReferenceLedger
from metering.sql_ledger import SqlLedger
from metering.transfer import Group, Transfer, TransferKind

ACCOUNTS = (
    "usd:external",
    "usd:customer:a",
    "usd:customer:b",
    "usd:fee_vault",
    "usd:shortfall",
    "io:issuance",
    "io:unemitted",
    "usd:nonsense",
)
IDS = ("t1", "t2", "t3", "t4", "t5", "t6")

accounts = st.sampled_from(ACCOUNTS)
sources = st.sampled_from(("usd:external", "usd:external", "usd:shortfall", "io:issuance"))
amounts = st.one_of(st.integers(0, 12), st.integers(0, 12), st.just(2**63 - 1), st.just(-1))


@st.composite
def transfers(draw: st.DrawFn) -> Transfer:
    kind = draw(st.sampled_from(TransferKind))
    resolves = kind not in (TransferKind.SINGLE, TransferKind.PENDING)
    ends = kind is TransferKind.PENDING and draw(st.booleans())
    inherits = resolves and draw(st.booleans())
    return Transfer(
        id=draw(st.sampled_from(IDS)),
        kind=kind,
        debit="" if inherits else draw(accounts | sources),
        credit="" if inherits else draw(accounts),
        amount=0 if kind in (TransferKind.VOID, TransferKind.EXPIRE) else draw(amounts),
        code=draw(st.sampled_from(("x", "x", "x", "y"))),
        pending_id=draw(st.sampled_from(IDS)) if resolves else None,
        detail=expiry_detail(draw(st.integers(0, 40))) if ends else "",
    )


@st.composite
def charge_groups(draw: st.DrawFn) -> list[Group]:
    name = draw(st.sampled_from(("c1", "c2", "c3")))
    opening = opened(name, account=draw(st.sampled_from("ab")), hold=draw(st.integers(0, 4000)))
    usage = draw(st.none() | st.integers(0, 3).map(lambda tokens: used(tokens, prompt=3)))
    groups = [hold_group(opening), close_group(opening, closed(name, usage))]
    return groups[draw(st.integers(0, 1)) : draw(st.integers(1, 2))]


deposits = st.builds(
    lambda name, account, amount: Group(
        transfers=(
            Transfer(
                id=f"deposit:{name}",
                kind=TransferKind.SINGLE,
                debit="usd:external",
                credit=f"usd:customer:{account}",
                amount=amount,
                code="deposit",
            ),
        )
    ),
    st.integers(1, 4),
    st.sampled_from("ab"),
    st.integers(0, 3000),
)
linked = st.builds(
    lambda parts, bearer: Group(transfers=tuple(parts), bearer=bearer),
    st.lists(transfers(), max_size=3),
    st.sampled_from((None, None, "usd:shortfall")),
)
batches = st.lists(
    st.one_of(linked.map(lambda group: [group]), deposits.map(lambda group: [group]),
              charge_groups()),
    max_size=6,
).map(lambda parts: [group for part in parts for group in part])  # fmt: skip


def new_file() -> Path:
    return Path(tempfile.mkdtemp(prefix="tollgate-test-")) / "ledger.db"


class Ledgers(RuleBasedStateMachine):
    new_place: Callable[[], Path | str] = staticmethod(new_file)

    @initialize()
    def open(self) -> None:
        self.where = self.new_place()
        self.now_ns = 0
        self.reference = ReferenceLedger(self.clock_ns)
        self.ledger, self.other = self.handle(), self.handle()

    def handle(self) -> SqlLedger:
        ledger = open_ledger(self.where, self.clock_ns)
        assert isinstance(ledger, SqlLedger)
        if isinstance(self.where, Path):
            ledger._writes.query("PRAGMA synchronous = OFF")
        return ledger

    def clock_ns(self) -> int:
        return self.now_ns

    def teardown(self) -> None:
        assert list(self.ledger.booked()) == list(self.reference.booked())
        found = self.ledger.verify()
        assert found.ok, found.problem
        assert found.transfers == self.reference.last_seq()
        self.ledger.close()
        self.other.close()
        if isinstance(self.where, Path):
            shutil.rmtree(self.where.parent)

    @rule(
        groups=batches,
        writer=st.sampled_from(("w1", "w2")),
        watermark=st.none() | st.integers(1, 50),
        elsewhere=st.booleans(),
    )
    def post(
        self, groups: list[Group], writer: str, watermark: int | None, elsewhere: bool
    ) -> None:
        ledger = self.other if elsewhere else self.ledger
        answers = ledger.post(writer, groups, watermark)
        assert answers == self.reference.post(writer, groups, watermark)
        assert ledger.watermark(writer) == self.reference.watermark(writer)

    @rule(
        number=st.integers(1, 3),
        from_seq=st.integers(0, 3),
        length=st.integers(0, 3),
        groups=st.lists(linked, max_size=2),
        result=st.sampled_from(("[]", "{}")),
    )
    def settle(
        self, number: int, from_seq: int, length: int, groups: list[Group], result: str
    ) -> None:
        row = EpochRow(
            epoch=number,
            from_seq=from_seq,
            to_seq=from_seq + length,
            params="{}",
            inputs="{}",
            result=result,
            state="{}",
            created_ns=1,
            hash="00",
        )
        answer = self.ledger.post_epoch(row, groups, "ide")
        assert answer == self.reference.post_epoch(row, groups, "ide")

    @rule(now_ns=st.integers(0, 30) | st.just(opened("c").created_ns + HOLD_NS))
    def set_clock(self, now_ns: int) -> None:
        """Also back."""
        self.now_ns = now_ns

    @rule()
    def expire(self) -> None:
        ledgers = (self.ledger, self.reference)
        released, expected = (Expirer(ledger).run(self.now_ns) for ledger in ledgers)
        assert released == expected

    @rule(account=accounts)
    def open_account(self, account: str) -> None:
        if account != "usd:nonsense":
            assert self.ledger.open_account(account) == self.reference.open_account(account)

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = self.handle()

    @invariant()
    def same_books(self) -> None:
        if not hasattr(self, "ledger"):
            return
        lines = self.ledger.trial_balance()
        assert lines == self.reference.trial_balance()
        assert sum(line.balance.posted for line in lines) == 0
        assert sum(msgspec.structs.astuple(line.balance)[0] for line in lines) == sum(
            line.balance.credits_pending for line in lines
        )
        assert self.ledger.last_seq() == self.reference.last_seq()
        assert list(self.ledger.charges()) == list(self.reference.charges())
        end = self.reference.last_seq()
        assert self.ledger.charge_totals(end // 2, end) == self.reference.charge_totals(
            end // 2, end
        )
        assert list(self.ledger.epochs()) == list(self.reference.epochs())
        assert list(self.ledger.open_holds(end // 2)) == list(self.reference.open_holds(end // 2))


class TestLedgers(Ledgers.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_postgres_keeps_the_same_books(postgres_server: PostgresProcess) -> None:
    class InPostgres(Ledgers):
        new_place = staticmethod(postgres_server.fresh)

    run_state_machine_as_test(
        InPostgres, settings=settings(max_examples=12, stateful_step_count=20, deadline=None)
    )
