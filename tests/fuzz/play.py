"""Plays one script before a world, event by event, until all has come to rest."""

from __future__ import annotations

import re
from random import Random

import msgspec

from metering.charge import Row

from .books import Durability
from .honest import honest_answer
from .loop import Connected, NewProtocol
from .script import Dialled, End, Script, Side
from .transport import Wire
from .world import SECOND_NS, World

LEAPS_MAX = 60
"""Seconds in which everything must have ended by itself, whoever is silent."""

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)")


class Answered(msgspec.Struct):
    """A request that reached a node, and what the node said to it as far as it came."""

    request: bytes
    node: str
    wire: int
    """Which connection it came on."""
    said: bytearray
    meant: Side
    honest: bool
    """It answered as a good node does."""
    reused_after: int | None = None
    """How much of that was said when the next request came on this connection: nobody can tell that
    what is said from then on is not the answer to it."""


class Played(msgspec.Struct):
    """What came of a script."""

    answer: bytes
    """All that the client was sent and could read."""
    cut: bool
    """The connection ended before all that was written was sent."""
    rows: list[Row]
    nodes: list[Answered]
    wires: list[Wire]
    """To nodes."""
    client: Wire
    client_left: bool
    """It closed or reset before the gateway did, or it never read."""
    leaps: int
    held_most: int


class _Talker:
    """One side's bytes on their way to the gateway, piece by piece."""

    def __init__(self, wire: Wire, side: Side) -> None:
        self.wire = wire
        self.left = False
        self._pieces = side.pieces()
        self._end = side.end
        self._next = 0
        self._over = False
        self.said = bytearray()

    @property
    def busy(self) -> bool:
        return not self._over and (self.wire.heard or self.wire.closed)

    def step(self) -> None:
        if self.wire.closed:
            self._over = True
        elif self._next < len(self._pieces):
            piece = self._pieces[self._next]
            self._next += 1
            self.said += piece
            self.wire.deliver(piece)
        else:
            self._over = True
            if self._end is End.CLOSES:
                self.left = True
                self.wire.deliver_eof()
            elif self._end is End.RESETS:
                self.left = True
                self.wire.reset()


class _Node:
    """The far end of a connection to a node: answers the requests that come on it."""

    def __init__(self, play: Play, wire: Wire, name: str, index: int) -> None:
        self._play = play
        self._wire = wire
        self._name = name
        self._index = index
        self._talker: _Talker | None = None
        self._told: Answered | None = None
        self._answered = 0

    @property
    def busy(self) -> bool:
        if self._talker is not None and self._talker.busy:
            return True
        return not self._wire.closed and len(self._wire.sent) > self._answered

    def step(self) -> None:
        if self._talker is not None and self._talker.busy:
            if self._told is not None and len(self._wire.sent) > self._answered:
                self._told.reused_after = self._told.reused_after or len(self._talker.said)
            self._talker.step()
            return
        request = bytes(self._wire.sent[self._answered :])
        head_bytes = request.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(request[:head_bytes])
        assert length is not None, request
        end = head_bytes + int(length[1])
        assert len(request) >= end, "the gateway writes a request at once"
        self._answered += end
        side, honest = self._play.next_answer(request[:end])
        self._talker = _Talker(self._wire, side)
        self._told = Answered(
            request[:end], self._name, self._index, self._talker.said, side, honest
        )
        self._play.nodes.append(self._told)
        self._talker.step()


class _Reader:
    """A client that reads so many bytes at a time."""

    def __init__(self, wire: Wire, most: int) -> None:
        self._wire = wire
        self._most = most

    @property
    def busy(self) -> bool:
        return self._most > 0 and self._wire.unsent > 0

    def step(self) -> None:
        self._wire.read(self._most)


class _Writer:
    """The spool's."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def busy(self) -> bool:
        return self._world.spool.busy

    def step(self) -> None:
        for tell, failure in self._world.spool.commit():
            self._world.loop.call_soon(tell, failure)


class Play:
    """One script. `run` plays it to its end."""

    def __init__(self, world: World, script: Script) -> None:
        self.nodes: list[Answered] = []
        self._world = world
        self._script = script
        self._rng = Random(script.seed)
        self._wires: list[Wire] = []
        self._held_most = 0
        self._leaps = 0

    def next_answer(self, request: bytes) -> tuple[Side, bool]:
        """What to say, and whether that is what a good node says."""
        asked = len(self.nodes)
        answers = self._script.answers
        if asked < len(answers):
            return answers[asked], False
        return Side(honest_answer(request)), True

    def run(self) -> Played:
        world, script = self._world, self._script
        world.reset(script.seed, script.durability)
        world.loop.connect = self._dial
        wire = world.client(reads_all=script.reads == 0)
        self._client = wire
        client = _Talker(wire, script.client)
        self._actors: list[_Talker | _Node | _Reader | _Writer] = [
            client, _Reader(wire, script.reads), _Writer(world),
        ]  # fmt: skip
        world.loop.run_ready()
        self._act()
        self._fall_silent()
        return Played(
            answer=bytes(wire.sent),
            cut=wire.unsent > 0,
            rows=world.spool.rows,
            nodes=self.nodes,
            wires=self._wires,
            client=wire,
            client_left=client.left,
            leaps=self._leaps,
            held_most=self._held_most,
        )

    def _act(self) -> None:
        """Until nobody has anything more to do at this moment."""
        loop, rng, eager = self._world.loop, self._rng, self._script.eager
        at_once = eager or self._script.durability is Durability.NOW
        writer = self._actors[2]
        while busy := [actor for actor in self._actors if actor.busy]:
            if eager:
                for actor in busy:
                    if actor.busy:
                        actor.step()
                        loop.run_ready()
            else:
                (writer if at_once and writer.busy else rng.choice(busy)).step()
                if rng.random() < 0.8:  # else two things happen in one turn
                    loop.run_ready()
                if rng.random() < 0.03:
                    loop.leap(rng.choice((1, 300, 1100, 2500)) * SECOND_NS // 1000)
            self._look()
        loop.run_ready()

    def _fall_silent(self) -> None:
        """Nobody says anything more: the gateway must end all of it by its own deadlines."""
        while self._leaps < LEAPS_MAX and not self._at_rest():
            self._leaps += 1
            self._world.loop.leap(SECOND_NS)
            self._act()

    def _at_rest(self) -> bool:
        world = self._world
        return (
            self._client.closed
            and not world.gateway._watch.count
            and not world.state.tasks
            and not world.loose(self._wires)
            and not any(actor.busy for actor in self._actors)
        )

    def _look(self) -> None:
        connection = self._client.protocol
        self._held_most = max(self._held_most, getattr(connection, "held_bytes", 0))

    async def _dial(self, new: NewProtocol, host: str) -> Connected:
        dialled, count = self._script.dialled, len(self._wires)
        how = dialled[count] if count < len(dialled) else Dialled.ACCEPTED
        wire = Wire(self._world.loop)
        self._wires.append(wire)
        if how is Dialled.REFUSED:
            raise ConnectionRefusedError("refused")
        if how is Dialled.HANGS:
            await self._world.loop.create_future()
        protocol = new()
        wire.attach(protocol)
        self._actors.append(_Node(self, wire, host, count))
        return wire, protocol
