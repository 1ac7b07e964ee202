"""What a settled epoch owes on chain, out of the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ide.chain.plan import CLOSING, EpochDue
from ide.settlement import stored_result
from metering import accounts
from metering.accounts import Asset
from metering.ledger import AccountBalance, EpochRow

_SUPPLIER_IO = accounts.supplier(Asset.IO, "x").removesuffix("x")


def due_of(row: EpochRow, root: str) -> EpochDue:
    """`root` is what the epoch's memo commits to, in hex."""
    report = stored_result(row).report
    return EpochDue(
        epoch=row.epoch,
        root=root,
        payouts={each.supplier_id: each.io_paid for each in report.payouts if each.io_paid},
        burn_io=report.io_burned,
    )


def settled_io(rows: Iterable[EpochRow]) -> dict[str, int]:
    """What all epochs pay by supplier, and burn under `CLOSING`."""
    sums: Counter[str] = Counter()
    for row in rows:
        due = due_of(row, row.hash)
        sums.update(due.payouts)
        sums[CLOSING] += due.burn_io
    return dict(sums)


def ledger_io(balances: Iterable[AccountBalance]) -> dict[str, int]:
    """What the ledger's accounts say that suppliers were paid, and was burned under `CLOSING`."""
    found = {line.account: line.balance.posted for line in balances}
    paid = {
        name.removeprefix(_SUPPLIER_IO): io
        for name, io in found.items()
        if name.startswith(_SUPPLIER_IO)
    }
    return paid | {CLOSING: found.get(accounts.IO_BURNED, 0)}
