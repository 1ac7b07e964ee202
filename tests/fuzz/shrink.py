"""The smallest script that is still wrong in the same way, found by leaving things out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from .books import Durability
from .script import End, Script, Side

TRIES_MAX = 600

Wrong = Callable[[Script], list[str]]


def kind_of(fault: str) -> str:
    """What two faults of the same sort have in common."""
    return re.sub(r"\d+|b['\"].*", "", fault)[-80:]


def shrink(script: Script, wrong: Wrong) -> Script:
    """`wrong` plays a script and tells its faults."""
    wanted = {kind_of(fault) for fault in wrong(script)}
    tries = 0
    smaller = True
    while smaller and tries < TRIES_MAX:
        smaller = False
        for candidate in _smaller(script):
            tries += 1
            if tries > TRIES_MAX:
                break
            if wanted & {kind_of(fault) for fault in wrong(candidate)}:
                script, smaller = candidate, True
                break
    return script


def _smaller(script: Script) -> Iterator[Script]:
    for plain in (
        {"eager": True},
        {"durability": Durability.NOW},
        {"dialled": ()},
        {"reads": 0},
        {"answers": script.answers[:-1]},
        {"answers": script.answers[1:]},
    ):
        changed = msgspec.structs.replace(script, **plain)
        if changed != script:
            yield changed
    for side in _smaller_sides(script.client):
        yield msgspec.structs.replace(script, client=side)
    for index, answer in enumerate(script.answers):
        for side in _smaller_sides(answer):
            answers = (*script.answers[:index], side, *script.answers[index + 1 :])
            yield msgspec.structs.replace(script, answers=answers)


def _smaller_sides(side: Side) -> Iterator[Side]:
    if side.end is not End.STAYS:
        yield msgspec.structs.replace(side, end=End.STAYS)
    if side.cuts:
        yield side.whole()
    for cut in side.cuts if len(side.cuts) <= 8 else ():
        yield msgspec.structs.replace(side, cuts=tuple(c for c in side.cuts if c != cut))
    size = len(side.data) // 2
    while size >= max(1, len(side.data) // 64):
        for start in range(0, len(side.data), size):
            yield msgspec.structs.replace(side, data=side.data[:start] + side.data[start + size :])
        size //= 2
