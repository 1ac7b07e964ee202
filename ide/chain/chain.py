"""What a payment needs of a blockchain, whether that is an RPC node or the embedded VM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature


class ChainError(Exception):
    """The chain refused, or is not as it must be. What to do is said; nothing is half done."""


class ChainAwayError(ChainError):
    """The chain did not answer in time. What was asked for may be asked again."""


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """An account as of the last finalized block."""

    owner: Pubkey
    lamports: int
    data: bytes


class TransactionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that is in a block: of which the fee was taken, even if it failed.

    `error` is None if it did what it says. Until it is `finalized` a fork may still undo it.
    """

    finalized: bool
    slot: int
    error: str | None


class Chain(Protocol):
    """Methods raise ChainError; of it ChainAwayError when there was no answer."""

    @property
    def name(self) -> str:
        """For messages: without secrets."""
        ...

    def identity(self) -> str:
        """The genesis hash: which chain this is."""
        ...

    def accounts(self, addresses: Sequence[Pubkey]) -> list[AccountState | None]:
        """As of the last finalized block, in the order asked for; None where there is none."""
        ...

    def statuses(self, signatures: Sequence[Signature]) -> list[TransactionStatus | None]:
        """Over all of the history that the chain's node keeps; None where it knows nothing."""
        ...

    def simulate(self, transaction: bytes) -> str | None:
        """Why it would fail on the newest block, None if it would not. Changes nothing."""
        ...

    def send(self, transaction: bytes) -> None:
        """Hand it over. That this returns does not say that it lands."""
        ...

    def latest_blockhash(self) -> Hash: ...

    def rent_lamports(self, size: int) -> int:
        """What an account of so many bytes must hold to stay."""
        ...

    def pause(self) -> None:
        """Return once it is worth to ask again."""
        ...
