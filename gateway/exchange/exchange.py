"""One proxied request, from admission to its last byte: a state machine without socket or clock.

Events come in as method calls, with the time where it matters; every method returns the actions
that the driver must carry out, in order. So every failure can be played byte by byte in a test, and
two drivers (ASGI, uvicorn protocol) give the same behaviour. `state.py` has its states.

While a node is silent, the client of a stream is told so (`keep_alive`), and then has its 200: what
fails after that is told inside the stream, but another node may still answer as long as nothing of
an answer was passed on.

What the client is owed last (`[DONE]`, a whole answer, an error) leaves only when the closing row
of the charge is durable, and nothing leaves before the opening row is. Rows become durable in their
order, so an answer that is not streamed waits for its closing row alone. A charge is closed exactly
once, whatever happens: `_settle` is the only place that does it.
"""

from __future__ import annotations

from gateway import errors
from gateway.errors import ApiError
from gateway.exchange import answers
from gateway.exchange.actions import Action, Dial, Drop, End, HangUp, Record, Respond, Send
from gateway.exchange.attempt import Attempt, Counted, Estimate
from gateway.exchange.closing import closing
from gateway.exchange.sample import Sample
from gateway.exchange.state import WAITING_FOR_NODE, State
from gateway.exchange.told_usage import with_usage
from gateway.openai import node_errors
from gateway.openai.node_body import for_node
from gateway.openai.request import Question
from gateway.timeouts import NEVER_NS, Timeouts
from metering.charge import ChargeOutcome, OpenCharge, finished
from metering.limits import KeyPools
from metering.stream_meter import MalformedStreamError, StreamMeter
from metering.usage import Usage, UsageSource
from router.router import Router
from router.types import Decision, Termination

ATTEMPTS_MAX = 3
"""Nodes tried for one request before the client is told."""

PROGRESS_EVENTS = 64
PROGRESS_NS = 1_000_000_000
_ANSWERING, _REFUSED = State.ANSWERING, State.REFUSED


class Exchange:
    """The life of one admitted request.

    `decision` names the first node to try; `estimate` counts tokens where a node reported none.
    """

    attempt: Attempt
    """The node that is being asked, or was last: once it is started."""

    # How every exchange begins, kept on the class: setting it costs no request anything.
    state = State.NEW
    outcome: ChargeOutcome | None = None
    usage: Usage | None = None
    usage_source: UsageSource | None = None
    attempts = 0
    started_ns = 0
    deadline_ns: int | None = None
    """When `expired` is due; None while nothing is waited for."""
    keep_alive_at_ns = NEVER_NS
    """When to look whether the client must be told that we are still here."""
    headed = False
    """A stream's head was passed on."""
    _responded = False
    """Something of the answer was, so no other node is tried."""
    _client_stalls = False
    _tried: tuple[str, ...] = ()
    _progress_at_events = 1
    _progress_at_ns = 0

    def __init__(
        self,
        charge: OpenCharge,
        question: Question,
        body: bytes,
        *,
        decision: Decision,
        router: Router,
        timeouts: Timeouts,
        estimate: Estimate,
        sample: Sample | None = None,
        limits: KeyPools | None = None,
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
        self._estimate = estimate
        self._opened = not question.stream
        """The opening row is durable, or nothing leaves before one behind it is."""
        self._held: list[Action] = []
        """What the client is owed once the opening row is durable."""
        self.owed: list[Action] = []
        """What it is owed once the closing row is."""

    @property
    def ttft_ns(self) -> int | None:
        """From the request's acceptance to the first byte of the answer."""
        first_byte_ns = self.attempt.first_byte_ns
        return None if first_byte_ns is None else first_byte_ns - self.started_ns

    # -- events -----------------------------------------------------------------------------------

    def start(self, now_ns: int) -> list[Action]:
        """Dial the node chosen at admission. The opening row goes out beside the dialling."""
        self.started_ns = now_ns
        if self.question.stream and self._timeouts.keep_alive_ns:
            self.keep_alive_at_ns = now_ns + self._timeouts.keep_alive_ns
        return [Record(self.charge, not self._opened), self._dial(self.first, now_ns)]

    def durable(self, failure: Exception | None, now_ns: int) -> list[Action]:
        """An awaited row of this exchange reached the disk (a stream's opening, any closing), or
        never will: then nothing more may be served, for it could not be charged.
        """
        if self.state is State.ENDED:
            return []
        if failure is not None:
            return self._cannot_record(now_ns)
        if not self._opened:
            self._opened = True
            held, self._held = self._held, []
            return held
        assert self.state is State.SETTLING, self.state
        self.state = State.ENDED
        return self.owed

    def node_head(self, status: int, now_ns: int) -> None:
        """The node's status line and headers are in: nothing is to be done yet."""
        if self.state is State.DIALLED:
            self.attempt.status = status
            self.deadline_ns = now_ns + self._timeouts.first_byte_ns
            self.state = State.ANSWERING if status == 200 else State.REFUSED

    def node_body(self, data: bytes, now_ns: int) -> bytes | list[Action]:
        """Bytes of the node's answer, unchunked. What comes back as bytes is to be sent, as one
        Send would be: nearly every event of a stream is that, and is spared the list.
        """
        state = self.state
        if state is not _ANSWERING and state is not _REFUSED:
            return []
        attempt = self.attempt
        if attempt.first_byte_ns is None:
            attempt.begin(now_ns)
        attempt.last_byte_ns = now_ns
        self.deadline_ns = now_ns + self._timeouts.idle_ns
        if state is _ANSWERING:
            if self.sample is not None:
                self.sample.add(data)
            if self.question.stream:
                return self._relay(attempt.meter, data, now_ns)
        if not attempt.collect(data):
            return [HangUp(), *self._node_gone(Termination.NODE_ERROR, now_ns)]
        return []

    def node_end(self, now_ns: int) -> list[Action]:
        """The node's answer is complete."""
        if self.state is State.REFUSED:
            return self._refused(now_ns)
        if self.state is not State.ANSWERING:
            return []
        if not self.question.stream:
            return self._answered_whole(now_ns)
        meter = self.attempt.meter
        if meter.closing is not None or meter.finished_choices:
            return self._answered_stream(now_ns)
        return self._node_gone(Termination.BROKEN, now_ns)

    def node_failed(self, termination: Termination, now_ns: int) -> list[Action]:
        """The node could not be reached, or its connection broke, before its answer was whole."""
        return self._node_gone(termination, now_ns) if self.state in WAITING_FOR_NODE else []

    def client_slow(self, now_ns: int) -> None:
        """The client does not read as fast as the node writes; the driver stopped reading."""
        self._client_stalls = True
        self.deadline_ns = now_ns + self._timeouts.client_stall_ns

    def client_ready(self, now_ns: int) -> None:
        """The client caught up; the driver reads from the node again."""
        self._client_stalls = False
        self.deadline_ns = now_ns + self._timeouts.idle_ns

    def expired(self, now_ns: int) -> list[Action]:
        """The deadline passed: the node is taken for dead, or the client, if it is what stalls."""
        if self._client_stalls:
            return [*self.client_gone(now_ns), Drop()]
        if self.state not in WAITING_FOR_NODE:
            return []
        return [HangUp(), *self._node_gone(Termination.TIMEOUT, now_ns)]

    def keep_alive(self, now_ns: int) -> list[Action]:
        """`keep_alive_at_ns` came: a comment, if the client has heard nothing for so long."""
        interval_ns = self._timeouts.keep_alive_ns
        silent_since_ns = self.attempt.last_byte_ns or 0
        if silent_since_ns + interval_ns > now_ns:
            self.keep_alive_at_ns = silent_since_ns + interval_ns
            return []
        self.keep_alive_at_ns = now_ns + interval_ns
        if not self._opened or self._client_stalls or self.state not in WAITING_FOR_NODE:
            return []
        return [*self._stream_head(), answers.KEEP_ALIVE]

    def client_gone(self, now_ns: int) -> list[Action]:
        """The client closed its connection: stop the node, charge what was generated."""
        if self.state in (State.SETTLING, State.ENDED):
            self.state = State.ENDED
            return []
        counted = self.attempt.counted_stream()
        closed = self._settle(ChargeOutcome.CLIENT_GONE, Termination.CLIENT_GONE, counted, now_ns)
        self.state = State.ENDED
        return [HangUp(), *closed]

    # -- the answer -------------------------------------------------------------------------------

    def _relay(self, meter: StreamMeter, data: bytes, now_ns: int) -> bytes | list[Action]:
        try:
            passed = meter.feed(data)
        except MalformedStreamError:
            return [HangUp(), *self._node_gone(Termination.NODE_ERROR, now_ns)]
        noted = meter.events < self._progress_at_events and now_ns < self._progress_at_ns
        if passed and noted and self._opened and self._responded and not meter.ended:
            return passed
        actions = self._deliver(passed) if passed else []
        if meter.error is not None:
            return [*actions, HangUp(), *self._told_error(now_ns)]
        if meter.done:
            return [*actions, *self._answered_stream(now_ns)]
        if not noted:
            actions.extend(self._progress(now_ns))
        return actions

    def _deliver(self, data: bytes) -> list[Action]:
        """Send, or hold until the opening row is durable."""
        actions = self._streamed(data)
        if self._opened:
            return actions
        self._held.extend(actions)
        return []

    def _streamed(self, data: bytes) -> list[Action]:
        self._responded = True
        return [*self._stream_head(), Send(data)]

    def _stream_head(self) -> list[Action]:
        if self.headed:
            return []
        self.headed = True
        return [answers.STREAM_HEAD]

    def _progress(self, now_ns: int) -> list[Action]:
        """Note how far the stream is, so that a crash of ours is billed too: densely at first."""
        events = max(self.attempt.meter.events, 1)
        self._progress_at_events = events + min(events, PROGRESS_EVENTS)
        self._progress_at_ns = now_ns + PROGRESS_NS
        progress = self.attempt.progress(self.charge.charge_id)
        return [] if progress is None else [Record(progress, awaited=False)]

    def _answered_stream(self, now_ns: int) -> list[Action]:
        self.owed = [*self._streamed(answers.DONE_LINE), End()]
        counted = self.attempt.counted_stream()
        return self._settle(ChargeOutcome.COMPLETED, Termination.COMPLETED, counted, now_ns)

    def _answered_whole(self, now_ns: int) -> list[Action]:
        answer = self.attempt.body
        try:
            counted = self.attempt.counted_whole(answer)
        except MalformedStreamError:
            return self._node_gone(Termination.NODE_ERROR, now_ns)
        self.owed = [answers.whole(answer, now_ns - self.started_ns), End()]
        return self._settle(ChargeOutcome.COMPLETED, Termination.COMPLETED, counted, now_ns)

    # -- failure ----------------------------------------------------------------------------------

    def _refused(self, now_ns: int) -> list[Action]:
        status, body = self.attempt.status, self.attempt.body
        if status in node_errors.CLIENT_FAULT_STATUSES:
            param = self.question.endpoint.prompt_param
            error = node_errors.translate(status, body, prompt_param=param)
            return self._fail(error, ChargeOutcome.REFUSED_BY_NODE, Termination.COMPLETED, now_ns)
        if status in node_errors.OVERLOADED_STATUSES:
            return self._node_gone(Termination.OVERLOADED, now_ns)
        return self._node_gone(Termination.NODE_ERROR, now_ns)

    def _told_error(self, now_ns: int) -> list[Action]:
        """The node reported an error in its stream."""
        error = self.attempt.told_fault()
        if error is None or self.attempt.meter.closing is not None:
            return self._node_gone(Termination.NODE_ERROR, now_ns)
        return self._fail(error, ChargeOutcome.REFUSED_BY_NODE, Termination.COMPLETED, now_ns)

    def _node_gone(self, termination: Termination, now_ns: int) -> list[Action]:
        """The node failed us: try the next one if the client saw nothing yet, else say so.

        What a node that vanished had delivered is charged, but to an aggregator, whose user does
        not pay for what ends in an error; a failure that the node reported is free.
        """
        if not self._responded:
            self.attempt.release(termination, now_ns, self.started_ns)
            return self._try_next_node(now_ns, termination)
        if self.attempt.meter.closing is not None:
            return self._answered_stream(now_ns)
        error = errors.node_failed(
            "The node that was answering failed in the middle of the stream. "
            "What was delivered stands; please send the request again."
        )
        self.owed = self._failure(error, now_ns, in_stream=True)
        if termination is Termination.NODE_ERROR:
            return self._settle(ChargeOutcome.NODE_ERROR, termination, None, now_ns)
        counted = None if self.question.usage_always else self.attempt.counted_stream()
        return self._settle(ChargeOutcome.NODE_BROKEN, termination, counted, now_ns)

    def _try_next_node(self, now_ns: int, last: Termination) -> list[Action]:
        decision = None
        if self.attempts < ATTEMPTS_MAX:
            tried = frozenset(self._tried)
            decision = self._router.choose(self.first.ask.features, now_ns, tried)
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

    def _dial(self, decision: Decision, now_ns: int) -> Dial:
        node = decision.node
        assert node is not None, "a refused decision is admission's to answer"
        lease = self._router.start(decision)
        self.attempt = Attempt(node, lease, self.question, self._estimate)
        self._tried += (node.node_id,)
        if self.sample is not None:
            self.sample.clear()  # another node's bytes
        self.attempts += 1
        self.state = State.DIALLED
        self.deadline_ns = now_ns + self._timeouts.first_byte_ns
        self._progress_at_ns = now_ns + PROGRESS_NS
        body = for_node(
            self.question,
            self._body,
            served_model=node.served_model or node.model,
            is_vllm=node.engine == "vllm",
        )
        return Dial(node, self.question.endpoint.path, body)

    def _fail(
        self, error: ApiError, outcome: ChargeOutcome, termination: Termination, now_ns: int
    ) -> list[Action]:
        self.owed = self._failure(error, now_ns, in_stream=self.headed)
        return self._settle(outcome, termination, None, now_ns)

    def _failure(self, error: ApiError, now_ns: int, *, in_stream: bool) -> list[Action]:
        if in_stream:
            return [answers.failure_event(error, self.charge, self.question.endpoint), End()]
        return [answers.refusal(error, now_ns - self.started_ns), End()]

    def _cannot_record(self, now_ns: int) -> list[Action]:
        self.attempt.release(Termination.CLIENT_GONE, now_ns, self.started_ns)
        self.state, self.deadline_ns = State.ENDED, None
        self.outcome = ChargeOutcome.UNRECORDED
        in_stream = self.headed and self._opened and Respond not in map(type, self.owed)
        return [HangUp(), *self._failure(errors.not_recording(), now_ns, in_stream=in_stream)]

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
        self.state, self.deadline_ns = State.SETTLING, None
        close = closing(
            self.charge, attempt, outcome, counted, started_ns=self.started_ns, now_ns=now_ns
        )
        self.outcome = close.outcome
        self.usage, self.usage_source = close.usage, close.usage_source
        if self.question.tells_usage:
            record, event = finished(self.charge, close), attempt.meter.closing_event
            self.owed = with_usage(self.owed, record, self.question, event)
        return [Record(close)]
