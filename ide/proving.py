"""Proofs of payouts out of a ledger. Edge."""

from __future__ import annotations

from ide.commitment import text_leaf
from ide.merkle import GrowingRoot, MerkleTree
from ide.proof import Proof, make_proof
from ide.settlement import SettlementError
from metering.ledger import EpochRow, Ledger

BLOCK_LEAVES = 512


class PayoutTree:
    """The ways to an epoch's root, in two hashes for each block of its payouts: those within a
    block are worked out when one is asked for. So many epochs can be kept ready.
    """

    def __init__(self, ledger: Ledger, epoch: int) -> None:
        self._ledger = ledger
        self._epoch = epoch
        blocks: list[GrowingRoot] = []
        for payout in ledger.payouts(epoch):
            if payout.leaf % BLOCK_LEAVES == 0:
                blocks.append(GrowingRoot())
            blocks[-1].add(text_leaf(payout.text))
        self._blocks = MerkleTree([block.root for block in blocks])

    def path(self, leaf: int) -> list[bytes]:
        """The hashes beside the way from a leaf up to the root. Raises IndexError, LedgerError."""
        block, place = divmod(leaf, BLOCK_LEAVES)
        rows = self._ledger.payouts(
            self._epoch, after_leaf=block * BLOCK_LEAVES - 1, limit=BLOCK_LEAVES
        )
        within = MerkleTree([text_leaf(row.text) for row in rows])
        return within.path(place) + self._blocks.path(block)


def prove(
    ledger: Ledger,
    row: EpochRow,
    supplier_id: str,
    *,
    with_charges: bool,
    tree: PayoutTree | None = None,
) -> Proof:
    """The proof of a supplier's payout, from the `tree` of its epoch if that is at hand.

    Raises SettlementError if the epoch has none for it.
    """
    seals = ledger.seals(before=row.epoch + 1)
    if not seals or seals[0].epoch != row.epoch:
        raise SettlementError(f"epoch {row.epoch} was closed by a version that sealed none")
    payout = ledger.payout(row.epoch, supplier_id)
    if payout is None:
        raise SettlementError(f"epoch {row.epoch} paid and owes nothing to '{supplier_id}'")
    charges = None
    if with_charges:
        charges = ledger.served_charges(row.from_seq, row.to_seq, supplier_id)
    path = (tree or PayoutTree(ledger, row.epoch)).path(payout.leaf)
    return make_proof(seals[0].head, row.params, path, payout, charges)
