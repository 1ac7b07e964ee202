"""One proxied request, from admission to its last byte: a state machine without socket or clock.

Events come in as method calls, with the time where it matters; every method returns the actions
that the driver must carry out, in order. So every failure can be played byte by byte in a test, and
two drivers (ASGI, uvicorn protocol) give the same behaviour.

    state      waits for                       event            next
    NEW        -                               start            DIALLED | ENDED (no node)
    DIALLED    the node's status               head 200         ANSWERING
                                               head >= 400      REFUSED
                                               failed, expired  DIALLED (next node) | SETTLING
    REFUSED    the node's error body           end              DIALLED (next node) | SETTLING
    ANSWERING  the answer                      body             ANSWERING | SETTLING ([DONE] seen)
                                               end              SETTLING
                                               failed, expired  DIALLED if nothing was delivered,
                                                                else SETTLING
    SETTLING   the charge to be durable        durable          ENDED
    any        -                               client_gone      ENDED

What the client is owed last (`[DONE]`, a whole answer, an error) leaves only when the closing row
of the charge is durable, and nothing leaves before the opening row is. A charge is closed exactly
once, whatever happens: `_settle` is the only place that does it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import msgspec

from gateway import errors, node_errors
from gateway.errors import ApiError
from gateway.openai_request import Endpoint, Question, for_node
from metering.charge import ChargeOutcome, ChargeProgress, CloseCharge, OpenCharge
from metering.stream_meter import MalformedStream, StreamMeter, text_of_answer, usage_of_answer
from metering.usage import Usage, UsageSource
from router.router import Lease, Router
from router.types import Decision, NodeRecord, Termination

ATTEMPTS_MAX = 3
"""Nodes tried for one request before the client is told."""

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""The largest whole (unstreamed) answer accepted from a node."""

REFUSAL_BYTES_MAX = 64 * 1024
PROGRESS_EVENTS = 64
PROGRESS_NS = 1_000_000_000
_DONE_LINE = b"data: [DONE]\n\n"
_JSON = b"application/json"
_EVENT_STREAM = b"text/event-stream; charset=utf-8"


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Patience with a node, and with a client that stops reading."""

    first_byte_ns: int = 300_000_000_000
    idle_ns: int = 60_000_000_000
    client_stall_ns: int = 120_000_000_000


class Dial(msgspec.Struct, frozen=True):
    """Send this body to a node and report what it answers."""

    node: NodeRecord
    path: str
    body: bytes


class HangUp(msgspec.Struct, frozen=True):
    """Close the connection to the node now: it aborts the request when it sees that."""


class Record(msgspec.Struct, frozen=True):
    """Append a row to the spool. For all but progress, report `durable` when it is on disk."""

    row: OpenCharge | ChargeProgress | CloseCharge


class Respond(msgspec.Struct, frozen=True):
    """Answer with this status. `body` None: a stream follows in Send actions until End."""

    status: int
    content_type: bytes
    body: bytes | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Send(msgspec.Struct, frozen=True):
    data: bytes


class End(msgspec.Struct, frozen=True):
    """The response is complete."""


class Drop(msgspec.Struct, frozen=True):
    """Cut the client's connection: it stopped reading and holds a node."""


Action = Dial | HangUp | Record | Respond | Send | End | Drop


class State(Enum):
    NEW = auto()
    DIALLED = auto()
    REFUSED = auto()
    ANSWERING = auto()
    SETTLING = auto()
    ENDED = auto()


class Exchange:
    """The life of one admitted request.

    `decision` names the first node to try; `estimate` counts tokens where a node reported none.
    """

    def __init__(
        self,
        charge: OpenCharge,
        question: Question,
        body: bytes,
        *,
        decision: Decision,
        router: Router,
        timeouts: Timeouts,
        estimate: Callable[[Question, str], Usage],
    ) -> None:
        self.charge = charge
        self.question = question
        self.state = State.NEW
        self.outcome: ChargeOutcome | None = None
        self.usage: Usage | None = None
        self.node: NodeRecord | None = None
        self.attempts = 0
        self.error: ApiError | None = None
        """What the client was told, if not an answer."""
        self.started_ns = 0
        self.first_byte_ns: int | None = None
        self.last_byte_ns: int | None = None
        self.deadline_ns: int | None = None
        """When `expired` is due; None while nothing is waited for."""
        self._body = body
        self._first = decision
        self._router = router
        self._timeouts = timeouts
        self._estimate = estimate
        self._tried: frozenset[str] = frozenset()
        self._lease: Lease | None = None
        self._meter = self._new_meter()
        self._answer: list[bytes] = []
        self._answer_bytes = 0
        self._node_status = 0
        self._responded = False
        self._opened = False
        self._client_stalls = False
        self._held: list[Action] = []
        self._last: list[Action] = []
        self._progress_at_events = 1
        self._progress_at_ns = 0

    # -- events -----------------------------------------------------------------------------------

    def start(self, now_ns: int) -> list[Action]:
        """Begin: dial the node chosen at admission. The opening row goes out beside the dialling."""
        self.started_ns = now_ns
        return [Record(self.charge), self._dial(self._first, now_ns)]

    def durable(self, failure: Exception | None, now_ns: int) -> list[Action]:
        """A row of this exchange reached the disk (the opening first, then the closing), or never
        will: then nothing more may be served, for it could not be charged.
        """
        if failure is not None:
            return self._spool_failed(now_ns)
        if self.state is State.ENDED:
            return []
        if not self._opened:
            self._opened = True
            held, self._held = self._held, []
            return held
        assert self.state is State.SETTLING, self.state
        self.state = State.ENDED
        return self._last

    def node_head(self, status: int, now_ns: int) -> list[Action]:
        """The node's status line and headers are in."""
        if self.state is not State.DIALLED:
            return []
        self._node_status = status
        self.deadline_ns = now_ns + self._timeouts.first_byte_ns
        self.state = State.ANSWERING if status == 200 else State.REFUSED
        return []

    def node_body(self, data: bytes, now_ns: int) -> list[Action]:
        """Bytes of the node's answer, unchunked."""
        if self.state is State.ANSWERING:
            if self.first_byte_ns is None:
                self.first_byte_ns = now_ns
            self.last_byte_ns = now_ns
            self.deadline_ns = now_ns + self._timeouts.idle_ns
            return self._relay(data, now_ns) if self.question.stream else self._collect(data, now_ns)
        if self.state is State.REFUSED and self._answer_bytes < REFUSAL_BYTES_MAX:
            self._answer.append(data)
            self._answer_bytes += len(data)
        return []

    def node_end(self, now_ns: int) -> list[Action]:
        """The node's answer is complete."""
        if self.state is State.REFUSED:
            return self._refused(now_ns)
        if self.state is not State.ANSWERING:
            return []
        if not self.question.stream:
            return self._answered_whole(now_ns)
        meter = self._meter
        if meter.closing is not None or meter.finished_choices:
            return self._stream_complete(now_ns)
        return self._node_gone(Termination.BROKEN, now_ns)

    def node_failed(self, termination: Termination, now_ns: int) -> list[Action]:
        """The node could not be reached, or its connection broke, before its answer was whole."""
        if self.state not in (State.DIALLED, State.REFUSED, State.ANSWERING):
            return []
        return self._node_gone(termination, now_ns)

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
        if self.state not in (State.DIALLED, State.REFUSED, State.ANSWERING):
            return []
        return [HangUp(), *self._node_gone(Termination.TIMEOUT, now_ns)]

    def client_gone(self, now_ns: int) -> list[Action]:
        """The client closed its connection: stop the node, charge what was generated."""
        if self.state is State.ENDED:
            return []
        if self.state is State.SETTLING:
            self.state = State.ENDED
            return []
        usage = self._meter.closing or self._meter.running or self._estimated()
        source = self._source_of_running()
        if usage is not None and usage.completion_tokens == 0:
            usage = None
        settled = self._settle(
            ChargeOutcome.CLIENT_GONE, Termination.CLIENT_GONE, usage, source, now_ns
        )
        self.state = State.ENDED
        return [HangUp(), *settled]

    # -- the answer -------------------------------------------------------------------------------

    def _relay(self, data: bytes, now_ns: int) -> list[Action]:
        meter = self._meter
        try:
            passed = meter.feed(data)
        except MalformedStream:
            return [HangUp(), *self._node_gone(Termination.NODE_ERROR, now_ns)]
        actions: list[Action] = self._deliver(passed) if passed else []
        if meter.error is not None:
            return [*actions, HangUp(), *self._node_gone(Termination.NODE_ERROR, now_ns)]
        if meter.done:
            return [*actions, *self._stream_complete(now_ns)]
        if meter.events >= self._progress_at_events or now_ns >= self._progress_at_ns:
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
        if self._responded:
            return [Send(data)]
        self._responded = True
        return [Respond(200, _EVENT_STREAM), Send(data)]

    def _progress(self, now_ns: int) -> list[Action]:
        """Note how far the stream is, so that a crash of ours is billed too: densely at first."""
        usage, node = self._meter.running, self.node
        events = max(self._meter.events, 1)
        self._progress_at_events = events + min(events, PROGRESS_EVENTS)
        self._progress_at_ns = now_ns + PROGRESS_NS
        if usage is None or node is None or not usage.completion_tokens:
            return []
        return [
            Record(
                ChargeProgress(
                    charge_id=self.charge.charge_id,
                    node_id=node.node_id,
                    supplier_id=node.supplier_id,
                    usage=usage,
                )
            )
        ]

    def _stream_complete(self, now_ns: int) -> list[Action]:
        closing, running = self._meter.closing, self._meter.running
        usage = closing or running or self._estimated()
        source = UsageSource.NODE if closing else self._source_of_running()
        self._last = [*self._streamed(_DONE_LINE), End()]
        return self._complete(usage, source, now_ns)

    def _collect(self, data: bytes, now_ns: int) -> list[Action]:
        self._answer.append(data)
        self._answer_bytes += len(data)
        if self._answer_bytes > ANSWER_BYTES_MAX:
            return [HangUp(), *self._node_gone(Termination.NODE_ERROR, now_ns)]
        return []

    def _answered_whole(self, now_ns: int) -> list[Action]:
        answer = b"".join(self._answer)
        try:
            usage = usage_of_answer(answer)
        except MalformedStream:
            return self._node_gone(Termination.NODE_ERROR, now_ns)
        source = UsageSource.NODE
        if usage is None:
            usage = self._estimate(self.question, text_of_answer(answer))
            source = UsageSource.ESTIMATED
        self._last = [Respond(200, _JSON, answer), End()]
        return self._complete(usage, source, now_ns)

    def _complete(self, usage: Usage | None, source: UsageSource, now_ns: int) -> list[Action]:
        """The answer is whole. One without a single generated token is free of charge."""
        generates = self.question.endpoint is not Endpoint.EMBEDDINGS
        if usage is None or (generates and usage.completion_tokens == 0):
            return self._settle(ChargeOutcome.EMPTY, Termination.COMPLETED, None, None, now_ns)
        return self._settle(
            ChargeOutcome.COMPLETED, Termination.COMPLETED, usage, source, now_ns
        )

    # -- failure ----------------------------------------------------------------------------------

    def _refused(self, now_ns: int) -> list[Action]:
        status, body = self._node_status, b"".join(self._answer)
        if status in node_errors.CLIENT_FAULT_STATUSES:
            error = node_errors.translate(
                status, body, prompt_param=self.question.endpoint.prompt_param
            )
            return self._fail(
                error, ChargeOutcome.REFUSED_BY_NODE, Termination.COMPLETED, now_ns
            )
        if status in node_errors.OVERLOADED_STATUSES:
            return self._node_gone(Termination.OVERLOADED, now_ns)
        return self._node_gone(Termination.NODE_ERROR, now_ns)

    def _node_gone(self, termination: Termination, now_ns: int) -> list[Action]:
        """The node failed us: try the next one if the client saw nothing yet, else say so."""
        if not self._responded:
            self._release(termination, now_ns)
            return self._try_next_node(now_ns, termination)
        if self._meter.closing is not None:
            return self._stream_complete(now_ns)
        error = errors.node_failed(
            "The node that was answering failed in the middle of the stream. "
            "What was delivered stands; please send the request again."
        )
        self.error = error
        usage, outcome = self._meter.running or self._estimated(), ChargeOutcome.NODE_BROKEN
        if termination is Termination.NODE_ERROR:
            usage, outcome = None, ChargeOutcome.NODE_ERROR
        if usage is not None and usage.completion_tokens == 0:
            usage = None
        self._last = [*self._streamed(error.stream_event()), End()]
        return self._settle(outcome, termination, usage, self._source_of_running(), now_ns)

    def _try_next_node(self, now_ns: int, last: Termination) -> list[Action]:
        if self.attempts >= ATTEMPTS_MAX:
            return self._give_up(last, None, now_ns)
        decision = self._router.choose(self._first.features, now_ns, self._tried)
        if decision.node is None:
            return self._give_up(last, decision, now_ns)
        return [self._dial(decision, now_ns)]

    def _dial(self, decision: Decision, now_ns: int) -> Dial:
        node = decision.node
        assert node is not None, "a refused decision is admission's to answer"
        self.attempts += 1
        self.node = node
        self._tried |= {node.node_id}
        self._lease = self._router.start(decision)
        self._meter = self._new_meter()
        self._answer, self._answer_bytes = [], 0
        self.first_byte_ns = None
        self.state = State.DIALLED
        self.deadline_ns = now_ns + self._timeouts.first_byte_ns
        self._progress_at_ns = now_ns + PROGRESS_NS
        return Dial(node, self.question.endpoint.path, self._body_for(node))

    def _give_up(
        self, last: Termination, decision: Decision | None, now_ns: int
    ) -> list[Action]:
        if last is Termination.NODE_ERROR:
            error = errors.node_failed(
                f"The model's server failed on this request ({self.attempts} tried)."
            )
            return self._fail(error, ChargeOutcome.NODE_ERROR, None, now_ns)
        error = errors.no_capacity(self.question.model, decision.retry_after_ns if decision else 0)
        timed_out = last is Termination.TIMEOUT
        outcome = ChargeOutcome.TIMED_OUT if timed_out else ChargeOutcome.NO_CAPACITY
        return self._fail(error, outcome, None, now_ns)

    def _fail(
        self,
        error: ApiError,
        outcome: ChargeOutcome,
        termination: Termination | None,
        now_ns: int,
    ) -> list[Action]:
        self.error = error
        self._last = [
            Respond(error.status, _JSON, error.body(), tuple(error.headers())),
            End(),
        ]
        return self._settle(outcome, termination, None, None, now_ns)

    def _spool_failed(self, now_ns: int) -> list[Action]:
        if self.state is State.ENDED:
            return []
        self._release(Termination.CLIENT_GONE, now_ns)
        self.state = State.ENDED
        self.deadline_ns = None
        self.outcome = ChargeOutcome.UNRECORDED
        error = self.error = errors.not_recording()
        if self._responded and self._opened:
            return [HangUp(), Send(error.stream_event()), End()]
        answer = Respond(error.status, _JSON, error.body(), tuple(error.headers()))
        return [HangUp(), answer, End()]

    # -- the end ----------------------------------------------------------------------------------

    def _settle(
        self,
        outcome: ChargeOutcome,
        termination: Termination | None,
        usage: Usage | None,
        source: UsageSource | None,
        now_ns: int,
    ) -> list[Action]:
        """Close the charge (usage None voids it) and wait for that to be durable."""
        assert self.outcome is None, f"charge {self.charge.charge_id} closed twice"
        if termination is not None:
            self._release(termination, now_ns)
        self.state = State.SETTLING
        self.deadline_ns = None
        self.outcome, self.usage = outcome, usage
        node = self.node
        return [
            Record(
                CloseCharge(
                    charge_id=self.charge.charge_id,
                    outcome=outcome,
                    node_id=node.node_id if node else None,
                    supplier_id=node.supplier_id if node else None,
                    usage=usage,
                    usage_source=source if usage else None,
                    closed_ns=self.charge.created_ns + now_ns - self.started_ns,
                    ttft_ns=self.ttft_ns,
                )
            )
        ]

    @property
    def ttft_ns(self) -> int | None:
        """From the request's acceptance to the first byte of the answer."""
        return None if self.first_byte_ns is None else self.first_byte_ns - self.started_ns

    @property
    def streaming_ns(self) -> int:
        """From the first byte of the answer to the last."""
        return (self.last_byte_ns or 0) - (self.first_byte_ns or 0)

    def _release(self, termination: Termination, now_ns: int) -> None:
        if self._lease is not None:
            self._lease.finish(termination, now_ns, self.ttft_ns)
            self._lease = None

    def _source_of_running(self) -> UsageSource:
        counted = self._meter.closing or self._meter.running
        return UsageSource.COUNTED if counted else UsageSource.ESTIMATED

    def _estimated(self) -> Usage | None:
        """For a node that reports no running usage: tokens counted in the delivered text."""
        text = "".join(self._meter.text)
        return self._estimate(self.question, text) if text else None

    def _body_for(self, node: NodeRecord) -> bytes:
        return for_node(
            self.question,
            self._body,
            served_model=node.served_model or node.model,
            running_usage=node.engine == "vllm",
        )

    def _new_meter(self) -> StreamMeter:
        question = self.question
        return StreamMeter(
            keep_closing=question.usage_wanted,
            keep_running=question.running_usage_wanted,
            choices=question.choices,
            tally_text=self.node is not None and self.node.engine != "vllm",
        )
