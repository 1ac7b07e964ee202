"""Greedy answers of several nodes to one question, and whether one model wrote them. Pure.

The same model need not write the same text everywhere: kernels and batches differ in the last
bits, and where two tokens are equally likely that decides. So a different token counts only where
it was unlikely, and beyond it nothing is compared. Before it the logprobs of the same tokens must
be close: a quantised model mostly writes the same, and is less or more sure of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import takewhile
from typing import Any

import msgspec

TIE_NATS = 0.5
"""Two tokens whose logprobs are no further apart are equally likely."""
STEPS_MIN = 8
"""With fewer of the same tokens in a row, their logprobs say nothing."""
PREFIX_CHARS = 12
"""Texts without logprobs that part before this are different."""
NEVER_NATS = -1e4


class Step(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    token: str
    logprob: float
    top: dict[str, float]
    """The likeliest tokens at this place."""


class Greedy(msgspec.Struct, frozen=True, kw_only=True):
    """One node's answer."""

    text: str
    steps: tuple[Step, ...]
    """Empty if the node tells no logprobs."""
    tokens: int = 0
    """Prompt and completion, as it claims."""


class Likeness(StrEnum):
    SAME = "same"
    DIFFERENT = "different"
    UNSURE = "unsure"


class _Top(msgspec.Struct):
    token: str
    logprob: float


class _Content(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_Top] = []


class _Logprobs(msgspec.Struct):
    content: list[_Content] | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    delta: _Message | None = None
    logprobs: _Logprobs | None = None


class _Usage(msgspec.Struct):
    total_tokens: int = 0


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_DATA, _DONE = b"data:", b"[DONE]"


def read_greedy(answer: bytes, *, stream: bool) -> Greedy | None:
    """None if it cannot be read."""
    try:
        parts = [_decode(data) for data in _events(answer)] if stream else [_decode(answer)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    text: list[str] = []
    steps: list[Step] = []
    tokens = 0
    for part in parts:
        if part.usage is not None:
            tokens = part.usage.total_tokens
        for choice in part.choices:
            said = choice.delta or choice.message
            if said is not None:
                text += [said.reasoning or "", said.content or ""]
            logprobs = None if choice.logprobs is None else choice.logprobs.content
            steps += [_step(content) for content in logprobs or ()]
    return Greedy(text="".join(text), steps=tuple(steps), tokens=tokens)


def _events(answer: bytes) -> list[bytes]:
    lines = (line.strip() for line in answer.splitlines())
    data = [line[len(_DATA) :].strip() for line in lines if line.startswith(_DATA)]
    return [each for each in data if each != _DONE]


def _step(content: _Content) -> Step:
    top = {each.token: max(each.logprob, NEVER_NATS) for each in content.top_logprobs}
    return Step(token=content.token, logprob=max(content.logprob, NEVER_NATS), top=top)


def likeness(one: Greedy, other: Greedy, gap_max: float) -> Likeness:
    """`gap_max`: nats between logprobs of the same tokens, in the mean."""
    if not one.steps or not other.steps:
        return _of_texts(one.text, other.text)
    same = _same(one, other)
    # That one ended there is a token that nobody is shown.
    for mine, its in zip(one.steps[same : same + 1], other.steps[same : same + 1], strict=False):
        if not _is_tie(mine, its):
            return Likeness.DIFFERENT
    gap = gap_nats(one, other)
    if gap is None:
        return Likeness.UNSURE
    return Likeness.SAME if gap <= gap_max else Likeness.DIFFERENT


def gap_nats(one: Greedy, other: Greedy) -> float | None:
    """Between the logprobs of the tokens that both begin with, in the mean; None: too few."""
    same = _same(one, other)
    if same < STEPS_MIN:
        return None
    pairs = zip(one.steps[:same], other.steps[:same], strict=True)
    return sum(abs(mine.logprob - its.logprob) for mine, its in pairs) / same


def _same(one: Greedy, other: Greedy) -> int:
    """How many tokens are the same, before the first that is not."""
    pairs = zip(one.steps, other.steps, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0].token == pair[1].token, pairs))


def _is_tie(mine: Step, its: Step) -> bool:
    """Each would as soon have written the other's."""
    return _near(mine, its.token) and _near(its, mine.token)


def _near(step: Step, token: str) -> bool:
    return step.logprob - step.top.get(token, NEVER_NATS) <= TIE_NATS


def _of_texts(one: str, other: str) -> Likeness:
    if not one or not other:
        return Likeness.UNSURE
    if one == other:
        return Likeness.SAME
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return Likeness.DIFFERENT if same is not None and same < PREFIX_CHARS else Likeness.UNSURE


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who answered."""

    supplier_id: str
    trusted: bool
    answer: Greedy


def verdicts(asked: Mapping[str, Asked], gap_max: float) -> dict[str, Likeness]:
    """What each node's answer is to the right one, by node id; empty where nobody can say which
    that is: it is the one of a trusted node, or the one of most suppliers, of more than half.
    """
    right = _right(asked, gap_max)
    if right is None:
        return {}
    answer = asked[right].answer
    return {
        node_id: likeness(answer, each.answer, gap_max)
        for node_id, each in asked.items()
        if node_id != right or not each.trusted
    }


def gaps_nats(asked: Mapping[str, Asked], gap_max: float) -> dict[str, float]:
    """How far from the right answer's logprobs each node's are that told enough of them."""
    right = _right(asked, gap_max)
    if right is None:
        return {}
    answer = asked[right].answer
    gaps = {
        node_id: gap_nats(answer, each.answer)
        for node_id, each in asked.items()
        if node_id != right
    }
    return {node_id: gap for node_id, gap in gaps.items() if gap is not None}


def _right(asked: Mapping[str, Asked], gap_max: float) -> str | None:
    trusted = [node_id for node_id, each in asked.items() if each.trusted]
    if trusted:
        return min(trusted)
    suppliers = {each.supplier_id for each in asked.values()}
    behind: dict[str, set[str]] = {}
    for node_id, each in asked.items():
        behind[node_id] = {
            other.supplier_id
            for other in asked.values()
            if likeness(each.answer, other.answer, gap_max) is Likeness.SAME
        }
    best = max(behind, key=lambda node_id: (len(behind[node_id]), node_id), default=None)
    if best is None or len(behind[best]) < 2 or len(behind[best]) * 2 <= len(suppliers):
        return None
    return best


def quote(asked: Mapping[str, Asked]) -> dict[str, Any]:
    """For the log: how each answer begins."""
    return {node_id: each.answer.text[:60] for node_id, each in asked.items()}
