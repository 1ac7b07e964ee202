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
once, whatever happens: `_settle` is the only place that does it. It is in `tries.py`, below the
events, with an exchange's fields and all that is done about nodes that fail.
"""

from __future__ import annotations

from gateway import errors
from gateway.exchange import answers
from gateway.exchange.actions import Action, Drop, End, HangUp, Record, Respond
from gateway.exchange.hedges import Hedges
from gateway.exchange.state import WAITING_FOR_NODE, State
from gateway.exchange.tries import PROGRESS_NS, Tries
from gateway.openai import node_errors
from metering.charge import ChargeOutcome
from metering.stream_meter import MalformedStreamError, StreamMeter
from router.types import Termination

PROGRESS_EVENTS = 64
_DIALLED, _ANSWERING, _REFUSED = State.DIALLED, State.ANSWERING, State.REFUSED
_SETTLING, _ENDED = State.SETTLING, State.ENDED


class Exchange(Tries):
    """The life of one admitted request: what happens to it."""

    __slots__ = ()

    # -- events -----------------------------------------------------------------------------------

    def start(self, now_ns: int) -> list[Action]:
        """Dial the node chosen at admission. The opening row goes out beside the dialling."""
        self.started_ns = now_ns
        if self.question.stream and self._timeouts.keep_alive_ns:
            self.keep_alive_at_ns = now_ns + self._timeouts.keep_alive_ns
        if self._hedges is not None and self.question.stream:
            self._watch_first_token(self._hedges, now_ns)
        return [Record(self.charge, not self._opened), self._dial(self.first, now_ns)]

    def _watch_first_token(self, hedges: Hedges, now_ns: int) -> None:
        hedges.begun()
        features = self.first.ask.features
        late_ns = hedges.late_after_ns(features.model, features.prompt_tokens)
        if late_ns is not None:
            self.hedge_at_ns = now_ns + late_ns

    def durable(self, failure: Exception | None, now_ns: int) -> list[Action]:
        """An awaited row of this exchange reached the disk (a stream's opening, any closing), or
        never will: then nothing more may be served, for it could not be charged.
        """
        if self.state is _ENDED:
            return []
        if failure is not None:
            return self._cannot_record(now_ns)
        if not self._opened:
            self._opened = True
            held, self._held = self._held, []
            return held
        assert self.state is _SETTLING, self.state
        self.state = _ENDED
        return self.owed

    def node_head(self, status: int, now_ns: int) -> None:
        """The node's status line and headers are in: nothing is to be done yet."""
        if self.state is _DIALLED:
            self.attempt.status = status
            self.deadline_ns = now_ns + self._timeouts.first_byte_ns
            self.state = _ANSWERING if status == 200 else _REFUSED

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
            if attempt.streams:
                meter = attempt.meter
                try:
                    passed = meter.feed(data)
                except MalformedStreamError as error:
                    return self._garbled(error, now_ns)
                noted = meter.events < self._progress_at_events and now_ns < self._progress_at_ns
                if noted and passed and self._opened and self._responded and not meter.ended:
                    return passed
                return self._relay(meter, passed, noted, now_ns)
        if not attempt.collect(data):
            return [HangUp(), *self._node_gone(Termination.NODE_ERROR, now_ns)]
        return []

    def node_end(self, now_ns: int) -> list[Action]:
        """The node's answer is complete."""
        if self.state is _REFUSED:
            return self._refused(now_ns)
        if self.state is not _ANSWERING:
            return []
        if not self.attempt.streams:
            return self._probed(now_ns) if self.question.stream else self._answered_whole(now_ns)
        meter = self.attempt.meter
        if meter.closing is not None or meter.finished_choices:
            return self._answered_stream(now_ns)
        return self._node_gone(Termination.BROKEN, now_ns)

    def node_failed(self, termination: Termination, now_ns: int) -> list[Action]:
        """The node could not be reached, or its connection broke, before its answer was whole."""
        return self._node_gone(termination, now_ns) if self.state in WAITING_FOR_NODE else []

    def client_slow(self, now_ns: int) -> None:
        """The client does not read as fast as the node writes; the driver stopped reading."""
        self.client_stalls = True
        self.deadline_ns = now_ns + self._timeouts.client_stall_ns

    def client_ready(self, now_ns: int) -> None:
        """The client caught up; the driver reads from the node again."""
        self.client_stalls = False
        self.deadline_ns = now_ns + self._timeouts.idle_ns

    def expired(self, now_ns: int) -> list[Action]:
        """The deadline passed: the node is taken for dead, or the client, if it is what stalls."""
        if self.client_stalls:
            return [*self.client_gone(now_ns), Drop()]
        if self.state not in WAITING_FOR_NODE:
            return []
        return [HangUp(), *self._node_gone(Termination.TIMEOUT, now_ns)]

    def keep_alive(self, now_ns: int) -> list[Action]:
        """`keep_alive_at_ns` came: a comment, if the client has heard nothing for so long."""
        interval_ns, attempt = self._timeouts.keep_alive_ns, self.attempt
        silent_since_ns = attempt.last_byte_ns or 0
        if silent_since_ns + interval_ns > now_ns:
            self.keep_alive_at_ns = silent_since_ns + interval_ns
            attempt.lease.silent(False)
            return []
        self.keep_alive_at_ns = now_ns + interval_ns
        if not self._opened or self.client_stalls or self.state not in WAITING_FOR_NODE:
            return []
        if silent_since_ns:
            attempt.lease.silent(True)
        return [*self._stream_head(), answers.KEEP_ALIVE]

    def client_gone(self, now_ns: int) -> list[Action]:
        """The client closed its connection: stop the node, charge what was generated."""
        if self.state in (_SETTLING, _ENDED):
            self.state = _ENDED
            return []
        counted = self.attempt.counted_stream()
        closed = self._settle(ChargeOutcome.CLIENT_GONE, Termination.CLIENT_GONE, counted, now_ns)
        self.state = _ENDED
        return [HangUp(), *closed]

    # -- the answer -------------------------------------------------------------------------------

    def _garbled(self, error: MalformedStreamError, now_ns: int) -> list[Action]:
        """What was counted is gone on from behind: the client has to have it."""
        last = self._deliver(error.passed) if self._responded and error.passed else []
        return [*last, HangUp(), *self._node_gone(Termination.NODE_ERROR, now_ns)]

    def _relay(self, meter: StreamMeter, passed: bytes, noted: bool, now_ns: int) -> list[Action]:
        """What is not the plain event of a stream."""
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

    def _progress(self, now_ns: int) -> list[Action]:
        """Note how far the stream is, so that a crash of ours is billed too: densely at first."""
        events = max(self.attempt.meter.events, 1)
        self._progress_at_events = events + min(events, PROGRESS_EVENTS)
        self._progress_at_ns = now_ns + PROGRESS_NS
        charge_id, resume = self.charge.charge_id, self._resume
        if resume is not None:
            progress = resume.progress(charge_id, self.attempt)
        else:
            progress = self.attempt.progress(charge_id)
        return [] if progress is None else [Record(progress, awaited=False)]

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
        if status in node_errors.CLIENT_FAULT_STATUSES and self._resume is None:
            param = self.question.endpoint.prompt_param
            error = node_errors.translate(status, body, prompt_param=param)
            return self._fail(error, ChargeOutcome.REFUSED_BY_NODE, Termination.COMPLETED, now_ns)
        if status in node_errors.OVERLOADED_STATUSES:
            return self._node_gone(Termination.OVERLOADED, now_ns)
        return self._node_gone(Termination.NODE_ERROR, now_ns)

    def _told_error(self, now_ns: int) -> list[Action]:
        """The node reported an error in its stream."""
        error = self.attempt.told_fault()
        if error is None or self.attempt.meter.closing is not None or self._resume is not None:
            return self._node_gone(Termination.NODE_ERROR, now_ns)
        return self._fail(error, ChargeOutcome.REFUSED_BY_NODE, Termination.COMPLETED, now_ns)

    def _cannot_record(self, now_ns: int) -> list[Action]:
        self.attempt.release(Termination.CLIENT_GONE, now_ns, self.started_ns)
        dropped = self._rival_dropped(now_ns)
        self.state, self.deadline_ns = _ENDED, None
        self.outcome = ChargeOutcome.UNRECORDED
        in_stream = self.headed and self._opened and Respond not in map(type, self.owed)
        failure = self._failure(errors.not_recording(), now_ns, in_stream=in_stream)
        return [*dropped, HangUp(), *failure]
