"""The same bytes cut anywhere are the same exchange: the same answers, the same charges."""

from __future__ import annotations

import re
from functools import cache
from random import Random

import msgspec
import pytest

from metering.charge import ChargeRecord

from .answers import Answer
from .check import check
from .play import Play
from .scenarios import captured, clients, nodes
from .script import Script
from .world import World, world

SPLITS = 3


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


_CREATED = re.compile(rb'"created":\d+,')


class Outcome(msgspec.Struct):
    """What the client reads, what is charged and what is wrong; but for the times, for how chunks
    were cut, for the node (the router learns of them meanwhile), and for whether the connection
    ends: a stranger's does before the body, if that comes later.
    """

    answers: list[Answer]
    charges: list[ChargeRecord]
    faults: list[str]


def outcome(gateway: World, script: Script) -> Outcome:
    played = Play(gateway, script).run()
    answers, faults = check(gateway, script, played)
    for answer in answers:
        answer.chunks = []
        for name in (b"connection", b"openai-processing-ms"):
            answer.headers.pop(name, None)
        answer.body = _CREATED.sub(b"", answer.body)
    booked, _ = gateway.spool.booked()
    not_compared = {"charge_id": "", "node_id": "", "created_ns": 0, "closed_ns": 0, "ttft_ns": 0}
    charges = [
        msgspec.structs.replace(group.charge, **not_compared)
        for group in booked
        if group.charge is not None
    ]
    return Outcome(answers, charges, faults)


@cache
def outcomes(driver: str) -> dict[str, list[Outcome]]:
    """Of every scenario: whole, then in each feed. Clients only before our own connection: under
    another server their side is its affair.
    """
    scripts = CLIENTS | NODES if driver == "protocol" else NODES
    with world(driver) as gateway:
        return {
            name: [outcome(gateway, each) for each in [script, *feeds(script)]]
            for name, script in scripts.items()
        }


CLIENTS, NODES = clients(), nodes() | dict(captured())


@pytest.mark.parametrize("name", [*CLIENTS, *NODES])
def test_bytes_cut_anywhere_are_the_same_exchange(name):
    whole, *cut = outcomes("protocol")[name]
    assert whole.answers or "leaving" in name
    assert whole.faults == []
    for each in cut:
        assert each == whole


@pytest.mark.parametrize("name", NODES)
def test_answer_cut_anywhere_is_the_same_over_the_other_driver(name):
    whole, *cut = outcomes("asgi")[name]
    assert whole.faults == []
    for each in cut:
        assert each == whole
    ours = outcomes("protocol")[name][0]
    assert [(a.status, a.body, a.whole) for a in whole.answers] == [
        (a.status, a.body, a.whole) for a in ours.answers
    ]
    assert whole.charges == ours.charges
