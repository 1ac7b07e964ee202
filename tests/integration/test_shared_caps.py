"""The rule of caps and free tokens, in any order of events: what is reserved and what was spent
never exceed the limit, in any cycle.

Real halves of gateways (till, spool, poster, tally), a real ledger; alone, or two over the real
script in a real Redis. Gateways die and recover, answers are lost, Redis forgets, cycles begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import shutil
import tempfile
from pathlib import Path

import pytest
import redis as redis_client
from books import closed, deposit, opened, progressed, used
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from lossy_pools import LossyPools
from memory_folder import MemoryFolder
from msgspec.structs import replace

from gateway.admission.sharing import Sharing
from gateway.admission.till import LedgerSource, Till
from metering import poster as poster_module
from metering.backend import open_database
from metering.budget import Budget
from metering.cycle import Cycle
from metering.limits import Limits, local_limiter
from metering.poster import Poster
from metering.prices import named_price
from metering.purse import FREE, Draw
from metering.purse_tally import PurseTally
from metering.purses import Purses
from metering.shared_budget import SharedBudget
from metering.shared_limits import shared_limiter
from metering.spool import Spool
from metering.sqlite_ledger import SqliteLedger

GATEWAYS = st.integers(0, 1)
AMOUNT = st.integers(1, 400)
CAP, PARENT_CAP, FREE_TOKENS = 700, 1000, 500
HOUR_NS = 3_600_000_000_000
START_NS = 20_000 * 24 * HOUR_NS
PRICE = named_price(0, 0, 1)


class Rows:
    """What a till appends to: durable at once."""

    def __init__(self, spool):
        self.append = lambda row, _: spool.commit([row])


class Gateway:
    """Its spool outlives it."""

    def __init__(self, world, index):
        self.world = world
        self.folder = world.folder / str(index)
        self.folder.mkdir()
        self.files = MemoryFolder()
        self.begin()

    def begin(self):
        self.alive = True
        self.open = {}
        self.spool = Spool(self.folder, folder=self.files)
        self.spool.recover(self.world.now_ns)
        self.spool.start(lambda call: call())
        self.budget = SharedBudget(lambda name: self.purses.until_s(name))
        if self.world.client is None:
            self.budget = Budget()
        self.purses = Purses(lambda name: self.poster.refresh(name), self.budget.forget)
        tally = PurseTally(self.world.database, self.purses.get)
        self.poster = Poster(self.spool, self.world.ledger, self.budget.update, tally=tally)
        self.poster.resume()
        self.poster.catch_up()
        limiter, source = local_limiter(), LedgerSource(self.poster, self.budget)
        if self.world.client is not None:
            limiter = shared_limiter(Limits(), set())
            source = self._share(limiter)
        self.till = Till(
            spool=Rows(self.spool), poster=self.poster, budget=self.budget, limiter=limiter,
            source=source, purses=self.purses,
        )  # fmt: skip

    def _share(self, limiter):
        async def register():
            return list(self.world.writers)

        async def refresh(name):
            self.poster.refresh(name)
            self.hear()

        self.world.writers.add(self.spool.writer)
        self.wire = LossyPools(self.world.client)
        self.sharing = Sharing(
            self.wire, limiter, set(), self.budget, writer=self.spool.writer, register=register,
            refresh=refresh, serves_on_leases=True,
        )  # fmt: skip
        self.sharing.drop(self.spool.writer, self.world.ledger.last_seq())
        self.sharing.settled = True
        return self.sharing

    def hear(self):
        """A round of the poster's thread."""
        self.poster.catch_up()
        self.poster._hear_questions()
        self.poster._tell()
        self.poster._answer(None)

    def find(self, charge):
        """More of what the charge needs, as admission would have it found."""
        for name, amount in [("alice", charge.hold_nano_usd), *map(tuple_of, charge.draws)]:
            if self.world.client is not None:
                self.budget.need(self.budget.share(name), amount)
                if not self.budget.share(name).stale:
                    continue
            self.poster.refresh(name)
        self.hear()
        self.ask()

    def ask(self):
        if self.world.client is not None:
            asyncio.run(self.sharing.step())

    def die(self):
        self.alive = False
        self.poster.stop()
        self.spool.close()


def tuple_of(draw):
    return draw.purse, draw.amount


class Caps(RuleBasedStateMachine):
    client: redis_client.Redis | None
    template: Path

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="tollgate-caps-"))
        shutil.copy(self.template, self.folder / "ledger.db")
        self.ledger = SqliteLedger(self.folder / "ledger.db")
        self.database = open_database(self.folder / "ledger.db")
        self.ledger.post("test", [deposit("alice", 10**12)])
        for key, parent in (("parent", None), ("sub", "parent")):
            self.database.query(
                "INSERT INTO api_key (key_id, account, name, digest, created_ns, parent_key_id)"
                " VALUES (?, 'alice', '', ?, 0, ?)", key, key.encode(), parent,
            )  # fmt: skip
        self.names = (f"c{i}" for i in itertools.count())
        self.now_ns = START_NS
        self.writers = set()
        self.charges = {}
        """What each takes now of which purses."""
        self.limits = {}
        self.gateways = []

    def teardown(self):
        for gateway in self.gateways:
            if gateway.alive:
                gateway.die()
        self.database.close()
        self.ledger.close()
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self):
        if self.client is not None:
            self.client.flushall()
        self.gateways = [Gateway(self, i) for i in range(1 if self.client is None else 2)]
        for gateway in self.gateways * 2:
            gateway.ask()

    @rule(index=GATEWAYS, amount=AMOUNT, key=st.sampled_from(["sub", "parent"]), free=st.booleans())
    def reserve(self, index, amount, key, free):
        gateway = self.living(index)
        if gateway is None:
            return
        charge = self.charge(gateway, amount, key, free)
        shortage = gateway.till.reserve(charge, None, amount, 0)
        if shortage is not None:
            gateway.find(charge)
            shortage = gateway.till.reserve(charge, None, amount, 0)
        if shortage is None:
            gateway.till.record(charge, None)
            gateway.open[charge.charge_id] = charge
            self.charges[charge.charge_id] = {draw.purse: draw.amount for draw in charge.draws}

    def charge(self, gateway, amount, key, free):
        purses = gateway.purses
        if free:
            drawn = [purses.free("alice", "tiny", FREE_TOKENS, self.now_ns)]
        else:
            drawn = [purses.cap("parent", PARENT_CAP, Cycle.DAILY, self.now_ns)]
            if key == "sub":
                drawn.insert(0, purses.cap("sub", CAP, Cycle.EIGHT_HOURS, self.now_ns))
        self.limits.update({purse.name: purse.limit for purse in drawn})
        return replace(
            opened(next(self.names), hold=0 if free else amount), key_id=key,
            price=FREE if free else PRICE, created_ns=self.now_ns,
            draws=tuple(Draw(purse.name, amount) for purse in drawn),
        )  # fmt: skip

    @rule(index=GATEWAYS, percent=st.integers(0, 130))
    def settle(self, index, percent):
        gateway = self.living(index)
        if gateway and gateway.open:
            name, charge = gateway.open.popitem()
            bound = charge.draws[0].amount
            used_tokens = bound * (percent if charge.price is PRICE else min(percent, 100)) // 100
            usage = used(used_tokens, prompt=0) if used_tokens else None
            gateway.till.record(closed(name, usage), None)
            self.charges[name] = {draw.purse: min(bound, used_tokens) for draw in charge.draws}

    @rule(index=GATEWAYS, percent=st.integers(1, 100))
    def make_progress(self, index, percent):
        gateway = self.living(index)
        if gateway and gateway.open:
            name, charge = next(iter(gateway.open.items()))
            tokens = charge.draws[0].amount * percent // 100
            progress = progressed(name, tokens)
            gateway.spool.commit([replace(progress, usage=used(tokens, prompt=0))])

    @rule(index=GATEWAYS)
    def book(self, index):
        if gateway := self.living(index):
            gateway.hear()

    @rule(index=GATEWAYS)
    def look(self, index):
        """The ledger was written to by somebody."""
        if gateway := self.living(index):
            gateway.poster._polled_at = 0
            gateway.poster._poll()
            gateway.hear()

    @rule(index=GATEWAYS, question_lost=st.booleans(), answer_lost=st.booleans())
    def ask(self, index, question_lost, answer_lost):
        if (gateway := self.living(index)) and self.client is not None:
            gateway.wire.question_lost, gateway.wire.answer_lost = question_lost, answer_lost
            gateway.ask()
            gateway.wire.question_lost = gateway.wire.answer_lost = False

    @rule(hours=st.sampled_from([1, 8, 24, -1]))
    def time_passes(self, hours):
        self.now_ns += hours * HOUR_NS

    @rule()
    def redis_forgets(self):
        if self.client is not None:
            self.client.flushall()

    @rule(index=GATEWAYS)
    def die(self, index):
        if gateway := self.living(index):
            gateway.die()

    @rule(index=GATEWAYS)
    def come_back(self, index):
        for gateway in self.gateways[index : index + 1]:
            if not gateway.alive:
                dead = gateway.open
                gateway.begin()
                records = {record.charge_id: record for record in self.ledger.charges()}
                for name, charge in dead.items():
                    record = records[name]
                    tokens = record.completion_tokens
                    spent = tokens if charge.price is FREE else record.charged_nano_usd
                    self.charges[name] = {draw.purse: spent for draw in charge.draws}

    @rule(key=st.sampled_from(["sub", "parent"]), free=st.booleans())
    def all_that_is_left_can_be_had_in_the_end(self, key, free):
        for index, gateway in enumerate(self.gateways):
            self.come_back(index)
            while gateway.open:
                self.settle(index, 50)
        first = self.gateways[0]
        probe = self.charge(first, 1, key, free)
        left = min(self.limits[d.purse] - self.taken().get(d.purse, 0) for d in probe.draws)
        if left == 0:
            return
        wanted = replace(
            probe, hold_nano_usd=0 if free else left,
            draws=tuple(Draw(draw.purse, left) for draw in probe.draws),
        )  # fmt: skip
        for _ in range(4):
            for gateway in reversed(self.gateways):
                gateway.find(replace(wanted, hold_nano_usd=0, draws=()))
            first.find(wanted)
        with contextlib.suppress(KeyError):
            del self.charges[wanted.charge_id]
        assert first.till.reserve(wanted, None, left, 0) is None
        first.till.record(wanted, None)
        first.open[wanted.charge_id] = wanted
        self.charges[wanted.charge_id] = {draw.purse: left for draw in wanted.draws}

    @invariant()
    def no_limit_is_passed(self):
        for purse, taken in self.taken().items():
            assert taken <= self.limits[purse], purse

    def taken(self):
        sums = {}
        for draws in self.charges.values():
            for purse, amount in draws.items():
                sums[purse] = sums.get(purse, 0) + amount
        return sums

    def living(self, index):
        found = self.gateways[index : index + 1]
        return found[0] if found and found[0].alive else None


@pytest.fixture
def machine(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.ERROR, logger="tollgate")
    monkeypatch.setattr(poster_module, "GATHER_S", 0)
    SqliteLedger(tmp_path / "template.db").close()
    return lambda client: type(
        "Caps", (Caps,), {"client": client, "template": tmp_path / "template.db"}
    )


def run(machine, examples):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )  # fmt: skip


def test_one_gateway_never_passes_a_limit(machine):
    run(machine(None), 60)


def test_two_gateways_never_pass_a_limit(machine, redis):
    with redis_client.Redis(port=redis.port) as client:
        run(machine(client), 40)
