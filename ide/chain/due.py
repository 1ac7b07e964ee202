"""What a settled epoch owes on chain, out of the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from ide.chain.chain import ChainError
from ide.chain.plan import CLOSING, EpochDue
from ide.commitment import PayoutLeaf, head_hash, head_of, text_leaf
from ide.merkle import GrowingRoot
from metering import accounts
from metering.accounts import Asset
from metering.epoch_seal import PayoutRow
from metering.ledger import AccountBalance, Ledger

_SUPPLIER_IO = accounts.supplier(Asset.IO, "x").removesuffix("x")


def due_of(ledger: Ledger, epoch: int) -> EpochDue:
    """Raises ChainError if the epoch is not settled, has no seal to commit to, or its payouts are
    not those that were sealed: what is sent cannot be taken back.
    """
    if ledger.epoch(epoch) is None:
        raise ChainError(f"epoch {epoch} is not settled yet: see `tollgate settle status`")
    seals = ledger.seals(before=epoch + 1)
    if not seals or seals[0].epoch != epoch:
        raise ChainError(f"epoch {epoch} was closed by an early version: it has no root to name")
    head = head_of(seals[0])
    payouts, root = _sealed_payouts(ledger.payouts(epoch))
    if (root, head_hash(seals[0].head)) != (head.root, seals[0].hash):
        raise ChainError(f"the payouts of epoch {epoch} are not those that were sealed")
    if sum(payouts.values()) != head.io_paid:
        raise ChainError(f"the payouts of epoch {epoch} are not the {head.io_paid} of its head")
    return EpochDue(
        epoch=epoch,
        root=head.root,
        head_hash=seals[0].hash,
        payouts=payouts,
        burn_io=head.io_burned,
    )


def _sealed_payouts(rows: Iterable[PayoutRow]) -> tuple[dict[str, int], str]:
    """What is to be paid by supplier, and the root over that, in hex."""
    root, payouts = GrowingRoot(), {}
    for row in rows:
        root.add(text_leaf(row.text))
        payout = msgspec.json.decode(row.text, type=PayoutLeaf).payout
        if payout.io_paid:
            payouts[payout.supplier_id] = payout.io_paid
    return payouts, root.root.hex()


def settled_io(ledger: Ledger) -> dict[str, int]:
    """What all epochs pay by supplier, and burn under `CLOSING`. Raises ChainError as `due_of`."""
    sums: Counter[str] = Counter()
    last = ledger.latest_epoch()
    for epoch in range(1, last.epoch + 1 if last else 1):
        due = due_of(ledger, epoch)
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
