"""The tokens of an answer counted again, from the text that was delivered. Pure.

Tokenizing text anew is not exact. An engine also counts what no client sees: the token that ends a
choice, a stop string, the markup of reasoning and of tool calls. And what it generated need not be
the shortest way to write its text, though a model trained on such text nearly always takes that. So
a count has an allowance, and only what is claimed beyond both is held against a node. The other
way round (claiming less) harms nobody and is not looked at. docs/honesty.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

import msgspec

from metering.stream_meter import UNREADABLE, MalformedStreamError

CHOICE_TOKENS = 2
"""Of a choice that no client sees: the token that ends it, and one that the cut of it may merge."""

MARKUP_TOKENS = 8
"""Around the reasoning of a choice."""

CALL_TOKENS = 32
"""Around a tool call's name and arguments."""

PLAIN_PERCENT = 5
SHAPED_PERCENT = 50
SHAPED_TOKENS = 16

PROMPT_TOKENS = 96
"""Of a chat template around all messages: a default system prompt, the opening of the answer."""
MESSAGE_TOKENS = 12
"""Of it around one message."""
PROMPT_PERCENT = 2

SLICE_CHARS = 16 * 1024
"""A longer text is counted in parts: tokenizers take more than twice as long for twice as much."""

Count = Callable[[str], int]
"""Tokens of a text by itself."""


class Fit(StrEnum):
    """How well the tokens of an answer can be told from its text."""

    PLAIN = "plain"
    SHAPED = "shaped"
    """A grammar or a penalty bends how the model writes: token and text may part."""
    NONE = "none"
    """The text is not all that was generated, or not only that."""


class Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """What a client got, over all choices."""

    texts: list[str]
    """What each choice wrote, what it thought, and each tool call with its arguments."""
    choices: int
    reasoned: int
    """Choices with reasoning."""
    calls: int
    """Tool calls."""
    token_ids: int | None
    """Their number, if all text came with them."""
    cut: bool
    """A choice ended because its tokens were used up."""


class Recount(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens: `counted` by us, `claimed` by the node, and what may lie between them."""

    counted: int
    allowance: int
    claimed: int

    @property
    def expected(self) -> int:
        """The most that an honest node would claim."""
        return self.counted + self.allowance

    @property
    def honest(self) -> bool:
        return self.claimed <= self.expected


class _Called(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    function: _Called | None = None


class _Said(msgspec.Struct):
    """A message, or a piece of one."""

    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Said | None = None
    message: _Said | None = None
    text: str | None = None
    token_ids: list[int] | None = None
    finish_reason: str | None = None


class _Part(msgspec.Struct):
    """An event of a stream, or a whole answer."""

    choices: list[_Choice] | None = None


_decoder = msgspec.json.Decoder(_Part)
_WRITTEN, _REASONED = "written", "reasoned"


class _Pieces:
    """Texts by choice and by what of it they are."""

    def __init__(self) -> None:
        self._texts: dict[tuple[int, str], list[str]] = {}
        self._token_ids = 0
        self._all_have_ids = True
        self._cut = False

    def take(self, part: bytes) -> None:
        """Raises MalformedStreamError."""
        try:
            choices = _decoder.decode(part).choices or ()
        except UNREADABLE as error:
            raise MalformedStreamError(f"an answer cannot be read again: {error}") from None
        for choice in choices:
            self._cut = self._cut or choice.finish_reason == "length"
            found = list(_texts(choice))
            for kind, text in found:
                self._texts.setdefault((choice.index, kind), []).append(text)
            if choice.token_ids is not None:
                self._token_ids += len(choice.token_ids)
            elif found:
                self._all_have_ids = False

    def delivered(self) -> Delivered:
        kinds = list(self._texts)
        return Delivered(
            texts=["".join(pieces) for pieces in self._texts.values()],
            choices=len({index for index, _ in kinds}),
            reasoned=sum(kind == _REASONED for _, kind in kinds),
            calls=sum(kind not in (_WRITTEN, _REASONED) for _, kind in kinds),
            token_ids=self._token_ids if self._all_have_ids and self._token_ids else None,
            cut=self._cut,
        )


def delivered_by_stream(stream: bytes) -> Delivered:
    """What the events of a stream bring, as a node sent them. Raises MalformedStreamError."""
    pieces = _Pieces()
    for line in stream.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data:") and (data := line[5:].strip()) != b"[DONE]":
            pieces.take(data)
    return pieces.delivered()


def delivered_by_answer(body: bytes) -> Delivered:
    """What an answer that is not streamed brings. Raises MalformedStreamError."""
    pieces = _Pieces()
    pieces.take(body)
    return pieces.delivered()


def recount_completion(
    delivered: Delivered,
    claimed: int,
    *,
    count: Count | None,
    fit: Fit,
    choices: int,
    hidden_tokens_max: int,
) -> Recount:
    """`count` None: the model's tokenizer is not known, and a token is taken for one byte at least.

    `choices` were asked for; `hidden_tokens_max` of each may have been cut off its end (by a stop
    string).
    """
    if fit is Fit.PLAIN and delivered.token_ids is not None and not _marked_up(delivered):
        return Recount(counted=delivered.token_ids, allowance=0, claimed=claimed)
    counted = sum(_count(text, count) for text in delivered.texts)
    allowance = choices * (CHOICE_TOKENS + hidden_tokens_max)
    allowance += delivered.reasoned * MARKUP_TOKENS + delivered.calls * CALL_TOKENS
    if fit is Fit.PLAIN and not delivered.calls:
        allowance += counted * PLAIN_PERCENT // 100
    else:
        allowance += counted * SHAPED_PERCENT // 100 + SHAPED_TOKENS * choices
    return Recount(counted=counted, allowance=allowance, claimed=claimed)


def recount_prompt(
    texts: list[str], claimed: int, *, count: Count | None, token_ids: int, template: bool
) -> Recount:
    """Of a request's prompts: their texts, and `token_ids` that were given as such.

    `template`: they are messages of a chat, around each of which a template writes something.
    """
    counted = sum(_count(text, count) for text in texts) + token_ids
    allowance = (PROMPT_TOKENS if template else 0) + MESSAGE_TOKENS * max(1, len(texts))
    allowance += counted * PROMPT_PERCENT // 100
    return Recount(counted=counted, allowance=allowance, claimed=claimed)


def _marked_up(delivered: Delivered) -> bool:
    """A parser stood between tokens and text, and may have kept some ids to itself."""
    return bool(delivered.reasoned or delivered.calls)


def _count(text: str, count: Count | None) -> int:
    if count is None:
        return len(text.encode("utf-8", "replace"))
    slices = range(0, len(text), SLICE_CHARS)
    return sum(count(text[start : start + SLICE_CHARS]) for start in slices)


def _texts(choice: _Choice) -> Iterator[tuple[str, str]]:
    said = choice.delta or choice.message or _Said()
    for text in (choice.text, said.content, said.refusal):
        if text:
            yield _WRITTEN, text
    for text in (said.reasoning, said.reasoning_content):
        if text:
            yield _REASONED, text
            break
    for place, call in enumerate(said.tool_calls or ()):
        number = call.index if choice.delta else place
        called = call.function or _Called()
        for text in (called.name, called.arguments):
            if text:
                yield f"call {number}", text
