"""What the router knows of one node id, whether or not it is listed at the moment."""

from typing import NamedTuple

import msgspec

from router.conduct import Conduct
from router.ejection import GOOD
from router.fleet import Fleet
from router.pace import UNKNOWN, after_answer, after_first_token
from router.types import NEVER_NS, Beside, Load, NodeRecord, NodeView

FORGET_NS = 600_000_000_000
"""How long after its back-off an ejected node that is gone is still remembered: 10 min."""
_MEASURED_TOKENS_MIN = 8
"""An answer of fewer tokens tells nothing of how fast they come."""

SAME_STEP_NS = 1_500_000
"""First tokens that come within it are of one step of the engine, and their prompts one sample."""

WARM = 8
"""First tokens and ends of answers after which a new node, or one that was ejected, is as any."""
_WARMING_REQUESTS = 4
"""That it may have at once until then, and so many more for each of those."""

NEAR_NS = 20e6
"""What a first token takes beside the network and the prompt, of a node that nobody asked yet."""
_STRANGERS_PROMPT_TOKENS = 1_000
"""Of a request that somebody else sent, and that waits."""
_NOBODY = Beside(0, 0)
_RTT_SHARE = 0.125
"""How much a round trip counts that took longer than those before."""

WELL_KNOWN = 40
"""Samples."""


class _FirstTokens(NamedTuple):
    """Of one step."""

    at_ns: int
    tokens: int
    """Of the prompts that were computed."""
    took_ns: int
    was_idle: bool


class KnownNode:
    __slots__ = (
        "_answers", "_came", "_elsewhere", "_strangers", "answered_ns", "beside", "clear_at_ns",
        "conduct", "fleet", "health", "in_flight", "index", "load", "on_trial", "pace", "pending",
        "pending_tokens", "record", "rtt_ns", "sent_ns", "silent", "slot", "standing", "tokens",
        "warm",
    )  # fmt: skip

    def __init__(self, record: NodeRecord, conduct: Conduct) -> None:
        self.record = record
        self.conduct = conduct
        self.standing = conduct.weight
        """What its reputation makes of its score; 0: it is barred."""
        self.silent = 0
        """Streams that began and of which nothing comes at the moment: a policy that learns sends
        less to it. One that does not would send it nothing, and never learn that it stalls.
        """
        self.slot = 0
        self.in_flight = 0
        self.health = GOOD
        self.on_trial = False
        self.fleet: Fleet | None = None
        """The nodes of its model; None when it is not listed."""
        self.index = -1
        """Its place among those."""
        self.pace = UNKNOWN
        self.pending_tokens = 0
        self.clear_at_ns = 0
        self.pending: dict[object, int] = {}
        """Of what waits for its first token: when that is due, by who waits; the oldest first."""
        self._answers = 0
        self._came = _FirstTokens(0, 0, 0, True)
        self.sent_ns = 0
        self.tokens = 0
        self.load: Load | None = None
        self.rtt_ns = 0
        self.warm = 0
        self.beside: Beside | None = None
        self._strangers = _NOBODY
        self._elsewhere = _NOBODY
        """What other gateways have on it."""
        self.answered_ns = -NEVER_NS
        """When it last sent us a first token, or ended an answer well."""

    def view(self, learned: bool) -> NodeView:
        """`learned`: with what only a policy that learns looks at."""
        # At most 15 fields are told: one more, and making a view takes twice as long.
        if not learned:
            view = NodeView(
                node=self.record,
                in_flight=self.in_flight,
                ejections=self.health.ejections,
                ejected_until_ns=self.health.ejected_until_ns,
                on_trial=self.on_trial,
                standing=self.standing,
                beside=self.beside,
            )
        else:
            standing = self.standing / (1 + self.silent) if self.silent else self.standing
            view = NodeView(
                node=self.record,
                in_flight=self.in_flight,
                ejections=self.health.ejections,
                ejected_until_ns=self.health.ejected_until_ns,
                on_trial=self.on_trial,
                standing=standing,
                pace=self.pace,
                pending_tokens=self.pending_tokens,
                clear_at_ns=self.clear_at_ns,
                tokens=self.tokens,
                load=self.load,
                slot=self.slot,
                sent_ns=self.sent_ns,
                due_ns=next(iter(self.pending.values())) if self.pending else NEVER_NS,
                beside=self.beside,
            )
        if self.warm < WARM and self.in_flight >= _WARMING_REQUESTS * (1 + self.warm):
            return msgspec.structs.replace(view, warming=True)
        return view

    def forgettable(self, now_ns: int) -> bool:
        if self.in_flight:
            return False
        return not self.health.ejections or now_ns > self.health.ejected_until_ns + FORGET_NS

    # -- what is learned of it --

    def loaded(self, load: Load | None) -> None:
        """Its own counters were read, or could not be."""
        self.load = load
        strangers = _NOBODY
        if load is not None:
            if load.rtt_ns:
                self._reached(load.rtt_ns)
            count = load.waiting + load.running - self.in_flight - self._elsewhere.in_flight
            if count > 0:
                waiting = min(load.waiting, count)
                strangers = Beside(count, waiting * _STRANGERS_PROMPT_TOKENS)
        self._strangers = strangers
        self._add_up()

    def heard(self, elsewhere: Beside) -> None:
        """What other gateways have on it, all of them together."""
        self._elsewhere = elsewhere
        self._add_up()

    def _add_up(self) -> None:
        one, other = self._strangers, self._elsewhere
        beside = Beside(one.in_flight + other.in_flight, one.pending_tokens + other.pending_tokens)
        self.beside = beside if beside.in_flight else None

    @property
    def running(self) -> int:
        """All that runs on it, as far as is known."""
        return self.in_flight if self.beside is None else self.in_flight + self.beside.in_flight

    def _reached(self, rtt_ns: int) -> None:
        """A round trip took so long. The shortest tells the distance; more of them that it grew.

        Of a node that was never asked anything this is what its first token is forecast by.
        """
        known = self.rtt_ns
        if not known or rtt_ns < known:
            self.rtt_ns = rtt_ns
        else:
            self.rtt_ns = known + int((rtt_ns - known) * _RTT_SHARE)
        pace = self.pace
        if not pace.samples:
            base = NEAR_NS + self.rtt_ns
            prefill = msgspec.structs.replace(pace.prefill, base=base)
            self.pace = msgspec.structs.replace(pace, prefill=prefill)

    def sent(self, who: object, computed: int, now_ns: int) -> None:
        """It was sent a prompt, `computed` tokens of which it has not in its cache."""
        self.busy(computed, now_ns)
        self.pending_tokens += computed
        self.pending[who] = self.clear_at_ns + int(self.pace.prefill.base)

    def busy(self, computed: int, now_ns: int) -> None:
        """It has so much more to compute."""
        self.sent_ns = now_ns
        self.clear_at_ns = max(self.clear_at_ns, now_ns) + self._work_ns(computed, now_ns)

    def first_token(self, who: object, computed: int, sent_ns: int, now_ns: int) -> None:
        """The first token of a prompt came that was sent then."""
        self.unanswered(who, computed, now_ns)
        came = self._came
        if now_ns - came.at_ns < SAME_STEP_NS:
            self._came = came._replace(tokens=came.tokens + computed)
            return
        if came.tokens and not self._as_expected(came):
            self.pace = after_first_token(
                self.pace,
                tokens=came.tokens,
                took_ns=came.took_ns,
                was_idle=came.was_idle,
                now_ns=now_ns,
            )
        was_idle = came.at_ns <= sent_ns + self.pace.prefill.base
        took_ns = now_ns - (sent_ns if was_idle else came.at_ns)
        self._came = _FirstTokens(now_ns, computed, took_ns, was_idle)

    def unanswered(self, who: object, computed: int, now_ns: int) -> None:
        """A prompt that it was sent is no longer its: answered, lost, or nobody waits for it."""
        self.pending_tokens -= computed
        del self.pending[who]
        self.clear_at_ns = now_ns + self._work_ns(self.pending_tokens, now_ns)

    def answered(self, tokens: int, took_ns: int, beside: float) -> None:
        """An answer of so many tokens came, the first of which is not counted in `took_ns`."""
        self._answers += 1
        if self.pace.samples > WELL_KNOWN and self._answers & 3:
            return
        if tokens >= _MEASURED_TOKENS_MIN:
            self.pace = after_answer(self.pace, beside=beside, ns_per_token=took_ns / (tokens - 1))

    def _as_expected(self, came: "_FirstTokens") -> bool:
        """Of a node that is well known most samples only say so once more: three of four of those
        are spared the arithmetic.
        """
        pace = self.pace
        if pace.samples <= WELL_KNOWN or pace.slowdown > 1.01 or not self._answers & 3:
            return False
        expected = came.tokens * pace.prefill.slope + came.was_idle * pace.prefill.base
        return 0.7 * expected < came.took_ns < 1.4 * expected

    def _work_ns(self, tokens: int, now_ns: int) -> int:
        pace = self.pace
        return int(tokens * pace.prefill.slope * pace.slowdown_at(now_ns))
