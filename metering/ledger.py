"""The ledger: what every implementation of it offers, and what it tells.

Debits equal credits, always. Rows get a sequence number `seq` in the order of commits; a range
(from, to] of it is what an epoch settles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from metering.charge import ChargeRecord
from metering.epoch_seal import EpochSeal, PayoutRow, SealedEpoch, ServedCharge, WriterEnd
from metering.transfer import Group, PostResult, Transfer, TransferKind

__all__ = [
    "AccountBalance",
    "Balance",
    "BookedTransfer",
    "ChainEnd",
    "ChargeTotal",
    "EpochRow",
    "Group",
    "Ledger",
    "LedgerError",
    "OnProgress",
    "PostResult",
    "Transfer",
    "TransferKind",
    "Verification",
]


class LedgerError(Exception):
    """The ledger cannot be reached, opened or trusted. What was asked for may be asked again."""


class ConflictError(LedgerError):
    """A row of that key exists, or a value is not allowed. What was asked for left no trace."""


class TextError(LedgerError):
    """A text has a NUL, of which PostgreSQL keeps none: nothing is named so, and nothing can be."""


class DamagedError(LedgerError):
    """What is stored cannot be read as what was written."""


class Balance(msgspec.Struct, frozen=True):
    """Four counters in the smallest unit of the account's asset."""

    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0

    @property
    def posted(self) -> int:
        """What the account holds: credits less debits, holds aside."""
        return self.credits_posted - self.debits_posted

    @property
    def available(self) -> int:
        """What may still be debited: what it holds less what is on hold."""
        return self.posted - self.debits_pending


class AccountBalance(msgspec.Struct, frozen=True):
    """A line of the trial balance."""

    account: str
    balance: Balance


class ChargeTotal(msgspec.Struct, frozen=True, kw_only=True):
    """The billed charges of one supplier and model over a range of the ledger."""

    supplier_id: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost_nano_usd: int
    charged_nano_usd: int
    charges: int


class EpochRow(msgspec.Struct, frozen=True, kw_only=True):
    """A settled epoch over the ledger's rows (from_seq, to_seq].

    `params`, `inputs`, `result` and `state` are canonical JSON; `hash` is the settlement's own.
    """

    epoch: int
    from_seq: int
    to_seq: int
    params: str
    inputs: str
    result: str
    state: str
    created_ns: int
    hash: str


class BookedTransfer(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the books, with all that its hash covers."""

    seq: int
    booked_ns: int
    """Wall clock of whoever booked it."""
    writer: str
    hash: bytes
    transfer: Transfer
    settles: ChargeRecord | EpochRow | None = None


class ChainEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How far a writer's hash chain goes. Kept elsewhere, it shows later that nobody rewrote it."""

    links: int
    hash: str
    """Of the last link, in hex."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of the whole ledger found. `problem` names the first bad row, None if ok.

    `first_bad_seq` is None where no row of the books is bad, but what is kept beside them.
    """

    ok: bool
    transfers: int
    charges: int
    accounts: int
    writers: int
    first_bad_seq: int | None = None
    problem: str | None = None
    chains: dict[str, ChainEnd] = {}
    """By writer: those that were found right."""


OnProgress = Callable[[int, int], None]
"""Told now and then how many rows were looked at, and of how many."""


class Ledger(Protocol):
    """Methods raise LedgerError when the ledger cannot answer. Thread-safe."""

    def post(
        self, writer: str, groups: Sequence[Group], watermark: int | None = None
    ) -> list[PostResult]:
        """Book groups in order, in one database transaction; one result each.

        A failed group leaves no trace and the others stand. `watermark` is how far the writer's
        own log is booked: it moves in the same transaction, forward only, and only if every group
        is in the books.
        """
        ...

    def watermark(self, writer: str) -> int:
        """The writer's last watermark, 0 if it never set one."""
        ...

    def open_account(self, account: str) -> bool:
        """Bring an account into being at zero. False if it exists. Raises AccountError."""
        ...

    def balance(self, account: str) -> Balance:
        """Zeros for an account that was never used."""
        ...

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        """Of these accounts at one moment; those never used are left out."""
        ...

    def trial_balance(self) -> list[AccountBalance]:
        """Every account, ordered by its id."""
        ...

    def charges(
        self,
        account: str | None = None,
        *,
        after_seq: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[ChargeRecord]:
        """Finished charges in the order of the ledger, of one customer or of all."""
        ...

    def charge_totals(self, from_seq: int, to_seq: int) -> list[ChargeTotal]:
        """Sums over (from_seq, to_seq] of what was billed, ordered by supplier and model."""
        ...

    def last_seq(self) -> int:
        """0 for an empty ledger."""
        ...

    def booked(
        self,
        after_seq: int = 0,
        to_seq: int | None = None,
        *,
        since_ns: int = 0,
        until_ns: int | None = None,
    ) -> Iterator[BookedTransfer]:
        """The rows (after_seq, to_seq] that were booked in [since_ns, until_ns), in their order and
        in constant memory. None is without end.
        """
        ...

    def open_holds(self, after_seq: int = 0) -> Iterator[tuple[int, Transfer]]:
        """Pending transfers that nothing resolved yet, each with its seq, in their order."""
        ...

    def served_charges(
        self, from_seq: int, to_seq: int, supplier_id: str | None = None
    ) -> Iterator[ServedCharge]:
        """What `charge_totals` sums, charge by charge in the order of the ledger and in constant
        memory; of one supplier or of all.
        """
        ...

    def writer_ends(self, from_seq: int, to_seq: int) -> list[WriterEnd]:
        """Each writer's last row of (from_seq, to_seq], ordered by writer."""
        ...

    def post_epoch(
        self,
        row: EpochRow,
        groups: Sequence[Group],
        writer: str,
        sealed: SealedEpoch | None = None,
    ) -> PostResult:
        """Book an epoch, its groups and its seal in one transaction, all or nothing.

        A repeat of the same epoch answers EXISTS (`created_ns` aside) and books nothing.
        """
        ...

    def epoch(self, number: int) -> EpochRow | None: ...

    def latest_epoch(self) -> EpochRow | None:
        """None before the first."""
        ...

    def epochs(self) -> Iterator[EpochRow]:
        """All of them, oldest first, one in memory at a time."""
        ...

    def seals(self, *, before: int | None = None, limit: int = 1) -> list[EpochSeal]:
        """Of the epochs before this one, the newest first. Epochs closed by an early version have
        none.
        """
        ...

    def payouts(
        self, epoch: int, *, after_leaf: int = -1, limit: int | None = None
    ) -> Iterator[PayoutRow]:
        """The leaves under an epoch's seal, in their order and in constant memory."""
        ...

    def payout(self, epoch: int, supplier_id: str) -> PayoutRow | None: ...

    def verify(self, on_progress: OnProgress | None = None) -> Verification:
        """Derive every balance and hash chain anew and compare."""
        ...

    def data_version(self) -> int:
        """A number that changes whenever another process or object changed the ledger."""
        ...

    def close(self) -> None: ...


def same_epoch(row: EpochRow, other: EpochRow) -> bool:
    """Equal but for when they were made."""
    return msgspec.structs.replace(row, created_ns=other.created_ns) == other


def follows(row: EpochRow, last: EpochRow | None, last_seq: int) -> bool:
    """May this epoch be the next? Numbers rise by one, and ranges leave no gap and no overlap."""
    if not row.from_seq <= row.to_seq <= last_seq:
        return False
    if last is None:
        return row.from_seq == 0
    return row.epoch == last.epoch + 1 and row.from_seq == last.to_seq
