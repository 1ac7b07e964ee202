"""One try at one node: what it has said so far, and what that comes to in tokens."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.errors import ApiError
from gateway.openai import node_errors
from gateway.openai.reasoning_alias import AliasingMeter, with_alias
from gateway.openai.request import Question
from metering.charge import ChargeProgress
from metering.stream_meter import StreamMeter, text_of_answer, usage_of_answer
from metering.token_meter import TokenMeter
from metering.usage import Usage, UsageSource
from router.router import Lease
from router.types import NodeRecord, Termination

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""The largest whole (unstreamed) answer accepted from a node."""

_NEVER_FED = StreamMeter(keep_closing=False)
"""Of every answer that is not streamed."""

Estimate = Callable[[Question, str], Usage]
Counted = tuple[Usage, UsageSource]


def meter_of(question: Question, node: NodeRecord, *, keep_ids: bool) -> StreamMeter:
    """For the stream that this node will answer with. `keep_ids`: it was asked for them."""
    keep_closing = question.usage_wanted and not question.tells_usage
    keep_running = question.running_usage_wanted
    if keep_ids:
        return TokenMeter(keep_closing=keep_closing, keep_running=keep_running)
    kind = AliasingMeter if question.reasoning_alias else StreamMeter
    return kind(
        keep_closing=keep_closing,
        keep_running=keep_running,
        choices=question.choices,
        choices_per_prompt=question.choices_per_prompt,
        tally_text=node.engine != "vllm",
    )


class Attempt:
    """Made when the node is dialled. `estimate` counts tokens where the node reports none."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_estimate",
        "dialled_ns",
        "first_byte_ns",
        "last_byte_ns",
        "lease",
        "meter",
        "node",
        "question",
        "status",
        "streams",
    )

    def __init__(
        self,
        node: NodeRecord,
        lease: Lease,
        question: Question,
        estimate: Estimate,
        meter: StreamMeter | None = None,
    ) -> None:
        """`meter` is for the stream that is to come; None: there will be none."""
        self.node = node
        self.status = 0
        self.dialled_ns = 0
        self.first_byte_ns: int | None = None
        self.last_byte_ns: int | None = None
        self.streams = meter is not None
        self.meter = meter or _NEVER_FED
        self.lease = lease
        self.question = question
        self._estimate = estimate
        self._body: list[bytes] = []
        self._body_bytes = 0

    def begin(self, now_ns: int) -> None:
        """The first byte of its answer came."""
        self.first_byte_ns = now_ns
        if self.status == 200 and self.streams:
            self.lease.first_token(now_ns)

    @property
    def streaming_ns(self) -> int:
        """From the first byte of the answer to the last."""
        return (self.last_byte_ns or 0) - (self.first_byte_ns or 0)

    def collect(self, data: bytes) -> bool:
        """Keep bytes of a whole answer. False if it is too large to be one."""
        self._body.append(data)
        self._body_bytes += len(data)
        return self._body_bytes <= ANSWER_BYTES_MAX

    @property
    def body(self) -> bytes:
        """What was collected."""
        body = b"".join(self._body)
        return with_alias(body) if self.question.reasoning_alias else body

    def counted_whole(self, answer: bytes) -> Counted:
        """The tokens of a whole answer. Raises MalformedStreamError if it is not JSON."""
        usage = usage_of_answer(answer)
        if usage is not None:
            return usage, UsageSource.NODE
        return self._estimate(self.question, text_of_answer(answer)), UsageSource.ESTIMATED

    def counted_stream(self) -> Counted | None:
        """The tokens of the stream so far; None if there is nothing to go by.

        The node's total, else its running figures, else our count of the delivered text.
        """
        meter = self.meter
        if meter.closing is not None:
            return meter.closing, UsageSource.NODE
        if (running := meter.running) is not None:
            return running, UsageSource.COUNTED
        if meter.text:
            text = "".join(meter.text)
            return self._estimate(self.question, text), UsageSource.ESTIMATED
        return None

    def progress(self, charge_id: str) -> ChargeProgress | None:
        """How far the stream is; None while there is nothing to charge."""
        usage = self.meter.running
        if usage is None or not usage.completion_tokens:
            return None
        return ChargeProgress(
            charge_id=charge_id,
            node_id=self.node.node_id,
            supplier_id=self.node.supplier_id,
            usage=usage,
        )

    def told_fault(self) -> ApiError | None:
        """What the client did wrong, if that is the error that the node told in its stream."""
        param = self.question.endpoint.prompt_param
        return node_errors.translate_event(self.meter.error or b"", prompt_param=param)

    def unserved(self) -> ApiError | None:
        """If the node's refusal says that it does not serve this at all."""
        question = self.question
        return node_errors.unserved(self.status, self.body, question.model, question.endpoint.path)

    def release(self, termination: Termination, now_ns: int, started_ns: int) -> None:
        """Tell the router how it ended. Only the first call counts."""
        first_byte_ns = self.first_byte_ns
        ttft_ns = None if first_byte_ns is None else first_byte_ns - started_ns
        usage = self.meter.closing
        tokens = 0 if usage is None else usage.completion_tokens
        self.lease.finish(termination, now_ns, ttft_ns, tokens)


class Lost(msgspec.Struct, frozen=True):
    """A try whose node did not give the answer, or not its end."""

    attempt: Attempt
    termination: Termination
    """CLIENT_GONE: we let go of it, because another was sooner."""
    ended_ns: int
