"""What must hold after any input, however wrong the client or the node was."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

from gateway.client.connection import AHEAD_BYTES_MAX, WRITE_BUFFER_BYTES_HIGH
from metering.charge import CloseCharge, OpenCharge
from router.types import Condition

from . import reference
from .answers import Answer, MalformedAnswerError, read_answers
from .books import ACCOUNTS
from .play import LEAPS_MAX, Played
from .relayed import relayed_faults
from .script import READ_BYTES_MAX, Script
from .world import World

Faults = Iterator[str]

_UNREADY = b'{"ready":false'
"""What /readyz answers is not OpenAI's."""


def check(world: World, script: Script, played: Played) -> tuple[list[Answer], list[str]]:
    """The answers that the client got, and everything that is wrong."""
    faults = [*_nothing_escaped(world), *_all_ended(world, played)]
    if script.durability.lasts:
        faults += _books_balance(world, played)
    faults += [*_bounded(played), *_idle_connections_are_clean(world, played)]
    answers: list[Answer] = []
    try:
        methods = [head.raw.partition(b" ")[0] for head, _ in world.begun]
        answers = read_answers(played.answer, methods, closed=not played.cut)
        faults += _answers_fit(world, script, played, answers)
        faults += relayed_faults(played, answers)
    except MalformedAnswerError as error:
        faults.append(f"malformed answer: {error}")
    faults += _requests_are_what_h11_reads(world, script)
    return answers, faults


def _nothing_escaped(world: World) -> Faults:
    yield from (f"escaped: {fault}" for fault in world.loop.faults)
    yield from (f"logged: {complaint}" for complaint in world.complaints.found)


def _all_ended(world: World, played: Played) -> Faults:
    if played.leaps >= LEAPS_MAX:
        yield f"still not at rest after {LEAPS_MAX} s"
    if not played.client.closed:
        yield "the client's connection is open"
    if count := world.gateway._watch.count:
        yield f"{count} exchanges are under way"
    if world.state.tasks:
        yield f"{len(world.state.tasks)} requests are being answered"
    if world.state.connections or world.gateway.listener._connections:
        yield "a connection is still counted"
    if loose := world.loose(played.wires):
        yield f"{len(loose)} connections to nodes are neither idle nor closed"
    if len(tasks := asyncio.all_tasks(world.loop)) > 1:
        yield f"tasks are left: {tasks}"
    for view in world.gateway._router.nodes(world.loop.now_ns):
        if view.in_flight:
            yield f"{view.in_flight} requests in flight on {view.node.node_id}"
        if view.on_trial and view.condition(world.loop.now_ns) is Condition.HALF_OPEN:
            yield f"{view.node.node_id} is on trial"


def _books_balance(world: World, played: Played) -> Faults:
    opened = Counter(row.charge_id for row in played.rows if type(row) is OpenCharge)
    closed = Counter(row.charge_id for row in played.rows if type(row) is CloseCharge)
    if opened != closed or any(count > 1 for count in opened.values()):
        yield f"opened {dict(opened)}, closed {dict(closed)}"
        return
    if count := world.till.open_charges:
        yield f"{count} charges are open in the till"
    groups, still_open = world.spool.booked()
    if len(still_open):
        yield f"{len(still_open)} charges are open in the spool"
    charged: Counter[str] = Counter()
    for group in groups:
        assert group.charge is not None
        charged[group.charge.account] += group.charge.charged_nano_usd
    till = world.till
    for account, credit in ACCOUNTS.items():
        available = till._budget.available(account)
        if available + charged[account] != credit:
            yield f"'{account}': {available} available, {charged[account]} charged of {credit}"
    for key, pools in till._limiter.keys.items():
        if pools._places.free != pools._places.limit:
            yield f"{key}: {pools._places.free} of {pools._places.limit} places are free"


def _bounded(played: Played) -> Faults:
    if played.held_most > AHEAD_BYTES_MAX + READ_BYTES_MAX:
        yield f"{played.held_most} bytes of requests were held"
    if played.client.unsent_most > WRITE_BUFFER_BYTES_HIGH + 2 * READ_BYTES_MAX:
        yield f"{played.client.unsent_most} bytes were written to a client that read nothing"


def _idle_connections_are_clean(world: World, played: Played) -> Faults:
    """A connection serves another request only after an answer that ended where it said."""
    idle = world.idle_wires()
    last = {asked.wire: index for index, asked in enumerate(played.nodes)}
    for index, asked in enumerate(played.nodes):
        wire = played.wires[asked.wire]
        if (last[asked.wire] != index or wire in idle) and not asked.honest:
            said = bytes(asked.said[: asked.reused_after])
            read = reference.response_in(said, closed=False)
            if not read.reusable:
                yield f"a connection was kept after {said[-200:]!r} ({read.verdict})"


def _answers_fit(world: World, script: Script, played: Played, answers: list[Answer]) -> Faults:
    whole = [answer for answer in answers if answer.whole]
    if len(answers) > len(world.begun) + 1:
        yield f"{len(answers)} answers to {len(world.begun)} requests"
    for answer in whole:
        told = answer.headers.get(b"content-type") == b"application/json" and answer.body
        if answer.status >= 400 and told:
            if not answer.body.startswith(_UNREADY):
                assert answer.error
        elif answer.status >= 400 and not answer.body:
            pass
        elif answer.status >= 400:
            yield f"a {answer.status} without an error object: {answer.body[:200]!r}"
    if not _listens(script, played):
        return
    if len(whole) < len(answers):
        yield f"the last answer is cut: {played.answer[-200:]!r}"
    if played.cut:
        yield "the connection ended before all was sent"


def _listens(script: Script, played: Played) -> bool:
    """The client read everything and never left."""
    return script.reads == 0 and not played.client_left


def _requests_are_what_h11_reads(world: World, script: Script) -> Faults:
    """Whatever was taken for a request, another reader takes for the same one: no smuggling."""
    if not world.begun:
        return
    read = reference.requests_in(script.client.data)
    for index, (head, body) in enumerate(world.begun):
        method, target, _ = head.raw.split(b" ", 2)
        if index >= len(read):
            yield f"h11 reads no request {index}, we read {head.raw!r}"
            return
        theirs = read[index]
        if (theirs.method, theirs.target) != (method, target):
            yield f"h11 reads {theirs.method!r} {theirs.target!r}, we {head.raw!r}"
            return
        if body is not None and not (theirs.whole and theirs.body == body):
            yield f"h11 reads the body {theirs.body!r}, we {body!r}"
            return
    for body in world.bodies:
        if body not in {each.body for each in read if each.whole}:
            yield f"a body that h11 does not read: {body!r}"
