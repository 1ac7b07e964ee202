"""The short run: some of what `make fuzz` plays, and proof that it finds what it looks for."""

from __future__ import annotations

import msgspec
import pytest

from gateway.admission.till import Till
from gateway.drivers.driver import Driver
from metering.charge import CloseCharge

from .check import check
from .one import SIDES, play
from .play import Play
from .run import lines, run
from .scenarios import nodes
from .script import Script, Side
from .shrink import shrink
from .world import world

INPUTS = 1_500
RELAYED = nodes()["trailers"]


@pytest.mark.parametrize("side", SIDES)
def test_nothing_breaks(side):
    report = run(side, first_seed=1_000_000, inputs=INPUTS)
    assert not report.failures, "\n".join(lines(report))
    assert report.inputs == INPUTS
    assert len(report.outcomes) > 15


@pytest.mark.parametrize("side", SIDES)
def test_same_seed_is_the_same_input_and_the_same_outcome(side):
    found = []
    for _ in range(2):
        with world() as made:
            found.append([(SIDES[side](seed), play(made, SIDES[side](seed))) for seed in range(20)])
    assert found[0] == found[1]


def faults(script: Script, *, damage=lambda world, played: None) -> list[str]:
    with world() as made:
        played = Play(made, script).run()
        damage(made, played)
        return check(made, script, played)[1]


def told(played, old: bytes, new: bytes) -> None:
    assert old in played.answer
    played.answer = played.answer.replace(old, new)


DAMAGES = {
    "an answer without its end": lambda world, played: told(played, b"0\r\n\r\n", b""),
    "an answer of another length": lambda world, played: told(played, b"\r\n\r\n", b"\r\n\r\nx"),
    "an event that no node sent": lambda world, played: told(played, b" w2", b" w7"),
    "a charge that is not closed": lambda world, played: played.rows.pop(),
    "a charge closed twice": lambda world, played: played.rows.append(played.rows[-1]),
    "a hold that is left": lambda world, played: world.gateway._books.till._budget.reserve(
        "acme", 1
    ),
    "a complaint": lambda world, played: world.complaints.found.append("x"),
    "an exception": lambda world, played: world.loop.faults.append("x"),
    "a request that was not sent": lambda world, played: world.bodies.append(b"{}"),
    "a head read differently": lambda world, played: world.begun.insert(0, world.begun[0]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_check_finds(damage):
    script = RELAYED
    assert not faults(script)
    assert faults(script, damage=DAMAGES[damage])


def test_the_check_finds_a_wrong_bill():
    def overcharge(world, played) -> None:
        close = played.rows[-1]
        assert isinstance(close, CloseCharge)
        usage = msgspec.structs.replace(close.usage, completion_tokens=99)
        played.rows[-1] = msgspec.structs.replace(close, usage=usage)

    assert any("billed (5, 99)" in fault for fault in faults(RELAYED, damage=overcharge))


@pytest.mark.parametrize(("where", "what"), [(Driver, "_finish"), (Till, "_settle")])
def test_the_check_finds_what_a_gateway_forgets(monkeypatch, where, what):
    monkeypatch.setattr(where, what, lambda *_: None)
    assert faults(nodes()["silent in the middle"])


def test_a_failure_is_shrunk_to_what_makes_it_fail():
    noisy = Side(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50 + b"BUG\r\n\r\n", cuts=(3, 9, 40))
    script = Script(client=noisy, answers=(noisy,), eager=False, reads=5)
    smallest = shrink(script, lambda each: ["bug 7"] if b"BUG" in each.client.data else [])
    assert len(smallest.client.data) < 12
    assert (smallest.answers, smallest.reads, smallest.client.cuts) == ((), 0, ())
