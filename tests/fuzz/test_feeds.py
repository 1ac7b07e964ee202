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


@pytest.fixture(scope="module", params=["protocol", "asgi"])
def gateway(request):
    with world(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def protocol_gateway():
    with world() as made:
        yield made


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
    """What the client reads and what is charged, but for the times and how chunks were cut."""
    played = Play(world, script).run()
    if world.driver == "protocol":
        assert check(world, script, played)[1] == []
    assert world.loop.faults == []
    methods = [head.raw.partition(b" ")[0] for head, _ in world.begun]
    answers = read_answers(played.answer, methods, closed=True)
    charges, still_open = world.spool.booked()
    assert len(still_open) == 0
    records = [
        msgspec.structs.replace(group.charge, **dict.fromkeys(_TIMES, 0)) for group in charges
    ]
    return [msgspec.structs.replace(answer, chunks=[]) for answer in answers], records


CLIENTS, NODES, CAPTURED = clients(), nodes(), dict(captured())


@pytest.mark.parametrize("name", CLIENTS)
def test_request_cut_anywhere_is_the_same_request(protocol_gateway, name):
    whole = outcome(protocol_gateway, CLIENTS[name])
    for script in feeds(CLIENTS[name]):
        assert outcome(protocol_gateway, script) == whole


@pytest.mark.parametrize("name", [*NODES, *CAPTURED])
def test_answer_cut_anywhere_is_the_same_answer(gateway, name):
    script = (NODES | CAPTURED)[name]
    whole = outcome(gateway, script)
    assert whole[0]
    for each in feeds(script):
        assert outcome(gateway, each) == whole


@pytest.mark.parametrize("name", [*NODES, *CAPTURED])
def test_both_drivers_give_the_same_answer_and_charge(protocol_gateway, name):
    script = (NODES | CAPTURED)[name]
    with world("asgi") as asgi_gateway:
        told, charged = outcome(asgi_gateway, script)
    ours, ours_charged = outcome(protocol_gateway, script)
    assert [(a.status, a.body, a.whole) for a in told] == [
        (a.status, a.body, a.whole) for a in ours
    ]
    assert charged == ours_charged
