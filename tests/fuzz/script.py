"""One input: what every side of the gateway does. Plain values, so that it can be kept and cut."""

from __future__ import annotations

import random
from enum import StrEnum
from itertools import pairwise

import msgspec

from .books import Durability

READ_BYTES_MAX = 256 * 1024
"""What uvloop reads from a socket at a time."""


class End(StrEnum):
    """What a side does once it has sent all it had."""

    STAYS = "stays"
    CLOSES = "closes"
    RESETS = "resets"


class Dialled(StrEnum):
    """What becomes of a new connection to a node."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    HANGS = "hangs"


class Side(msgspec.Struct, frozen=True):
    """Bytes, where they are cut, and what follows."""

    data: bytes
    cuts: tuple[int, ...] = ()
    end: End = End.STAYS

    def pieces(self) -> list[bytes]:
        """As they are read."""
        size = len(self.data)
        cuts = {*self.cuts, *range(0, size, READ_BYTES_MAX)}
        bounds = [*sorted(cut for cut in cuts if 0 <= cut < size), size]
        return [self.data[start:end] for start, end in pairwise(bounds)]

    def whole(self) -> Side:
        return msgspec.structs.replace(self, cuts=())

    def bytewise(self) -> Side:
        return msgspec.structs.replace(self, cuts=tuple(range(1, len(self.data))))

    def split(self, rng: random.Random) -> Side:
        """Cut anywhere, a few times or many."""
        count = rng.choice((0, 1, 1, 2, 3, 8, len(self.data) // 3))
        cuts = sorted({rng.randrange(len(self.data) + 1) for _ in range(count)})
        return msgspec.structs.replace(self, cuts=tuple(cuts))


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """`answers` are those of the nodes, whichever is asked, to the requests in the order in which
    they come; after the last one, and where there is none, nodes answer as they should.
    """

    client: Side
    answers: tuple[Side, ...] = ()
    dialled: tuple[Dialled, ...] = ()
    """Of the connections to nodes, in order; what is not listed is accepted."""
    reads: int = 0
    """Bytes that the client reads at a time; 0: whatever comes; -1: none at all."""
    durability: Durability = Durability.NOW
    seed: int = 0
    """Of the order in which things happen, and of the router's draws."""
    eager: bool = True
    """Every side goes on as soon as it can, in turn; else in any order, and time passes."""


def kept(script: Script) -> str:
    """As text that `parse` reads."""
    return msgspec.json.encode(script).decode()


def parse(text: str) -> Script:
    return msgspec.json.decode(text, type=Script)
