"""Proofs of payouts out of a ledger. Edge."""

from __future__ import annotations

from ide.commitment import text_leaf
from ide.merkle import MerkleTree
from ide.proof import Proof, make_proof
from ide.settlement import SettlementError
from metering.ledger import EpochRow, Ledger


def payout_tree(ledger: Ledger, epoch: int) -> MerkleTree:
    """The tree over an epoch's payouts: some 10 MB for 100,000 of them."""
    return MerkleTree([text_leaf(payout.text) for payout in ledger.payouts(epoch)])


def prove(
    ledger: Ledger,
    row: EpochRow,
    supplier_id: str,
    *,
    with_charges: bool,
    tree: MerkleTree | None = None,
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
    tree = tree or payout_tree(ledger, row.epoch)
    return make_proof(seals[0].head, row.params, tree, payout, charges)
