"""The cards of this process, filled as requests end."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import log

from gateway.errors import ApiError
from gateway.exchange.attempt import Attempt
from gateway.exchange.exchange import Exchange
from gateway.openai.request import Question
from gateway.scorecard.card import SLOT_NS, UNATTRIBUTED, Card, Cards
from gateway.scorecard.rules import End, ToolEnd, end_of_outcome, end_of_status
from gateway.sketch import PER_E
from metering.charge import ChargeOutcome

_WHOLE = frozenset({ChargeOutcome.COMPLETED, ChargeOutcome.EMPTY})
_ERROR_FINISH = re.compile(rb'"finish_reason":\s*"error"')
_MILLI_TOKENS_A_SECOND = 10**12
_OK = End.OK


class _Now:
    """Where what happens in these seconds belongs, of one model: found once for all of it."""

    __slots__ = ("ends_ns", "minute", "slot")

    def __init__(self, card: Card, now_ns: int) -> None:
        self.slot, self.minute = card.slot(now_ns), card.minute(now_ns)
        self.ends_ns = (now_ns // SLOT_NS + 1) * SLOT_NS


class Scores:
    def __init__(self, cards: Cards, now_ns: Callable[[], int]) -> None:
        """`cards` is what a process before this one had; `now_ns` the monotonic clock."""
        self.cards = cards
        self._now_ns = now_ns
        self._now: dict[str, _Now] = {}

    def ended(self, exchange: Exchange, now_ns: int) -> None:
        """Called once for every exchange: 1.5 us of every request, keep it at that."""
        outcome, question, attempt = exchange.outcome, exchange.question, exchange.attempt
        assert outcome is not None
        if question.batch:
            return  # no aggregator waits for it
        now = self._now.get(question.model)
        if now is None or now_ns >= now.ends_ns:
            now = self._begin(question.model, now_ns)
        slot = now.slot
        streaming = question.stream and attempt.first_byte_ns is not None
        if outcome not in _WHOLE:
            end = end_of_outcome(outcome, streaming=exchange.headed)
        elif _failed(question, attempt):
            end = End.ERROR_FINISH
        else:
            end = _OK
            usage = exchange.usage
            if usage is not None and usage.completion_tokens:
                tokens = usage.completion_tokens * _MILLI_TOKENS_A_SECOND
                rate = tokens // (now_ns - exchange.started_ns or 1)
                bucket = int(log(rate or 1) * PER_E)
                slot.throughput[bucket] = slot.throughput.get(bucket, 0) + 1
            if streaming:
                ttft_ns = attempt.first_byte_ns - exchange.started_ns  # type: ignore[operator]
                bucket = int(log(ttft_ns or 1) * PER_E)
                slot.ttft[bucket] = slot.ttft.get(bucket, 0) + 1
        slot.counts[end] += 1
        now.minute[end] += 1

    def refused(self, error: ApiError) -> None:
        """A request was turned away before a node was dialled."""
        self._count(error.model or UNATTRIBUTED, end_of_status(error.status))

    def tools_checked(self, model: str, end: ToolEnd) -> None:
        self._count(model, end)

    def _count(self, model: str, end: End | ToolEnd) -> None:
        now = self._begin(model, self._now_ns())
        now.slot.counts[end] += 1
        now.minute[end] += 1

    def _begin(self, model: str, now_ns: int) -> _Now:
        now = self._now[model] = _Now(self.cards.setdefault(model, Card()), now_ns)
        return now


def _failed(question: Question, attempt: Attempt) -> bool:
    """It is whole, but a choice finished with an error. Of a stream that is known only where its
    events are decoded: a vLLM tells an error instead, which is an outcome of its own.
    """
    if question.stream:
        return attempt.meter.failed
    answer = attempt.body
    if b'"error"' not in answer:  # eight times as fast as the pattern, and nearly always so
        return False
    return question.endpoint.generates and _ERROR_FINISH.search(answer) is not None
