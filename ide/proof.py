"""One supplier's payout, proved against an epoch's root: made, and checked with nothing else. Pure.

A proof is a JSON file that says the same to everyone: `check_proof` needs no ledger and no network,
and neither does the checker in docs/settlement.md, which needs nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ide.canonical import canonical_json, text_hash
from ide.commitment import EpochHead, PayoutLeaf, charge_roots, head_hash, text_leaf
from ide.epoch import Payout, SupplierUsage, UsageColumns
from ide.merkle import root_of_path
from ide.params import IdeParams, params_from_dict
from ide.payouts import earned
from metering.epoch_seal import PayoutRow, ServedCharge
from metering.money import IO_UNIT, MoneyError, mul_div_ceil

FORMAT = 1

Json = dict[str, Any]


class ProofError(Exception):
    """A proof that proves nothing; the message says what does not fit."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """`head`, `leaf`, `params` and `charges` as they were hashed. `charges` None: not shown."""

    tollgate_proof: int
    head: Json
    leaf_index: int
    leaf: Json
    path: tuple[str, ...]
    params: Json
    charges: tuple[Json, ...] | None = None


class CheckedProof(msgspec.Struct, frozen=True, kw_only=True):
    """What a sound proof says. `charges` is how many were checked, None if none were shown."""

    epoch: int
    supplier_id: str
    root: str
    head_hash: str
    payout: Payout
    usage: tuple[SupplierUsage, ...]
    charges: int | None


def make_proof(
    head: str,
    params: str,
    path: Iterable[bytes],
    payout: PayoutRow,
    charges: Iterable[ServedCharge] | None,
) -> Proof:
    """`head`, `params` and the payout's text as the ledger keeps them."""
    shown = None if charges is None else tuple(_object(canonical_json(each)) for each in charges)
    return Proof(
        tollgate_proof=FORMAT,
        head=_object(head),
        leaf_index=payout.leaf,
        leaf=_object(payout.text),
        path=tuple(node.hex() for node in path),
        params=_object(params),
        charges=shown,
    )


def check_proof(data: bytes, root: str | None = None, head: str | None = None) -> CheckedProof:
    """Does the payout belong to the root, is it worked out right, and are these its charges?

    `root` and the hash of the `head` are those that were published, in hex; what is left out is
    taken from the proof. A root stands for payout, usage and charges alone; the head also for the
    price and the parameters. Raises ProofError.
    """
    try:
        proof = msgspec.json.decode(data, type=Proof)
        if proof.tollgate_proof != FORMAT:
            raise ProofError(
                f"the file is of format {proof.tollgate_proof}, this checks format {FORMAT}"
            )
        shown = msgspec.convert(proof.head, EpochHead)
        leaf = msgspec.convert(proof.leaf, PayoutLeaf)
        params = params_from_dict(proof.params)
        path = [bytes.fromhex(node) for node in proof.path]
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProofError(f"the file cannot be read as a proof: {error}") from error
    found = head_hash(_text(proof.head))
    if head is not None and head.lower() != found:
        raise ProofError(f"the proof is of head {found}, not of the one given")
    if root is not None and root.lower() != shown.root:
        raise ProofError(f"the proof is of root {shown.root}, not of the one given")
    try:
        _check(proof, shown, leaf, params, path)
    except MoneyError as error:
        raise ProofError(f"the payout cannot be: {error}") from error
    return CheckedProof(
        epoch=shown.epoch,
        supplier_id=leaf.payout.supplier_id,
        root=shown.root,
        head_hash=found,
        payout=leaf.payout,
        usage=leaf.usage,
        charges=None if proof.charges is None else len(proof.charges),
    )


def _check(
    proof: Proof,
    head: EpochHead,
    leaf: PayoutLeaf,
    params: IdeParams,
    path: list[bytes],
) -> None:
    found = root_of_path(text_leaf(_text(proof.leaf)), proof.leaf_index, head.payouts, path)
    if found is None or found.hex() != head.root:
        raise ProofError("the path does not lead from this payout to the root")
    if leaf.epoch != head.epoch:
        raise ProofError(f"the payout is of epoch {leaf.epoch}, the root of epoch {head.epoch}")
    _check_payout(leaf, head, params, text_hash(_text(proof.params)))
    if proof.charges is not None:
        _check_charges(proof.charges, leaf, head)


def _check_payout(leaf: PayoutLeaf, head: EpochHead, params: IdeParams, params_hash: str) -> None:
    payout, price = leaf.payout, head.io_price_nano_usd or 0
    if min(value for value in msgspec.structs.astuple(payout) if isinstance(value, int)) < 0:
        raise ProofError("the payout has an amount below 0")
    owed = payout.obligation_nano_usd + payout.debt_before_nano_usd
    met = payout.io_value_nano_usd + payout.rounding_nano_usd + payout.usd_paid_nano_usd
    if met + payout.unpaid_nano_usd != owed:
        raise ProofError(f"the payout does not add up to the {owed} nano-USD that were owed")
    worth = mul_div_ceil(payout.io_paid, price, IO_UNIT)
    if worth != payout.io_value_nano_usd:
        raise ProofError(f"the IO paid are worth {worth} nano-USD, not {payout.io_value_nano_usd}")
    if payout.rounding_nano_usd and payout.rounding_nano_usd * IO_UNIT >= price:
        raise ProofError(f"{payout.rounding_nano_usd} nano-USD are a base unit, no rounding")
    if params_hash != head.params_hash:
        raise ProofError("the parameters are not those that the epoch was closed with")
    _check_earned(leaf, params)


def _check_earned(leaf: PayoutLeaf, params: IdeParams) -> None:
    payout, supplier = leaf.payout, leaf.payout.supplier_id
    named = [row.supplier_id for row in leaf.usage]
    named += [row.supplier_id for row in leaf.availability]
    if any(name != supplier for name in named):
        raise ProofError("the usage is that of another supplier")
    worth = earned(UsageColumns.of(leaf.usage), leaf.availability, params)
    stipend, obligation = worth.stipend.get(supplier, 0), worth.obligation.get(supplier, 0)
    if (stipend, obligation) != (payout.stipend_nano_usd, payout.obligation_nano_usd):
        raise ProofError(f"the usage earns {obligation} nano-USD, not {payout.obligation_nano_usd}")


def _check_charges(shown: Sequence[Json], leaf: PayoutLeaf, head: EpochHead) -> None:
    try:
        charges = [msgspec.convert(each, ServedCharge) for each in shown]
    except msgspec.ValidationError as error:
        raise ProofError(f"the charges cannot be read: {error}") from error
    if any(msgspec.to_builtins(read) != each for read, each in zip(charges, shown, strict=True)):
        raise ProofError("a charge says more than was hashed")
    supplier = leaf.payout.supplier_id
    root = charge_roots(charges).get(supplier)
    if len(charges) != leaf.charges or (root and root.root.hex() != leaf.charges_root):
        raise ProofError("the charges are not those that the payout was worked out from")
    if any(charge.supplier_id != supplier for charge in charges):
        raise ProofError("a charge is that of another supplier")
    if not all(head.from_seq < charge.seq <= head.to_seq for charge in charges):
        raise ProofError("a charge is not of this epoch")
    if _sums(charges) != sorted(leaf.usage, key=_model):
        raise ProofError("the charges add up to other tokens than those that were paid")


def _model(served: SupplierUsage) -> str:
    return served.model


def _sums(charges: Iterable[ServedCharge]) -> list[SupplierUsage]:
    """By model, in the order of their names."""
    by_model: dict[str, list[ServedCharge]] = {}
    for charge in charges:
        by_model.setdefault(charge.model, []).append(charge)
    return [
        SupplierUsage(
            supplier_id=found[0].supplier_id,
            model=model,
            prompt_tokens=sum(charge.prompt_tokens for charge in found),
            completion_tokens=sum(charge.completion_tokens for charge in found),
            cost_nano_usd=sum(charge.cost_nano_usd for charge in found),
            charged_nano_usd=sum(charge.charged_nano_usd for charge in found),
            charges=len(found),
        )
        for model, found in sorted(by_model.items())
    ]


def _object(text: str) -> Json:
    return msgspec.json.decode(text, type=dict[str, Any])


def _text(shown: Json) -> str:
    """As it was hashed: keys in order, no spaces, whatever the file looked like."""
    return canonical_json(shown)
