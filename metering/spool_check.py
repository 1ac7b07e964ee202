"""What a spool says was charged against what the ledger has: the same charges, tokens and costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from metering.charge import ChargeRecord
from metering.database import Database
from metering.posting import CODE_CHARGE, CODE_VOID
from metering.spool_reader import SpoolReader

BATCH_CHARGES = 200


class Totals(msgspec.Struct, kw_only=True):
    charges: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano_usd: int = 0

    def add(self, prompt_tokens: int, completion_tokens: int, cost_nano_usd: int) -> None:
        self.charges += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.cost_nano_usd += cost_nano_usd


class SpoolCheck(msgspec.Struct, kw_only=True):
    """Of the finished charges that the spool still holds."""

    spool: str
    in_spool: Totals
    """Those that the ledger says it has booked."""
    in_ledger: Totals
    """The same ones, there."""
    waiting: int = 0
    """Those that it has yet to book."""
    first_wrong: str | None = None
    """A charge that it has not, or otherwise."""

    @property
    def agrees(self) -> bool:
        return self.first_wrong is None


def check_spool(path: Path, watermark: Callable[[str], int], ledger: Database) -> SpoolCheck:
    """`watermark` tells how far a writer's rows are booked. Raises SpoolError, LedgerError,
    OSError.
    """
    check = SpoolCheck(spool=path.name, in_spool=Totals(), in_ledger=Totals())
    booked = _booked(SpoolReader(path), watermark, check)
    while charges := list(islice(booked, BATCH_CHARGES)):
        known = _in_ledger(ledger, charges)
        for charge in charges:
            here = (charge.prompt_tokens, charge.completion_tokens, charge.cost_nano_usd)
            check.in_spool.add(*here)
            there = known.get(charge.charge_id)
            if there is not None:
                check.in_ledger.add(*there)
            if there != here and check.first_wrong is None:
                check.first_wrong = charge.charge_id
    return check


def _booked(
    reader: SpoolReader, watermark: Callable[[str], int], check: SpoolCheck
) -> Iterator[ChargeRecord]:
    upto_seq = None
    for seq, charge in reader.finished():
        if upto_seq is None:
            assert reader.writer is not None
            upto_seq = watermark(reader.writer)
        if seq <= upto_seq:
            yield charge
        else:
            check.waiting += 1


def _in_ledger(
    ledger: Database, charges: Sequence[ChargeRecord]
) -> dict[str, tuple[int, int, int]]:
    """By the transfer that ended each, which is looked up at once."""
    ids = [f"{c.charge_id}:{code}" for c in charges for code in (CODE_CHARGE, CODE_VOID)]
    rows = ledger.query(
        "SELECT charge.charge_id, prompt_tokens, completion_tokens, cost_nano_usd FROM charge"
        " JOIN transfer ON transfer.seq = charge.seq"
        f" WHERE transfer.id IN ({', '.join('?' * len(ids))})",
        *ids,
    )
    return {charge_id: (prompt, completion, cost) for charge_id, prompt, completion, cost in rows}
