"""A stream whose node died, gone on with on another: what was delivered, in ids and in money. Pure.

The seam lies behind the last token whose text was passed on: ids that made no text yet (the first
bytes of a character) are made again. Where an event brought several ids, nobody here can tell
whether its last ones made any: the next node is asked for their text first (`/detokenize`), and as
long as that ends in half a character the last id is left out.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw

from gateway.exchange.attempt import Attempt, Counted
from gateway.openai.continuation import PATH, continuation
from gateway.openai.request import Question
from gateway.openai.stitched import Head, StitchedMeter
from metering.charge import ChargeProgress, Leg
from metering.stream_meter import UNREADABLE
from metering.token_meter import TokenMeter
from metering.usage import Usage, UsageSource

PROBED_IDS = 8
"""Their text tells whether they end within a character."""
PROBES_MAX = 4
PROBE_PATH = "/detokenize"

_IDS = re.compile(rb"\d+(,\d+)*")
_HALF = "\N{REPLACEMENT CHARACTER}"


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning: str | None = None
    tool_calls: Raw = Raw(b"null")


class _Choice(msgspec.Struct):
    delta: _Delta = _Delta()
    text: str | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice]


class _Text(msgspec.Struct):
    prompt: str


_head_decoder = msgspec.json.Decoder(Head)
_event_decoder = msgspec.json.Decoder(_Event)
_text_decoder = msgspec.json.Decoder(_Text)
_encode = msgspec.json.Encoder().encode


class Resume:
    """Made when a node fails for the first time. Told of each that does."""

    def __init__(self, question: Question, body: bytes, tokens_max: int) -> None:
        self.legs: tuple[Leg, ...] = ()
        """What each of the nodes that failed delivered."""
        self.finished = False
        """The last token was delivered: nothing is left to be made."""
        self.first_byte_ns: int | None = None
        """Of the first node's answer."""
        self._question = question
        self._body = body
        self._tokens_max = tokens_max
        self._prompt_ids = b""
        self._ids: list[bytes] = []
        self._head = Head()
        self._prompt_tokens = 0
        self._taken: Attempt | None = None
        self._unsure = False
        self._probes = 0

    def take(self, attempt: Attempt) -> bool:
        """Go on from what this node delivered. False if that cannot be: not all of it is known by
        its ids, or it is not the text of the answer.
        """
        meter = attempt.meter
        if not attempt.streams:
            return True  # it was only asked for a text
        if not isinstance(meter, TokenMeter) or not (self._prompt_ids or self._begin(meter)):
            return False
        chunks, recent = bytes(meter.ids).split(b"]")[:-1], list(meter.recent)
        try:
            while recent and not self._tells_text(recent[-1]):
                recent.pop()
        except (*UNREADABLE, ValueError):
            return False
        if not all(map(_IDS.fullmatch, chunks)):
            return False
        silent = len(meter.recent) - len(recent)
        if recent or silent == len(chunks):
            chunks = chunks[: len(chunks) - silent]
        if chunks:
            # No character takes so many tokens: where all are silent, they are special ones.
            self._unsure = not recent or b"," in chunks[-1]
            self._ids += b",".join(chunks).split(b",")
        if len(self._ids) >= self._tokens_max and not self.finished:
            return False
        self._taken, self._probes = attempt, 0
        self.first_byte_ns = self.first_byte_ns or attempt.first_byte_ns
        node, tokens = attempt.node, sum(chunk.count(b",") + 1 for chunk in chunks)
        if tokens:
            prompt = 0 if self.legs else self._prompt_tokens
            usage = Usage(prompt_tokens=prompt, completion_tokens=tokens)
            leg = Leg(node_id=node.node_id, supplier_id=node.supplier_id, usage=usage)
            self.legs += (leg,)
        return True

    def _begin(self, meter: TokenMeter) -> bool:
        """Of the node that was the first: what all others go on from."""
        usage = meter.running
        if usage is None or not _IDS.fullmatch(meter.prompt_ids):
            return False
        try:
            self._head = _head_decoder.decode(meter.first[5:])
        except UNREADABLE:
            return False
        self._prompt_ids, self._prompt_tokens = meter.prompt_ids, usage.prompt_tokens
        return True

    def _tells_text(self, event: bytes) -> bool:
        """Raises ValueError for what a parser on the node made of the text."""
        (choice,) = _event_decoder.decode(event[5:]).choices
        delta = choice.delta
        if delta.reasoning is not None or bytes(delta.tool_calls) != b"null":
            raise ValueError("it is not the text of the answer")
        self.finished = choice.finish_reason is not None
        return self.finished or bool(delta.content or choice.text)

    # -- the next node ----------------------------------------------------------------------------

    @property
    def unsure(self) -> bool:
        """The seam is to be probed first."""
        return self._unsure

    def asks(self, served_model: str) -> tuple[str, bytes]:
        """Where to post what, for the next step."""
        if self._unsure:
            last = b",".join(self._ids[-PROBED_IDS:])
            return PROBE_PATH, _encode({"model": served_model, "tokens": Raw(b"[%b]" % last)})
        delivered = len(self._ids)
        ids = b",".join([self._prompt_ids, *self._ids])
        return PATH, continuation(
            self._question,
            self._body,
            ids,
            served_model=served_model,
            delivered_tokens=delivered,
            tokens_max=self._tokens_max - delivered,
        )

    def probed(self, answer: bytes) -> bool:
        """The text of the last ids came. False if no seam was found among them."""
        try:
            text = _text_decoder.decode(answer).prompt
        except UNREADABLE:
            return False
        self._probes += 1
        if not text.endswith(_HALF):
            self._unsure = False
            return True
        *before, last = self.legs
        if self._probes == PROBES_MAX or last.usage.completion_tokens < 2:
            return False
        self._ids.pop()
        usage = msgspec.structs.replace(
            last.usage, completion_tokens=last.usage.completion_tokens - 1
        )
        self.legs = (*before, msgspec.structs.replace(last, usage=usage))
        return True

    def meter(self) -> StitchedMeter:
        """For the answer of the next node."""
        before = Usage(prompt_tokens=self._prompt_tokens, completion_tokens=len(self._ids))
        return StitchedMeter(self._question, self._head, before)

    def usage_event(self) -> bytes:
        """The closing event of an answer that was whole but for it."""
        return self.meter().closed(Usage(prompt_tokens=0))

    # -- money ------------------------------------------------------------------------------------

    def legs_with(self, attempt: Attempt, counted: Counted | None) -> tuple[Leg, ...]:
        """What each node delivered, this one too: the prompt is the first one's."""
        own = None if counted is None or attempt is self._taken else counted[0]
        if own is None or not own.completion_tokens:
            return self.legs
        if self.legs:
            own = msgspec.structs.replace(own, prompt_tokens=0, cached_tokens=0)
        node = attempt.node
        leg = Leg(node_id=node.node_id, supplier_id=node.supplier_id, usage=own)
        return (*self.legs, leg)

    def progress(self, charge_id: str, attempt: Attempt) -> ChargeProgress | None:
        """How far the stream is with all its nodes."""
        running = attempt.meter.running
        counted = None if running is None else (running, UsageSource.COUNTED)
        legs = self.legs_with(attempt, counted)
        if not legs:
            return None
        *before, last = legs
        return ChargeProgress(
            charge_id=charge_id,
            node_id=last.node_id,
            supplier_id=last.supplier_id,
            usage=total_of(legs),
            legs=tuple(before),
        )


def total_of(legs: tuple[Leg, ...]) -> Usage:
    usages = [leg.usage for leg in legs]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
    )
