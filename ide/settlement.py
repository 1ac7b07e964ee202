"""Epochs against a ledger: the next one closed. Edge.

An epoch is the range (to_seq of the last one, last row now] of the ledger, so a charge that comes
late falls into the next; with the ledger's database it also takes what `outside.py` says. The
epoch's record, its seal and all of its transfers are one transaction: after a crash at any point it
is in the books whole or not at all, and closing it again changes nothing.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ide.canonical import canonical_json, record_hash
from ide.commitment import NO_HEAD, charge_roots, seal_epoch
from ide.epoch import EpochInputs, EpochReport, EpochResult, SupplierUsage
from ide.invariants import InvariantError, check_books
from ide.journal import books_of, epoch_group, genesis_group, posted_after, posted_balances
from ide.outside import Outside, outside_of
from ide.params import IdeParams
from ide.state import IdeState, opening_state
from ide.step import step
from metering.database import Database
from metering.epoch_seal import SealedEpoch
from metering.ledger import EpochRow, Ledger
from metering.transfer import Group, PostResult

WRITER = "ide"

_SETTLED_BEFORE = (PostResult.EXISTS, PostResult.EXISTS_WITH_DIFFERENT_EPOCH)


class SettlementError(Exception):
    """An epoch that cannot be closed; nothing was booked."""


class SettlementStatus(StrEnum):
    SETTLED = "settled"
    ALREADY_SETTLED = "already_settled"
    NOTHING_NEW = "nothing_new"


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a call. `row` is the epoch meant; for NOTHING_NEW the last one, if any."""

    status: SettlementStatus
    row: EpochRow | None


def settle(
    ledger: Ledger,
    params: IdeParams,
    *,
    io_price_nano_usd: int | None,
    now_ns: int,
    epoch: int | None = None,
    even_if_empty: bool = False,
    database: Database | None = None,
) -> Settlement:
    """Close the next epoch, or say why there was nothing to do.

    `epoch` insists on a number: one that is closed is left as it is, one that is not the next
    raises SettlementError. An epoch with no charge, no GPU time and no slash is closed only
    `even_if_empty`. Without `database` it takes charges alone.
    Raises InvariantError if the books do not agree with the last epoch.
    """
    last = ledger.latest_epoch()
    following = last.epoch + 1 if last else 1
    if epoch is not None and not 1 <= epoch <= following:
        raise SettlementError(f"epoch {epoch} cannot be settled: the next one is {following}")
    if epoch is not None and epoch < following:
        return _settled_before(ledger, epoch)
    span = unsettled_span(ledger, last)
    usage = usage_over(ledger, span)
    outside = Outside() if database is None else outside_of(database, last, now_ns)
    if not usage and not even_if_empty and not outside.moves:
        return Settlement(status=SettlementStatus.NOTHING_NEW, row=last)
    open_supply(ledger, params)
    inputs = EpochInputs(
        usage=usage,
        io_price_nano_usd=io_price_nano_usd,
        availability=outside.availability,
        gpu_time_to=outside.gpu_time_to,
        slashed=outside.slashed,
    )
    try:
        result, group = _work_out(ledger, params, last, inputs)
    except InvariantError:
        if ledger.epoch(following) is None:
            raise
        return _settled_before(ledger, following)  # another process was quicker
    row = _row(result, inputs, params, span, now_ns)
    sealed = seal(ledger, row, result, inputs)
    answer = ledger.post_epoch(row, [group] if group else [], WRITER, sealed)
    if answer in _SETTLED_BEFORE:
        return _settled_before(ledger, following)
    if answer is not PostResult.OK:
        raise SettlementError(
            f"the ledger refused epoch {following} ({answer}): nothing of it was booked"
        )
    return Settlement(status=SettlementStatus.SETTLED, row=row)


def open_supply(ledger: Ledger, params: IdeParams) -> None:
    """Issue all IO into its opening accounts, once: a repeat changes nothing.

    Raises SettlementError if the ledger was opened with another supply.
    """
    (answer,) = ledger.post(WRITER, [genesis_group(params)])
    if not answer.booked:
        raise SettlementError(
            f"the ledger's IO was issued with other figures ({answer}): set cap_io and"
            " unemitted_opening_io back to what they were"
        )


def seal(ledger: Ledger, row: EpochRow, result: EpochResult, inputs: EpochInputs) -> SealedEpoch:
    """What an epoch commits to, with the charges behind it read from the ledger.

    Raises InvariantError if they are not those that its inputs sum up.
    """
    span = (row.from_seq, row.to_seq)
    roots = charge_roots(ledger.served_charges(*span))
    summed = sum(served.charges for served in inputs.usage)
    if (found := sum(root.leaves for root in roots.values())) != summed:
        raise InvariantError(f"{found} charges are in the ledger, {summed} in the usage of them")
    before = ledger.seals(before=row.epoch)
    previous = before[0].hash if before else NO_HEAD
    return seal_epoch(row, result.report, inputs, roots, ledger.writer_ends(*span), previous)


def unsettled_span(ledger: Ledger, last: EpochRow | None) -> tuple[int, int]:
    """(from_seq, to_seq] of the ledger that no epoch covers yet."""
    return (last.to_seq if last else 0), ledger.last_seq()


def usage_over(ledger: Ledger, span: tuple[int, int]) -> tuple[SupplierUsage, ...]:
    """What each supplier served over a range of the ledger, by model."""
    return tuple(
        SupplierUsage(
            supplier_id=total.supplier_id,
            model=total.model,
            prompt_tokens=total.prompt_tokens,
            completion_tokens=total.completion_tokens,
            cost_nano_usd=total.cost_nano_usd,
            charged_nano_usd=total.charged_nano_usd,
            charges=total.charges,
        )
        for total in ledger.charge_totals(*span)
    )


def stored_params(row: EpochRow) -> IdeParams:
    """The parameters an epoch was closed with."""
    return msgspec.json.decode(row.params, type=IdeParams)


def stored_result(row: EpochRow) -> EpochResult:
    """A closed epoch as `step` worked it out."""
    return EpochResult(
        state=msgspec.json.decode(row.state, type=IdeState),
        report=msgspec.json.decode(row.result, type=EpochReport),
    )


def _settled_before(ledger: Ledger, epoch: int) -> Settlement:
    row = ledger.epoch(epoch)
    return Settlement(status=SettlementStatus.ALREADY_SETTLED, row=row)


def _work_out(
    ledger: Ledger, params: IdeParams, last: EpochRow | None, inputs: EpochInputs
) -> tuple[EpochResult, Group | None]:
    """The epoch and its transfers, with the books checked as they are and as they would be."""
    state = stored_result(last).state if last else opening_state(params)
    posted = posted_balances(ledger.trial_balance())
    check_books(books_of(posted), state)
    result = step(state, inputs, params)
    group = epoch_group(result, inputs.slashed)
    check_books(books_of(posted_after(posted, group)), result.state)
    return result, group


def _row(
    result: EpochResult,
    inputs: EpochInputs,
    params: IdeParams,
    span: tuple[int, int],
    now_ns: int,
) -> EpochRow:
    from_seq, to_seq = span
    return EpochRow(
        epoch=result.report.epoch,
        from_seq=from_seq,
        to_seq=to_seq,
        params=canonical_json(params),
        inputs=canonical_json(inputs),
        result=canonical_json(result.report),
        state=canonical_json(result.state),
        created_ns=now_ns,
        hash=record_hash(result.state),
    )
