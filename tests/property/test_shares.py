"""Shares of one limit, held by members that die and answers that are lost, against a plain pool."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metering.limits import REFUSED, Limits
from metering.limits_window import SLOT_NS
from metering.redis_pools import SCRIPT
from metering.shared_limits import SharedKeyLimits
from metering.shares import NOWHERE, SHARED_WINDOW_SLOTS, Grant

MINUTE_NS = 60_000_000_000
MEMBERS = 3
TOKENS = st.integers(1, 60)


class Pool:
    """What every member said of every slot."""

    def __init__(self, limit):
        self.limit = limit
        self.taken = {}

    def free(self, slot):
        oldest = slot - SHARED_WINDOW_SLOTS
        return self.limit - sum(n for (_, at), n in self.taken.items() if at > oldest)

    def answer(self, member, said, slot):
        for at, taken in said.earlier:
            self.taken[member, at] = taken
        if said.label == slot:
            self.taken[member, slot] = said.used + said.keep
        elif said.label != NOWHERE:
            self.taken[member, said.label] = said.used
            self.taken[member, slot] = said.keep
        free, demand = self.free(slot), said.demand
        given = 0
        if demand.total and free >= demand.least:
            given = max(0, min(free, demand.total))
        if given or not demand.least:
            given += max(0, min(demand.extra, (free - given) // 4))
        self.taken[member, slot] = self.taken.get((member, slot), 0) + given
        return Grant(given, False, False, free - given)


class Request:
    def __init__(self, member, slot, tokens, at_ns):
        self.member = member
        self.slot = slot
        self.bound = self.tokens = tokens
        self.at_ns = at_ns
        self.open = True


class SharesMachine(RuleBasedStateMachine):
    @initialize(limit=st.integers(1, 200), start_ns=st.integers(0, 10**12))
    def begin(self, limit, start_ns):
        self.limit, self.now_ns = limit, start_ns
        self.pool = Pool(limit)
        self.members = [self._new_member() for _ in range(MEMBERS)]
        self.lives = list(range(MEMBERS))
        self.requests = []

    @rule(step_ns=st.one_of(st.integers(0, 2 * SLOT_NS), st.integers(0, 2 * MINUTE_NS)))
    def time_passes(self, step_ns):
        self.now_ns += step_ns

    @rule(index=st.integers(0, MEMBERS - 1), tokens=TOKENS)
    def take(self, index, tokens):
        member = self.members[index]
        slot = member.take(tokens, self.now_ns)
        if slot != REFUSED:
            self.requests.append(Request(member, slot, tokens, self.now_ns))

    @rule(index=st.integers(0, MEMBERS - 1), tokens=TOKENS)
    def want_and_take(self, index, tokens):
        self.members[index].need(tokens)
        self._exchange(index)
        self.take(index, tokens)

    @rule(
        index=st.integers(0, MEMBERS - 1), way_ns=st.integers(0, 3 * SLOT_NS),
        heard=st.booleans(), answered=st.booleans(), tokens=TOKENS,
    )  # fmt: skip
    def ask(self, index, way_ns, heard, answered, tokens):
        """Something is taken while the question is under way; it or its answer may be lost."""
        self._exchange(index, way_ns, heard, answered, tokens)

    @precondition(lambda self: any(request.open for request in self.requests))
    @rule(data=st.data(), share=st.integers(0, 100), refused=st.booleans())
    def end(self, data, share, refused):
        request = data.draw(st.sampled_from([r for r in self.requests if r.open]))
        used = 0 if refused else request.bound * share // 100
        if refused:
            request.member.withdraw(request.slot, request.bound)
        else:
            request.member.settle(request.slot, request.bound, used, 1)
        request.tokens, request.open = used, False

    @rule(index=st.integers(0, MEMBERS - 1))
    def die(self, index):
        """What it had leased counts until its minute has passed."""
        self.members[index] = self._new_member()
        self.lives[index] = max(self.lives) + 1

    @rule()
    def all_of_it_can_be_had_in_the_end(self):
        for _ in range(2):
            for index, member in enumerate(self.members):
                member.expire()
                self._exchange(index)
        self.now_ns += (SHARED_WINDOW_SLOTS + 1) * SLOT_NS
        self.members[0].need(self.limit)
        self._exchange(0)
        self.take(0, self.limit)
        assert self.requests[-1].tokens == self.limit
        assert self.requests[-1].at_ns == self.now_ns

    @invariant()
    def no_minute_holds_more_than_the_limit(self):
        for first in getattr(self, "requests", []):
            minute = [r for r in self.requests if 0 <= r.at_ns - first.at_ns < MINUTE_NS]
            assert sum(request.tokens for request in minute) <= self.limit

    def _new_member(self):
        limits = Limits(tokens_per_minute=self.limit)
        return SharedKeyLimits("key", limits, limits, set())

    def _exchange(self, index, way_ns=0, heard=True, answered=True, tokens=0):
        member, sent_ns = self.members[index], self.now_ns
        (share,) = member.rates
        member.lapse(sent_ns)
        said = share.state(True)
        self.now_ns += way_ns
        slot = self.now_ns // SLOT_NS
        grant = self.pool.answer(self.lives[index], said, slot) if heard else None
        if tokens:
            self.take(index, tokens)
        if grant is not None and answered:
            left_ns = (slot + 1) * SLOT_NS - self.now_ns
            share.apply(said, grant, slot, self.now_ns)
            member.leased(slot, sent_ns + left_ns + SLOT_NS)


def test_what_is_leased_in_one_second_and_taken_in_the_next_counts_for_a_minute_from_then():
    machine = SharesMachine()
    machine.begin(10, SLOT_NS // 2)
    machine.members[0].need(10)
    machine._exchange(0)
    machine.now_ns = 2 * SLOT_NS - 1
    machine.take(0, 10)
    machine.now_ns += MINUTE_NS - 1
    machine.want_and_take(1, 10)
    assert [request.tokens for request in machine.requests] == [10]
    machine.now_ns += 2
    machine.want_and_take(1, 10)
    assert [request.tokens for request in machine.requests] == [10, 10]


def test_redis_counts_as_many_slots_as_the_model():
    assert f"local WINDOW_SLOTS = {SHARED_WINDOW_SLOTS} " in SCRIPT.read_text()


TestShares = SharesMachine.TestCase
TestShares.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
