"""What an epoch learns beside its charges, out of the ledger's database. Edge."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ide.epoch import EpochInputs, SlashBurn, SupplierTime
from ide.invariants import InvariantError
from ide.stake_book import final_slashes
from metering import accounts
from metering.database import Database
from metering.gpu_time_store import GpuTime, GpuTimeStore
from metering.ledger import EpochRow
from metering.money import PPM
from metering.movements import Movements


class Outside(msgspec.Struct, frozen=True, kw_only=True):
    """Verified GPU time, up to which period, and what was slashed for good."""

    availability: tuple[SupplierTime, ...] = ()
    gpu_time_to: int = 0
    slashed: tuple[SlashBurn, ...] = ()

    @property
    def moves(self) -> bool:
        """Does an epoch without a charge do something for it?"""
        return bool(self.availability or self.slashed)


class _Before(msgspec.Struct, frozen=True):
    gpu_time_to: int = 0


def gpu_time_to(row: EpochRow | None) -> int:
    """The last period that this epoch or one before it has paid for; 0 before the first."""
    return msgspec.json.decode(row.inputs, type=_Before).gpu_time_to if row else 0


def outside_of(database: Database, last: EpochRow | None, now_ns: int) -> Outside:
    """What the epoch after `last` takes. Ends the open period: what is verified later is in the
    epoch after, also if this one is not booked in the end. Raises LedgerError.
    """
    store, before = GpuTimeStore(database), gpu_time_to(last)
    to = max(before, store.end_period())
    return Outside(
        availability=_availability(store.over(before, to)),
        gpu_time_to=to,
        slashed=final_slashes(database, now_ns),
    )


def check_outside(database: Database, inputs: EpochInputs, gpu_time_before: int) -> None:
    """What a closed epoch took is what is stored. Raises InvariantError, and LedgerError."""
    stored = GpuTimeStore(database).over(gpu_time_before, inputs.gpu_time_to)
    if _availability(stored) != inputs.availability:
        raise InvariantError(
            f"the GPU time stored is not that of the periods {gpu_time_before + 1} to"
            f" {inputs.gpu_time_to}"
        )
    if inputs.slashed:
        taken = Movements(database).by_id(*(row.hold_id for row in inputs.slashed))
        for row in inputs.slashed:
            found = taken.get(row.hold_id)
            if found is None or (found.transfer.credit, found.transfer.amount) != (
                accounts.IO_SLASHED,
                row.io,
            ):
                raise InvariantError(f"the slash '{row.hold_id}' is not the ledger's")


def _availability(rows: Iterable[GpuTime]) -> tuple[SupplierTime, ...]:
    """Time that a gateway's checks did not find good is not there, so all of it counts whole."""
    return tuple(
        SupplierTime(
            supplier_id=row.supplier_id, gpu_class=row.gpu_class, gpu_s=row.gpu_s, quality_ppm=PPM
        )
        for row in rows
    )
