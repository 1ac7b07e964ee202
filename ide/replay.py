"""Closed epochs worked out anew from the ledger, and compared with what was booked. Edge."""

from __future__ import annotations

import msgspec

from ide.canonical import canonical_json, record_hash
from ide.epoch import EpochInputs, EpochResult
from ide.invariants import InvariantError, check_books
from ide.journal import books_of, posted_balances
from ide.outside import check_outside
from ide.settlement import seal, stored_params, usage_over
from ide.state import IdeState, opening_state
from ide.step import step
from metering.database import Database
from metering.ledger import EpochRow, Ledger


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay found. `problem` says what differs at `first_bad_epoch`, None if ok."""

    ok: bool
    epochs: int
    first_bad_epoch: int | None = None
    problem: str | None = None


def replay(ledger: Ledger, database: Database | None = None) -> Replay:
    """Work out every closed epoch anew, from the opening on, and compare with what was booked.

    Compared are the usage in the ledger, the report, the state and its hash, the payouts and the
    seal over them of each epoch, and in the end the ledger's balances; with its `database` also the
    GPU time and the slashes.
    """
    state: IdeState | None = None
    epoch = epochs = gpu_time_before = 0
    try:
        for row in ledger.epochs():
            epoch, epochs = row.epoch, epochs + 1
            inputs = msgspec.json.decode(row.inputs, type=EpochInputs)
            if database is not None:
                check_outside(database, inputs, gpu_time_before)
            gpu_time_before = inputs.gpu_time_to
            state = _replayed(ledger, row, inputs, state or opening_state(stored_params(row)))
        if state is not None:
            check_books(books_of(posted_balances(ledger.trial_balance())), state)
    except (InvariantError, msgspec.DecodeError) as error:
        return Replay(ok=False, epochs=epochs, first_bad_epoch=epoch, problem=str(error))
    return Replay(ok=True, epochs=epochs)


def _replayed(ledger: Ledger, row: EpochRow, inputs: EpochInputs, state: IdeState) -> IdeState:
    if usage_over(ledger, (row.from_seq, row.to_seq)) != inputs.usage:
        raise InvariantError(
            f"the usage stored is not that of the ledger's rows {row.from_seq + 1} to {row.to_seq}"
        )
    result = step(state, inputs, stored_params(row))
    compared = (
        ("report", canonical_json(result.report), row.result),
        ("state", canonical_json(result.state), row.state),
        ("hash", record_hash(result.state), row.hash),
    )
    for name, worked_out, stored in compared:
        if worked_out != stored:
            raise InvariantError(f"the {name} stored is not the one worked out anew")
    _check_seal(ledger, row, result, inputs)
    return result.state


def _check_seal(ledger: Ledger, row: EpochRow, result: EpochResult, inputs: EpochInputs) -> None:
    """Epochs before the first seal were closed by an early version: they have none."""
    stored = ledger.seals(before=row.epoch + 1)
    if not stored:
        return
    sealed = seal(ledger, row, result, inputs)
    if stored[0] != sealed.seal:
        raise InvariantError("the seal stored is not the one worked out anew")
    if tuple(ledger.payouts(row.epoch)) != sealed.payouts:
        raise InvariantError("the payouts stored are not those worked out anew")
