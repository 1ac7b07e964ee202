"""The statement of an account and month: every movement between two balances of the ledger. Pure.

A month of the books is a range of the ledger's rows, (from_seq, to_seq]: those that were booked in
it. So each row is in one statement, what a statement says never changes, and its closing balance is
the next one's opening balance. A charge that ended in one month and was booked in the next (its
gateway was down, say) is in the next one's statement, marked `late`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from metering import accounts
from metering.deposit import CODE_DEPOSIT_FEE, DepositMethod, deposit_of
from metering.money import format_io, format_usd
from metering.month import DAY_NS, Month, day_text
from metering.posting import CODE_DEPOSIT
from metering.refund import CODE_REFUND, refund_of
from metering.sla import CODE_SLA_CREDIT, verdict_of
from metering.transfer import BookedTransfer

PAID_BY = {
    DepositMethod.MANUAL: "hand",
    DepositMethod.USDC: "USDC",
    DepositMethod.IO: "IO",
    DepositMethod.CARD: "card",
}


class StatementError(Exception):
    """The rows of an account do not add up to its balance: run `tollgate ledger verify`."""


class EntryKind(StrEnum):
    DEPOSIT = "deposit"
    FEE = "fee"
    REFUND = "refund"
    CREDIT = "credit"
    """Given by the network: what it missed of an SLA."""
    CREDIT_LINE = "credit_line"
    """May be spent, and is owed: raised, or lowered."""
    OTHER = "other"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A movement that is no charge. `nano_usd` is what it adds to the balance."""

    kind: EntryKind
    seq: int
    booked_ns: int
    transfer_id: str
    code: str
    text: str
    nano_usd: int


class UsageLine(msgspec.Struct, frozen=True, kw_only=True):
    """The charges of one day, model, key and price. `day` is that of their end, in UTC."""

    day: str
    model: str
    key_id: str
    price_version: str
    late: bool
    """They ended in an earlier month, and came to the books in this one."""
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_nano_usd: int
    """Tokens times price; above what was charged where the network bore a part."""
    charged_nano_usd: int


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums of the entries by kind, and of the usage; signs as they act on the balance."""

    deposits_nano_usd: int
    fees_nano_usd: int
    refunds_nano_usd: int
    credits_nano_usd: int
    credit_line_nano_usd: int
    other_nano_usd: int
    usage_nano_usd: int
    late_usage_nano_usd: int
    """Of the usage, what is late."""
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """`opening + entries - charged = closing`, which is the ledger's balance at `to_seq`.

    `credit_line_nano_usd` of the closing balance is a credit line: the customer's own is the rest,
    and owed if it is negative. A month that goes on is not `final`: it has no invoice number.
    """

    account: str
    month: str
    invoice: str | None
    issued_ns: int | None
    final: bool
    from_seq: int
    to_seq: int
    opening_nano_usd: int
    entries: tuple[Entry, ...]
    usage: tuple[UsageLine, ...]
    totals: Totals
    closing_nano_usd: int
    credit_line_nano_usd: int

    @property
    def own_nano_usd(self) -> int:
        return self.closing_nano_usd - self.credit_line_nano_usd

    @property
    def is_empty(self) -> bool:
        """Nothing happened and nothing is there: it needs no invoice."""
        return not (self.entries or self.usage or self.opening_nano_usd)


class UsageSum(msgspec.Struct, frozen=True):
    """Charges of one account over a range of the ledger. `day` counts from 1970-01-01."""

    day: int
    model: str
    key_id: str
    price_version: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_nano_usd: int
    charged_nano_usd: int


class AccountRows(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger has of an account: its balances at both ends of a range, and the rows in it.

    The balances come from the ledger's counter of the account and the rows behind the range, so
    that they do not depend on the rows in it.
    """

    from_seq: int
    to_seq: int
    opening_nano_usd: int
    closing_nano_usd: int
    credit_line_nano_usd: int
    transfers: tuple[BookedTransfer, ...]
    usage: tuple[UsageSum, ...]


def statement(account: str, month: Month, rows: AccountRows, *, final: bool) -> Statement:
    """Not numbered yet. Raises StatementError if the rows are not what the balance says."""
    entries = tuple(_entry(account, row) for row in rows.transfers)
    usage = tuple(_line(month, row) for row in sorted(rows.usage, key=_by_day))
    totals = _totals(entries, usage)
    moved = sum(entry.nano_usd for entry in entries) - totals.usage_nano_usd
    if rows.opening_nano_usd + moved != rows.closing_nano_usd:
        raise StatementError(
            f"account '{account}', {month}: {format_usd(rows.opening_nano_usd)} USD and "
            f"{format_usd(moved)} of movements are not the ledger's "
            f"{format_usd(rows.closing_nano_usd)}: run `tollgate ledger verify`"
        )
    return Statement(
        account=account,
        month=str(month),
        invoice=None,
        issued_ns=None,
        final=final,
        from_seq=rows.from_seq,
        to_seq=rows.to_seq,
        opening_nano_usd=rows.opening_nano_usd,
        entries=entries,
        usage=usage,
        totals=totals,
        closing_nano_usd=rows.closing_nano_usd,
        credit_line_nano_usd=rows.credit_line_nano_usd,
    )


def _entry(account: str, row: BookedTransfer) -> Entry:
    transfer = row.transfer
    name = accounts.customer(account)
    kind, text = _describe(account, row)
    return Entry(
        kind=kind,
        seq=row.seq,
        booked_ns=row.booked_ns,
        transfer_id=transfer.id,
        code=transfer.code,
        text=text,
        nano_usd=transfer.amount if transfer.credit == name else -transfer.amount,
    )


def _describe(account: str, row: BookedTransfer) -> tuple[EntryKind, str]:
    transfer = row.transfer
    if accounts.credit_line(account) in (transfer.debit, transfer.credit):
        return EntryKind.CREDIT_LINE, "Credit line"
    if transfer.code == CODE_DEPOSIT:
        deposit = deposit_of(transfer, row.booked_ns)
        text = f"Deposit {deposit.deposit_id} by {PAID_BY[deposit.method]}"
        if deposit.io_price is not None:
            price = deposit.io_price
            text += f": {format_io(deposit.io)} IO at {format_usd(price.nano_usd)} ({price.source})"
        return EntryKind.DEPOSIT, text
    if transfer.code == CODE_DEPOSIT_FEE:
        return EntryKind.FEE, f"Fee of deposit {transfer.id.partition(':')[2]}"
    if transfer.code == CODE_REFUND:
        refund = refund_of(transfer, row.booked_ns)
        by = PAID_BY[refund.method]
        text = f"Refund {refund.refund_id} of deposit {refund.deposit_id} by {by}"
        if refund.io:
            text += f": {format_io(refund.io)} IO"
        if refund.fee_back_nano_usd:
            text += f", and {format_usd(refund.fee_back_nano_usd)} of its fee"
        return EntryKind.REFUND, text
    if transfer.code == CODE_SLA_CREDIT:
        verdict = verdict_of(transfer.detail)
        return (
            EntryKind.CREDIT,
            f"Credit for what was missed of '{verdict.sla}' in {verdict.period}",
        )
    return EntryKind.OTHER, f"Booking {transfer.id}"


def _line(month: Month, row: UsageSum) -> UsageLine:
    fields = msgspec.structs.asdict(row)
    late = row.day * DAY_NS < month.start_ns
    return UsageLine(**fields | {"day": day_text(row.day), "late": late})


def _by_day(row: UsageSum) -> tuple[int, str, str, str]:
    return row.day, row.model, row.key_id, row.price_version


def _totals(entries: Sequence[Entry], usage: Sequence[UsageLine]) -> Totals:
    by_kind = {kind: 0 for kind in EntryKind}
    for entry in entries:
        by_kind[entry.kind] += entry.nano_usd
    return Totals(
        deposits_nano_usd=by_kind[EntryKind.DEPOSIT],
        fees_nano_usd=by_kind[EntryKind.FEE],
        refunds_nano_usd=by_kind[EntryKind.REFUND],
        credits_nano_usd=by_kind[EntryKind.CREDIT],
        credit_line_nano_usd=by_kind[EntryKind.CREDIT_LINE],
        other_nano_usd=by_kind[EntryKind.OTHER],
        usage_nano_usd=sum(line.charged_nano_usd for line in usage),
        late_usage_nano_usd=sum(line.charged_nano_usd for line in usage if line.late),
        requests=sum(line.requests for line in usage),
        prompt_tokens=sum(line.prompt_tokens for line in usage),
        cached_tokens=sum(line.cached_tokens for line in usage),
        completion_tokens=sum(line.completion_tokens for line in usage),
    )
