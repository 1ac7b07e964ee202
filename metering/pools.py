"""What a gateway says to the pools that it shares with others, and what they answer. Pure."""

from __future__ import annotations

from typing import Protocol

import msgspec

from metering.shared_budget import CreditStatement
from metering.shares import Grant, PlaceStatement, WindowStatement


class PoolsUnavailableError(Exception):
    """Redis cannot be reached, or does not answer as it should. Ask again later."""


class DisownedError(PoolsUnavailableError):
    """Another life of the same writer was heard last. To be heard again, drop the writer."""


class Question(msgspec.Struct, kw_only=True):
    """What a member says and asks. A `generation` that is not the pools' gets only theirs back."""

    member: str
    """This life of a gateway."""
    writer: str
    """Its spool's, which outlives it: leases on money go by it."""
    generation: str
    number: int
    """Of this member, rising: one that is overtaken, on a connection given up, is not heard."""
    nonce: str
    """The name of the next generation, should one begin now."""
    booked_seq: int
    """The ledger's sequence number at the last booking of `writer` and `dropped`, or later."""
    joins: bool = False
    """All leases of the writer are in this question."""
    register: list[str] | msgspec.UnsetType = msgspec.UNSET
    """The writers whose leases must be known before any money is granted."""
    dropped: list[str] = msgspec.field(default_factory=list)
    """Writers all of whose charges are booked: their leases end."""
    windows: list[WindowStatement] = msgspec.field(default_factory=list)
    places: list[PlaceStatement] = msgspec.field(default_factory=list)
    credit: list[CreditStatement] = msgspec.field(default_factory=list)


class Answer(msgspec.Struct, kw_only=True):
    """What the pools answer, in the order of the statements."""

    generation: str
    slot: int
    left_ms: int
    """Until the slot ends."""
    joined: bool
    open: bool
    """Money is granted."""
    windows: list[Grant] = []
    places: list[Grant] = []
    credit: list[Grant] = []


class Pools(Protocol):
    """Judges each question in one step, before it looks at the next one."""

    async def ask(self, question: Question) -> Answer:
        """Raises PoolsUnavailableError, and the question may have been heard all the same; or
        DisownedError.
        """
