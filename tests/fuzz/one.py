"""One input, whole: its script played and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from .answers import Answer, MalformedAnswerError
from .check import check
from .client_inputs import client_script
from .loop import StuckError
from .node_inputs import node_script
from .play import Play, Played
from .script import Script
from .world import World

SIDES: dict[str, Callable[[int], Script]] = {"client": client_script, "node": node_script}


class Found(msgspec.Struct):
    """What came of an input."""

    faults: list[str]
    outcomes: Counter[str]
    """How its requests and charges ended."""


def play(world: World, script: Script) -> Found:
    try:
        played = Play(world, script).run()
        answers, faults = check(world, script, played)
    except (StuckError, AssertionError, RuntimeError, ValueError, TypeError, KeyError) as error:
        return Found([f"raised: {error!r}"], Counter())
    return Found(faults, _outcomes(played, answers))


def _outcomes(played: Played, answers: list[Answer]) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for answer in answers:
        outcomes[_outcome(answer)] += 1
    if not answers:
        outcomes["no answer"] += 1
    for row in played.rows:
        if hasattr(row, "outcome"):
            outcomes[f"charge {row.outcome}"] += 1
    tried = Counter(asked.request.partition(b"x-request-id: ")[2][:28] for asked in played.nodes)
    outcomes["failed over"] += sum(count > 1 for count in tried.values())
    return outcomes


def _outcome(answer: Answer) -> str:
    if not answer.whole:
        return f"{answer.status} cut" if answer.status else "head cut"
    if answer.status < 400 or not answer.body:
        stream = answer.headers.get(b"content-type", b"").startswith(b"text/event-stream")
        return f"{answer.status}{' stream' if stream else ''}"
    try:
        return f"{answer.status} {answer.error['code']}"
    except MalformedAnswerError:
        return f"{answer.status}"
