"""The limits of a key against the plainest model of them: a list of all that was ever taken."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metering.limits import REFUSED, KeyLimits, LimitKind, Limits

MINUTE_NS = 60_000_000_000


class Request:
    def __init__(self, slot, at_ns, tokens):
        self.slot = slot
        self.at_ns = at_ns
        self.tokens = tokens
        self.requests = 1
        self.open = True


class LimitsMachine(RuleBasedStateMachine):
    @initialize(
        rpm=st.integers(1, 6), tpm=st.integers(1, 300), at_once=st.integers(1, 4),
        start_ns=st.integers(0, 10**12),
    )  # fmt: skip
    def begin(self, rpm, tpm, at_once, start_ns):
        self.rpm, self.tpm, self.at_once, self.now_ns = rpm, tpm, at_once, start_ns
        limits = Limits(requests_per_minute=rpm, tokens_per_minute=tpm, concurrent_requests=at_once)
        self.key = KeyLimits(limits, limits)
        self.requests = []

    @rule(step_ns=st.one_of(st.integers(0, 3 * 10**9), st.integers(0, 2 * MINUTE_NS)))
    def time_passes(self, step_ns):
        self.now_ns += step_ns

    @rule(tokens=st.integers(0, 320))
    def take(self, tokens):
        slot = self.key.take(tokens, self.now_ns)
        places = self.at_once - sum(request.open for request in self.requests)
        requests = self.rpm - sum(request.requests for request in self._counted())
        free = self.tpm - sum(request.tokens for request in self._counted())
        if slot != REFUSED:
            assert min(places, requests) >= 1
            assert free >= tokens
            self.requests.append(Request(slot, self.now_ns, tokens))
            return
        short = self.key.shortage(tokens, self.now_ns)
        expected = {
            LimitKind.CONCURRENCY: (places, 1),
            LimitKind.REQUESTS: (requests, 1),
            LimitKind.TOKENS: (free, tokens),
        }[short.kind]
        assert (short.free, short.asked) == expected
        assert short.free < short.asked
        assert (short.wait_ns is None) == (short.asked > short.limit)

    @rule(tokens=st.integers(0, 320))
    def what_is_refused_fits_after_the_wait_that_was_told(self, tokens):
        if any(request.open for request in self.requests):
            return
        slot = self.key.take(tokens, self.now_ns)
        if slot == REFUSED:
            wait_ns = self.key.shortage(tokens, self.now_ns).wait_ns
            if wait_ns is None:
                return
            assert self.key.take(tokens, self.now_ns + wait_ns - 1) == REFUSED
            self.now_ns += wait_ns
            slot = self.key.take(tokens, self.now_ns)
        assert slot != REFUSED
        self.requests.append(Request(slot, self.now_ns, tokens))

    @precondition(lambda self: any(request.open for request in self.requests))
    @rule(data=st.data(), share=st.integers(0, 100))
    def settle(self, data, share):
        request = self._pick(data)
        used = request.tokens * share // 100
        self.key.settle(request.slot, request.tokens, used, self.now_ns - request.at_ns)
        request.tokens = used
        request.open = False

    @precondition(lambda self: any(request.open for request in self.requests))
    @rule(data=st.data())
    def withdraw(self, data):
        request = self._pick(data)
        self.key.withdraw(request.slot, request.tokens)
        request.tokens = request.requests = 0
        request.open = False

    @invariant()
    def no_minute_holds_more_than_the_limit(self):
        for first in getattr(self, "requests", []):
            minute = [r for r in self.requests if 0 <= r.at_ns - first.at_ns < MINUTE_NS]
            assert sum(request.requests for request in minute) <= self.rpm
            assert sum(request.tokens for request in minute) <= self.tpm

    def _counted(self):
        """What was taken in this second or the sixty before it."""
        oldest = self.now_ns // 10**9 - 60
        return [request for request in self.requests if request.at_ns // 10**9 >= oldest]

    def _pick(self, data):
        return data.draw(st.sampled_from([request for request in self.requests if request.open]))


TestLimits = LimitsMachine.TestCase
TestLimits.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
