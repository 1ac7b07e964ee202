"""The rule of shared money, in any order of events: what may still be charged is always there.

Real gateways' halves (`Sharing`, `SharedBudget`), the real script in a real Redis; a ledger that is
three numbers, that lags behind each gateway and whose news come late; gateways that die, answers
that are lost, a Redis that forgets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
import redis as redis_client
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from lossy_pools import LossyPools

from gateway.admission.sharing import Sharing
from metering.budget import BalanceUpdate
from metering.limits import Limits
from metering.pools import DisownedError
from metering.shared_budget import SharedBudget
from metering.shared_limits import shared_limiter

MEMBERS = st.integers(0, 2)
AMOUNT = st.integers(0, 400)


class Gateway:
    def __init__(self, world, writer):
        self.writer = writer
        self.alive = True
        self.rows = []
        """In its spool, the ledger has not seen them: holds of charges that began, and of those
        that ended with what they cost.
        """
        self.begin(world)

    def begin(self, world):
        async def register():
            return list(world.register)

        async def refresh(account):
            self.news.append(world.balance(0))

        self.alive = True
        self.held = []
        self.news = []
        self.budget = SharedBudget()
        self.wire = LossyPools(world.client)
        self.sharing = Sharing(
            self.wire,
            shared_limiter(Limits(), set()),
            set(),
            self.budget,
            writer=self.writer,
            register=register,
            refresh=refresh,
            serves_on_leases=True,
        )
        self.sharing.drop(self.writer, world.seq)
        self.sharing.settled = True

    @property
    def exposed(self):
        """What this gateway may still take off the ledger's balance."""
        free = self.budget.share("alice").free if self.alive else 0
        unbooked = sum(cost for _, cost in self.rows if cost is not None)
        return free + sum(self.held if self.alive else []) + unbooked


class SharedCredit(RuleBasedStateMachine):
    client: redis_client.Redis

    @initialize(posted=st.integers(0, 1000), open=st.booleans())
    def begin(self, posted, open):
        self.client.flushall()
        self.posted, self.pending, self.seq = posted, 0, 1
        self.register = {"w0", "w1", "w2"}
        self.gateways = [Gateway(self, writer) for writer in sorted(self.register)]
        for index in range(3 if open else 0):
            self.ask(index, None, False, False)

    @rule(index=MEMBERS, amount=AMOUNT)
    def reserve(self, index, amount):
        gateway = self._living(index)
        if gateway and gateway.budget.reserve("alice", amount):
            gateway.held.append(amount)
            gateway.rows.append((amount, None))

    @rule(index=MEMBERS, percent=st.integers(0, 130))
    def settle(self, index, percent):
        gateway = self._living(index)
        if gateway and gateway.held:
            hold = gateway.held.pop(0)
            cost = hold * percent // 100
            gateway.budget.settle("alice", hold, cost)
            gateway.rows.append((hold, min(cost, hold)))

    @rule(index=MEMBERS, rows=st.one_of(st.none(), st.integers(1, 3)))
    def book(self, index, rows=None):
        gateway = self._living(index)
        if gateway and gateway.rows:
            gateway.news.append(self._book(gateway, rows))

    @rule(index=MEMBERS)
    def look(self, index):
        if gateway := self._living(index):
            gateway.news.append(self.balance(0))

    @rule(index=MEMBERS)
    def hear_news(self, index):
        gateway = self._living(index)
        if gateway and gateway.news:
            gateway.budget.update([gateway.news.pop(0)])

    @rule(amount=AMOUNT)
    def deposit(self, amount):
        self.posted += amount
        self.seq += 1

    @rule(
        index=MEMBERS, need=st.one_of(st.none(), AMOUNT),
        question_lost=st.booleans(), answer_lost=st.booleans(),
    )  # fmt: skip
    def ask(self, index, need, question_lost, answer_lost):
        gateway = self._living(index)
        if gateway is None:
            return
        if need is not None:
            gateway.budget.need(gateway.budget.share("alice"), need)
        gateway.wire.question_lost, gateway.wire.answer_lost = question_lost, answer_lost
        asyncio.run(gateway.sharing.step())
        gateway.wire.question_lost = gateway.wire.answer_lost = False

    @rule(index=MEMBERS)
    def hear_what_seemed_lost(self, index):
        wire = self.gateways[index].wire
        if wire.late is not None:
            with contextlib.suppress(DisownedError):
                wire.hear(wire.late)
            wire.late = None

    @rule(index=MEMBERS, need=st.one_of(st.none(), AMOUNT))
    def ask_and_hear(self, index, need):
        self.look(index)
        while (gateway := self._living(index)) and gateway.news:
            self.hear_news(index)
        for _ in range(3):
            self.ask(index, need, False, False)

    @rule(index=MEMBERS, amount=AMOUNT)
    def spend(self, index, amount):
        self.ask_and_hear(index, amount)
        self.reserve(index, amount)
        self.settle(index, 100)
        self.book(index)
        self.ask_and_hear(index, None)

    @rule(index=MEMBERS)
    def restart(self, index):
        self.die(index)
        self.come_back(index)

    @rule()
    def redis_forgets_and_all_tell_it(self):
        self.client.flushall()
        for index in (0, 1, 2, 0, 1, 2):
            self.ask(index, 0, False, False)

    @rule()
    def redis_forgets(self):
        self.client.flushall()

    @rule(index=MEMBERS)
    def die(self, index):
        self.gateways[index].alive = False

    @rule(index=MEMBERS)
    def come_back(self, index):
        gateway = self.gateways[index]
        if not gateway.alive:
            gateway.rows += [(hold, 0) for hold in gateway.held]
            self._book(gateway)
            late = gateway.wire.late
            gateway.begin(self)
            gateway.wire.late = late

    @precondition(lambda self: all(gateway.alive for gateway in self.gateways))
    @rule()
    def all_of_it_can_be_had_in_the_end(self):
        for gateway in self.gateways:
            while gateway.held:
                self.settle(self.gateways.index(gateway), 0)
            if gateway.rows:
                self.book(self.gateways.index(gateway))
        self.ask_until_nobody_hoards()
        assert self.gateways[0].budget.reserve("alice", self.posted)
        self.gateways[0].held.append(self.posted)
        self.gateways[0].rows.append((self.posted, None))

    def lends(self, lender, borrower, amount):
        """Asked for it again and again, the one gives so much up, and the other has it."""
        for _ in range(4):
            self.ask_and_hear(borrower, amount)
            self.ask_and_hear(lender, None)
        return self.gateways[borrower].budget.reserve("alice", amount)

    def ask_until_nobody_hoards(self):
        """The first gateway asks for all that there is."""
        for _ in range(4):
            for index in (2, 1, 0):
                self.ask_and_hear(index, None if index else self.posted)

    @invariant()
    def what_may_be_charged_is_there(self):
        exposed = sum(gateway.exposed for gateway in getattr(self, "gateways", []))
        assert exposed <= getattr(self, "posted", 0)

    def balance(self, paid, released=0):
        return BalanceUpdate(
            account="alice", available_nano_usd=0, booked_nano_usd=0, posted_nano_usd=self.posted,
            paid_nano_usd=paid, released_nano_usd=released, seq=self.seq,
        )  # fmt: skip

    def _book(self, gateway, rows=None):
        booked = gateway.rows[:rows]
        del gateway.rows[:rows]
        paid = released = 0
        for hold, cost in booked:
            if cost is None:
                assert self.pending + hold <= self.posted, "the ledger would refuse the hold"
                self.pending += hold
            else:
                self.pending -= hold
                self.posted -= cost
                paid, released = paid + cost, released + hold - cost
        self.seq += len(booked)
        return self.balance(paid, released)

    def _living(self, index):
        return self.gateways[index] if self.gateways[index].alive else None


@pytest.fixture
def world(redis):
    with redis_client.Redis(port=redis.port) as client:
        made = SharedCredit()
        made.client = client
        made.begin(1000, True)
        yield made


def test_an_old_balance_grants_nothing_after_a_booking(world):
    world.spend(1, 0)
    world.ask_and_hear(0, 0)
    world.look(0)
    world.spend(1, 400)
    world.hear_news(0)  # of before
    world.ask(0, 601, False, False)
    world.what_may_be_charged_is_there()
    world.ask_until_nobody_hoards()
    assert world.gateways[0].budget.reserve("alice", 600)


def test_an_old_balance_grants_nothing_after_redis_forgot_the_booking(world):
    world.look(0)
    world.spend(1, 400)
    world.restart(1)
    world.redis_forgets()
    world.hear_news(0)  # of before
    for index in (1, 2, 1, 2, 0, 0):
        world.ask(index, 0 if index else 601, False, False)
    world.what_may_be_charged_is_there()
    world.ask_until_nobody_hoards()
    assert world.gateways[0].budget.reserve("alice", 600)


def test_what_the_ledger_still_has_on_hold_is_lent_to_nobody_else(world):
    world.ask_and_hear(0, 600)
    world.reserve(0, 600)
    world.book(0)
    world.settle(0, 10)
    assert not world.lends(0, 1, 600)
    assert world.gateways[0].budget.reserve("alice", 540)
    world.gateways[0].budget.withdraw("alice", 540)
    world.book(0)
    assert world.lends(0, 1, 600)


def test_what_may_be_charged_is_there(redis, caplog):
    caplog.set_level(logging.ERROR, logger="tollgate")
    with redis_client.Redis(port=redis.port) as client:
        machine = type("SharedCredit", (SharedCredit,), {"client": client})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=150, stateful_step_count=40, deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )  # fmt: skip
