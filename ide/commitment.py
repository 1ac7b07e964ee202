"""What an epoch commits to, so that nobody can show one supplier this and another that. Pure.

    charge  leaf of the supplier's own tree: canonical JSON of a `ServedCharge`
    payout  leaf of the epoch's tree: canonical JSON of a `PayoutLeaf`, with the root of that tree
    head    SHA-256(0x02 || canonical JSON of an `EpochHead`), with the root of the epoch's tree,
            where the ledger's hash chains stood, and the hash of the head before

So a head stands for every payout of its epoch, every charge behind them, and all epochs before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ide.canonical import canonical_json, text_hash
from ide.epoch import EpochInputs, EpochReport, Payout, SupplierTime, SupplierUsage
from ide.merkle import EMPTY, GrowingRoot, MerkleTree, leaf_hash
from metering.epoch_seal import EpochSeal, PayoutRow, SealedEpoch, ServedCharge, WriterEnd
from metering.ledger import EpochRow

HEAD_PREFIX = b"\x02"
NO_HEAD = ""
"""In place of the hash of a head before the first."""


class PayoutLeaf(msgspec.Struct, frozen=True, kw_only=True):
    """What one supplier is paid, and what it served and was there for. `charges_root` is in hex."""

    epoch: int
    payout: Payout
    usage: tuple[SupplierUsage, ...]
    availability: tuple[SupplierTime, ...]
    charges: int
    charges_root: str


class EpochHead(msgspec.Struct, frozen=True, kw_only=True):
    """What an epoch is, in a few hundred bytes. Hashes in hex, IO in base units.

    `params_hash`, `inputs_hash`, `report_hash` and `state_hash` are sha256 of the canonical JSON
    that the ledger keeps; `writers` is where its hash chains stood at `to_seq`.
    """

    epoch: int
    previous: str
    closed_ns: int
    from_seq: int
    to_seq: int
    params_version: str
    params_hash: str
    inputs_hash: str
    report_hash: str
    state_hash: str
    io_price_nano_usd: int | None
    obligation_nano_usd: int
    io_paid: int
    usd_paid_nano_usd: int
    unpaid_nano_usd: int
    io_burned: int
    io_retired: int
    payouts: int
    root: str
    writers: tuple[WriterEnd, ...]


def charge_roots(charges: Iterable[ServedCharge]) -> dict[str, GrowingRoot]:
    """By supplier, the root over its charges in their order."""
    roots: dict[str, GrowingRoot] = {}
    for charge in charges:
        root = roots.get(charge.supplier_id)
        if root is None:
            root = roots[charge.supplier_id] = GrowingRoot()
        root.add(record_leaf(charge))
    return roots


def seal_epoch(
    row: EpochRow,
    report: EpochReport,
    inputs: EpochInputs,
    roots: Mapping[str, GrowingRoot],
    writers: Sequence[WriterEnd],
    previous: str,
) -> SealedEpoch:
    """The seal of an epoch and its leaves. `previous` is the hash of the head before."""
    payouts = tuple(_payout_rows(report, inputs, roots))
    tree = MerkleTree([text_leaf(payout.text) for payout in payouts])
    head = EpochHead(
        epoch=row.epoch,
        previous=previous,
        closed_ns=row.created_ns,
        from_seq=row.from_seq,
        to_seq=row.to_seq,
        params_version=report.params_version,
        params_hash=text_hash(row.params),
        inputs_hash=text_hash(row.inputs),
        report_hash=text_hash(row.result),
        state_hash=row.hash,
        io_price_nano_usd=report.io_price_nano_usd,
        obligation_nano_usd=report.obligation_nano_usd,
        io_paid=report.io_paid,
        usd_paid_nano_usd=report.usd_paid_nano_usd,
        unpaid_nano_usd=report.unpaid_nano_usd,
        io_burned=report.io_burned,
        io_retired=report.io_retired,
        payouts=len(payouts),
        root=tree.root.hex(),
        writers=tuple(writers),
    )
    text = canonical_json(head)
    seal = EpochSeal(epoch=row.epoch, root=head.root, head=text, hash=head_hash(text))
    return SealedEpoch(seal=seal, payouts=payouts)


def head_of(seal: EpochSeal) -> EpochHead:
    return msgspec.json.decode(seal.head, type=EpochHead)


def head_hash(text: str) -> str:
    """In hex, of a head's canonical JSON."""
    return hashlib.sha256(HEAD_PREFIX + text.encode()).hexdigest()


def text_leaf(text: str) -> bytes:
    return leaf_hash(text.encode())


def record_leaf(record: msgspec.Struct) -> bytes:
    return text_leaf(canonical_json(record))


def _payout_rows(
    report: EpochReport, inputs: EpochInputs, roots: Mapping[str, GrowingRoot]
) -> Iterable[PayoutRow]:
    usage: dict[str, list[SupplierUsage]] = {}
    for served in inputs.usage:
        usage.setdefault(served.supplier_id, []).append(served)
    availability: dict[str, list[SupplierTime]] = {}
    for there in inputs.availability:
        availability.setdefault(there.supplier_id, []).append(there)
    for place, payout in enumerate(report.payouts):
        root = roots.get(payout.supplier_id)
        leaf = PayoutLeaf(
            epoch=report.epoch,
            payout=payout,
            usage=tuple(usage.get(payout.supplier_id, ())),
            availability=tuple(availability.get(payout.supplier_id, ())),
            charges=root.leaves if root else 0,
            charges_root=(root.root if root else EMPTY).hex(),
        )
        yield PayoutRow(
            epoch=report.epoch,
            leaf=place,
            supplier_id=payout.supplier_id,
            io_paid=payout.io_paid,
            text=canonical_json(leaf),
        )
