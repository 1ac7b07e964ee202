"""The nodes that one request is tried on: asked, failed, gone on from, and the charge closed.

The part of an `Exchange` below its events. Until something of an answer was passed on, another node
is simply asked the same. After that one goes on from where the stream broke off (`resume.py`),
where that can be; the client is told otherwise. `failover.nodes_max` bounds both together.
"""

from __future__ import annotations

from gateway import errors
from gateway.errors import ApiError
from gateway.exchange import answers
from gateway.exchange.actions import (
    Action,
    Dial,
    DialRival,
    DropRival,
    End,
    Record,
    Send,
    TakeRival,
)
from gateway.exchange.attempt import Attempt, Counted, Estimate, Lost, meter_of
from gateway.exchange.closing import closing
from gateway.exchange.failover import Failover
from gateway.exchange.resume import Resume
from gateway.exchange.sample import Sample
from gateway.exchange.state import State
from gateway.exchange.told_usage import with_usage
from gateway.openai.continuation import can_go_on
from gateway.openai.node_body import for_node
from gateway.openai.request import Question
from gateway.timeouts import NEVER_NS, Timeouts
from metering.charge import ChargeOutcome, Leg, OpenCharge, finished
from metering.limits import KeyPools
from metering.usage import Usage, UsageSource
from router.router import Lease, Router
from router.types import Decision, NodeRecord, Termination

PROGRESS_NS = 1_000_000_000
_DEFAULT = Failover()
_NEW, _DIALLED, _SETTLING = State.NEW, State.DIALLED, State.SETTLING


class Tries:
    """Of one admitted request. `decision` names the first node to try; `estimate` counts tokens
    where a node reported none.
    """

    __slots__ = (
        "_body", "_estimate", "_failover", "_hedges", "_held", "_opened", "_progress_at_events",
        "_progress_at_ns", "_responded", "_resume", "_rival", "_router", "_timeouts", "_tried",
        "attempt", "attempts", "charge", "client_stalls", "deadline_ns", "first", "headed",
        "hedge_at_ns", "hedges", "keep_alive_at_ns", "legs", "limits", "lost", "outcome", "owed",
        "question", "resumes", "sample", "started_ns", "state", "usage", "usage_source",
    )  # fmt: skip

    attempt: Attempt
    """The node that is being asked, or was last: once it is started."""

    def __init__(
        self,
        charge: OpenCharge,
        question: Question,
        body: bytes,
        decision: Decision,
        router: Router,
        timeouts: Timeouts,
        estimate: Estimate,
        sample: Sample | None = None,
        limits: KeyPools | None = None,
        failover: Failover = _DEFAULT,
    ) -> None:
        self.charge = charge
        self.limits = limits
        """What the request's key has left of its limits; None if it has none."""
        self.question = question
        self.first = decision
        self.sample = sample
        self._body = body
        self._router = router
        self._timeouts = timeouts
        self._failover = failover
        self._hedges = failover.hedges
        self._estimate = estimate
        self._opened = not question.stream
        """The opening row is durable, or nothing leaves before one behind it is."""
        self._held: list[Action] = []
        """What the client is owed once the opening row is durable."""
        self.owed: list[Action] = []
        """What it is owed once the closing row is."""
        self.state = _NEW
        self.started_ns = 0
        self.deadline_ns: int | None = None
        """When `expired` is due; None while nothing is waited for."""
        self.keep_alive_at_ns = NEVER_NS
        """When to look whether the client must be told that we are still here."""
        self.hedge_at_ns = NEVER_NS
        """When to see whether the first token is late."""
        self.headed = False
        """A stream's head was passed on."""
        self._responded = False
        """Something of the answer was, so no other node is asked the same."""
        self.client_stalls = False
        """It does not read: nor is what a node says to be read."""
        self.attempts = self.resumes = self.hedges = 0
        """Nodes asked; those of them that were to go on with a stream, or asked beside another."""
        self.lost: tuple[Lost, ...] = ()
        """What came of the other nodes' tries, once it is known."""
        self.legs: tuple[Leg, ...] = ()
        """What each node before the last delivered of a stream that was charged."""
        self._tried: tuple[str, ...] = ()
        self._rival: Attempt | None = None
        """The node that was asked beside: the first of both to say something is the one."""
        self._resume: Resume | None = None
        """How the stream goes on, once a node failed in it."""
        self._progress_at_events, self._progress_at_ns = 1, 0
        self.outcome: ChargeOutcome | None = None
        self.usage: Usage | None = None
        self.usage_source: UsageSource | None = None

    @property
    def ttft_ns(self) -> int | None:
        """From the request's acceptance to the first byte of the answer."""
        answered = self.attempt if self._resume is None else self._resume
        first_byte_ns = answered.first_byte_ns
        return None if first_byte_ns is None else first_byte_ns - self.started_ns

    # -- the answer -------------------------------------------------------------------------------

    def _streamed(self, data: bytes) -> list[Action]:
        self._responded = True
        dropped = self._rival_dropped(self.attempt.first_byte_ns or self.started_ns)
        return [*dropped, *self._stream_head(), Send(data)]

    def _stream_head(self) -> list[Action]:
        if self.headed:
            return []
        self.headed = True
        return [answers.STREAM_HEAD]

    def _answered_stream(self, now_ns: int, usage_event: bytes = b"") -> list[Action]:
        self.owed = [*self._streamed(usage_event + answers.DONE_LINE), End()]
        counted = self.attempt.counted_stream()
        return self._settle(ChargeOutcome.COMPLETED, Termination.COMPLETED, counted, now_ns)

    # -- asking -----------------------------------------------------------------------------------

    def _dial(self, decision: Decision, now_ns: int) -> Dial:
        node = decision.node
        assert node is not None, "a refused decision is admission's to answer"
        self._tried += (node.node_id,)
        if self.sample is not None:
            self.sample.clear()  # another node's bytes
        self.attempts += 1
        return self._ask(node, self._router.start(decision), now_ns)

    def _ask(self, node: NodeRecord, lease: Lease, now_ns: int) -> Dial:
        self.attempt, path, body = self._made(node, lease, now_ns)
        self.state = _DIALLED
        if not self.client_stalls:
            self.deadline_ns = now_ns + self._timeouts.first_byte_ns
        self._progress_at_ns = now_ns + PROGRESS_NS
        return Dial(node, path, body)

    def _made(self, node: NodeRecord, lease: Lease, now_ns: int) -> tuple[Attempt, str, bytes]:
        """A try at a node: where to post what."""
        question, resume = self.question, self._resume
        served_model = node.served_model or node.model
        if resume is None:
            is_vllm, stream = node.engine == "vllm", question.stream
            ids = stream and is_vllm and self._failover.resume and can_go_on(question)
            meter = meter_of(question, node, keep_ids=ids) if stream else None
            path = question.endpoint.path
            body = for_node(
                question, self._body, served_model=served_model, is_vllm=is_vllm, ids=ids
            )
        else:
            meter = None if resume.unsure else resume.meter()
            path, body = resume.asks(served_model)
            self._progress_at_events = 1
        attempt = Attempt(node, lease, question, self._estimate, meter)
        attempt.dialled_ns = now_ns
        return attempt, path, body

    def _next(self, now_ns: int, unfit: frozenset[str] = frozenset()) -> Decision | None:
        """The choice of another node; None if enough were tried."""
        if self.attempts >= self._failover.nodes_max:
            return None
        excluded = unfit.union(self._tried)
        return self._router.choose(self.first.ask.features, now_ns, excluded)

    # -- two at once ------------------------------------------------------------------------------

    def hedge(self, now_ns: int) -> list[Action]:
        """`hedge_at_ns` came: if nothing was heard yet, another node is asked too."""
        self.hedge_at_ns = NEVER_NS
        waits = self.state is State.DIALLED or self.state is State.ANSWERING
        if not waits or self._resume is not None or self.attempt.first_byte_ns is not None:
            return []
        decision = self._next(now_ns)
        if decision is None or decision.node is None:
            return []
        if self._hedges is None or not self._hedges.take():
            return []
        node = decision.node
        self._tried += (node.node_id,)
        self.attempts += 1
        self.hedges += 1
        self._rival, path, body = self._made(node, self._router.start(decision), now_ns)
        return [DialRival(node, path, body)]

    def rival_head(self) -> None:
        """Its status is 200."""
        if self._rival is not None:
            self._rival.status = 200

    def rival_answers(self, now_ns: int) -> bool:
        """If it was the first to say something, what comes from it is the answer: the driver lets
        go of the other.
        """
        rival, late = self._rival, self.attempt
        if rival is None:
            return False
        self._saw(late, now_ns)
        self._lose(late, Termination.CLIENT_GONE, now_ns)
        self._rival, self.attempt = None, rival
        self.state = State.ANSWERING
        return True

    def rival_failed(self, termination: Termination, now_ns: int) -> None:
        if self._rival is not None:
            self._lose(self._rival, termination, now_ns)
            self._rival = None

    def _rival_dropped(self, now_ns: int) -> list[Action]:
        if self._rival is None:
            return []
        self._saw(self._rival, now_ns)
        self.rival_failed(Termination.CLIENT_GONE, now_ns)
        return [DropRival()]

    def _saw(self, attempt: Attempt, now_ns: int) -> None:
        """How long the first token of a stream took, or was waited for."""
        if self._hedges is not None:
            took_ns = (attempt.first_byte_ns or now_ns) - attempt.dialled_ns
            features = self.first.ask.features
            self._hedges.saw(features.model, features.prompt_tokens, took_ns)

    # -- failure ----------------------------------------------------------------------------------

    def _node_gone(self, termination: Termination, now_ns: int) -> list[Action]:
        """The node failed us: ask the next one, or have it go on with what the client saw."""
        if self._responded:
            if self.attempt.meter.closing is not None:
                return self._answered_stream(now_ns)
            return self._broken(termination, now_ns)
        self._lose(self.attempt, termination, now_ns)
        if self._rival is not None:
            self.attempt, self._rival = self._rival, None
            self.state = State.ANSWERING if self.attempt.status else State.DIALLED
            self.deadline_ns = now_ns + self._timeouts.first_byte_ns
            return [TakeRival()]
        return self._try_next_node(now_ns, termination)

    def _lose(self, attempt: Attempt, termination: Termination, now_ns: int) -> None:
        attempt.release(termination, now_ns, self.started_ns)
        self.lost += (Lost(attempt, termination, now_ns),)

    def _broken(self, termination: Termination, now_ns: int) -> list[Action]:
        """A node failed in the stream."""
        attempt, resume = self.attempt, self._resume
        if resume is None:
            tokens_max = self.first.ask.features.completion_tokens_max
            resume = Resume(self.question, self._body, tokens_max)
        if not resume.take(attempt):
            return self._broken_off(termination, now_ns)
        if resume.finished:
            self._resume = resume
            return self._answered_stream(now_ns, resume.usage_event())
        nodes = self._router.nodes(now_ns)
        unfit = frozenset(view.node.node_id for view in nodes if view.node.engine != "vllm")
        decision = self._next(now_ns, unfit)
        if decision is None or decision.node is None:
            return self._broken_off(termination, now_ns)
        self._lose(attempt, termination, now_ns)
        self._resume, self.sample = resume, None
        self.resumes += 1
        progress = resume.progress(self.charge.charge_id, attempt)
        noted = [] if progress is None else [Record(progress, awaited=False)]
        return [*noted, self._dial(decision, now_ns)]

    def _probed(self, now_ns: int) -> list[Action]:
        """The node told the text of the last ids: it may go on, or is asked once more."""
        attempt, resume = self.attempt, self._resume
        assert resume is not None, "only a seam is probed"
        if not resume.probed(attempt.body):
            return self._node_gone(Termination.NODE_ERROR, now_ns)
        return [self._ask(attempt.node, attempt.lease, now_ns)]

    def _broken_off(self, termination: Termination, now_ns: int) -> list[Action]:
        """Nobody can go on. What was delivered is charged, but to an aggregator, whose user does
        not pay for what ends in an error; what ends in a failure that the only node reported is
        free.
        """
        error = errors.node_failed(
            "The node that was answering failed in the middle of the stream. "
            "What was delivered stands; please send the request again."
        )
        self.owed = self._failure(error, now_ns, in_stream=True)
        if termination is Termination.NODE_ERROR and self._resume is None:
            return self._settle(ChargeOutcome.NODE_ERROR, termination, None, now_ns)
        counted = self.attempt.counted_stream()
        if self.question.usage_always:
            self._resume = counted = None
        return self._settle(ChargeOutcome.NODE_BROKEN, termination, counted, now_ns)

    def _try_next_node(self, now_ns: int, last: Termination) -> list[Action]:
        decision = self._next(now_ns)
        if decision is not None and decision.node is not None:
            return [self._dial(decision, now_ns)]
        if last is Termination.NODE_ERROR:
            message = f"The model's server failed ({self.attempts} tried)."
            error = self.attempt.unserved() or errors.node_failed(message)
            return self._fail(error, ChargeOutcome.NODE_ERROR, last, now_ns)
        error = errors.no_capacity(self.question.model, decision.retry_after_ns if decision else 0)
        timed_out = last is Termination.TIMEOUT
        outcome = ChargeOutcome.TIMED_OUT if timed_out else ChargeOutcome.NO_CAPACITY
        return self._fail(error, outcome, last, now_ns)

    def _fail(
        self, error: ApiError, outcome: ChargeOutcome, termination: Termination, now_ns: int
    ) -> list[Action]:
        self.owed = self._failure(error, now_ns, in_stream=self.headed)
        return self._settle(outcome, termination, None, now_ns)

    def _failure(self, error: ApiError, now_ns: int, *, in_stream: bool) -> list[Action]:
        if in_stream:
            return [answers.failure_event(error, self.charge, self.question.endpoint), End()]
        return [answers.refusal(error, now_ns - self.started_ns), End()]

    # -- the end ----------------------------------------------------------------------------------

    def _settle(
        self,
        outcome: ChargeOutcome,
        termination: Termination,
        counted: Counted | None,
        now_ns: int,
    ) -> list[Action]:
        """Close the charge and wait for that to be durable."""
        assert self.outcome is None, f"charge {self.charge.charge_id} closed twice"
        attempt = self.attempt
        attempt.release(termination, now_ns, self.started_ns)
        if self._hedges is not None and attempt.first_byte_ns is not None and attempt.streams:
            self._saw(attempt, now_ns)
        dropped = [] if self._rival is None else self._rival_dropped(now_ns)
        self.state, self.deadline_ns = _SETTLING, None
        resume = self._resume
        close = closing(
            self.charge,
            attempt,
            outcome,
            counted,
            resume,
            started_ns=self.started_ns,
            now_ns=now_ns,
            first_byte_ns=attempt.first_byte_ns if resume is None else resume.first_byte_ns,
        )
        self.outcome = close.outcome
        self.usage, self.usage_source, self.legs = close.usage, close.usage_source, close.legs
        if self.question.tells_usage:
            record, event = finished(self.charge, close), attempt.meter.closing_event
            self.owed = with_usage(self.owed, record, self.question, event)
        return [*dropped, Record(close)]
