"""The same bytes cut anywhere are the same exchange: the same answers, the same charges."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from metering.charge import ChargeRecord

from .answers import Answer, read_answers
from .check import check
from .play import Play
from .scenarios import captured, clients, nodes
from .script import Script
from .world import world

SPLITS = 3
_TIMES = ("created_ns", "closed_ns", "ttft_ns")


def feeds(script: Script) -> list[Script]:
    """Client and node byte by byte, then both in random splits."""
    rng = Random(len(script.client.data))

    def cut(client, answer) -> Script:
        answers = tuple(answer(side) for side in script.answers)
        return msgspec.structs.replace(script, client=client(script.client), answers=answers)

    by_byte = [
        cut(lambda side: side.bytewise(), lambda side: side),
        cut(lambda side: side, lambda side: side.bytewise()),
    ]
    anywhere = [
        cut(lambda side: side.split(rng), lambda side: side.split(rng)) for _ in range(SPLITS)
    ]
    return by_byte + anywhere


def outcome(world, script: Script) -> tuple[list[Answer], list[ChargeRecord]]:
    """What the client reads and what is charged; but for the times, for how chunks were cut, and
    for whether the connection ends: a stranger's does before the body, if that comes later.
    """
    played = Play(world, script).run()
    assert check(world, script, played)[1] == []
    methods = [head.raw.partition(b" ")[0] for head, _ in world.begun]
    answers = read_answers(played.answer, methods, closed=True)
    charges, still_open = world.spool.booked()
    assert len(still_open) == 0
    records = [
        msgspec.structs.replace(group.charge, charge_id="", **dict.fromkeys(_TIMES, 0))
        for group in charges
    ]
    for answer in answers:
        answer.chunks = []
        answer.headers.pop(b"connection", None)
    return answers, records


def outcomes(driver: str, scripts: list[Script]) -> list[tuple[list[Answer], list[ChargeRecord]]]:
    with world(driver) as gateway:
        return [outcome(gateway, script) for script in scripts]


CLIENTS, NODES = clients(), nodes() | dict(captured())


@pytest.mark.parametrize("name", CLIENTS)
def test_request_cut_anywhere_is_the_same_request(name):
    whole, *cut = outcomes("protocol", [CLIENTS[name], *feeds(CLIENTS[name])])
    assert all(each == whole for each in cut), [whole, *cut]


@pytest.mark.parametrize("name", NODES)
def test_answer_cut_anywhere_is_the_same_answer_over_both_drivers(name):
    scripts = [NODES[name], *feeds(NODES[name])]
    whole, *cut = outcomes("protocol", scripts)
    assert whole[0]
    assert all(each == whole for each in cut), [whole, *cut]
    by_asgi, *cut_by_asgi = outcomes("asgi", scripts)
    assert all(each == by_asgi for each in cut_by_asgi), [by_asgi, *cut_by_asgi]
    assert [(a.status, a.body, a.whole) for a in by_asgi[0]] == [
        (a.status, a.body, a.whole) for a in whole[0]
    ]
    assert by_asgi[1] == whole[1]
