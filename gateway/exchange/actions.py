"""What an exchange asks its driver to do, in order. Plain values."""

from __future__ import annotations

import msgspec

from metering.charge import ChargeProgress, CloseCharge, OpenCharge
from router.types import NodeRecord


class Dial(msgspec.Struct, frozen=True):
    """Send this body to a node and report what it answers."""

    node: NodeRecord
    path: str
    body: bytes


class DialRival(Dial, frozen=True):
    """Ask another node for the same, beside the one that is late."""


class TakeRival(msgspec.Struct, frozen=True):
    """The node that was asked beside is the one now; the connection to the other is closed."""


class DropRival(msgspec.Struct, frozen=True):
    """Close the connection to the node that was asked beside."""


class HangUp(msgspec.Struct, frozen=True):
    """Close the connection to the node now: it aborts the request when it sees that."""


class Record(msgspec.Struct, frozen=True):
    """Append a row to the spool. `awaited`: report `durable` when it is on disk."""

    row: OpenCharge | ChargeProgress | CloseCharge
    awaited: bool = True


class Respond(msgspec.Struct, frozen=True):
    """Answer with this status. `body` None: a stream follows in Send actions until End."""

    status: int
    content_type: bytes
    body: bytes | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Send(msgspec.Struct, frozen=True):
    data: bytes


class End(msgspec.Struct, frozen=True):
    """The response is complete."""


class Drop(msgspec.Struct, frozen=True):
    """Cut the client's connection: it stopped reading and holds a node."""


Action = Dial | TakeRival | DropRival | HangUp | Record | Respond | Send | End | Drop
