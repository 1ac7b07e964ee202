"""What an epoch commits to, as the books keep it. Pure.

A seal holds the Merkle root over the epoch's payouts; what is hashed, and how, is `ide`'s to know.
"""

from __future__ import annotations

import msgspec


class EpochSeal(msgspec.Struct, frozen=True, kw_only=True):
    """`head` is canonical JSON that names the root and the head before it; `hash` is the head's."""

    epoch: int
    root: str
    head: str
    hash: str


class PayoutRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one supplier is paid by an epoch: the leaf of that number in the epoch's tree.

    `text` is canonical JSON, of which the leaf is made; `io_paid` counts base units of IO.
    """

    epoch: int
    leaf: int
    supplier_id: str
    io_paid: int
    text: str


class SealedEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """A seal and all the payouts under it, leaf by leaf."""

    seal: EpochSeal
    payouts: tuple[PayoutRow, ...]


class ServedCharge(msgspec.Struct, frozen=True):
    """A billed charge as its supplier may see it: without customer, key and request.

    `row_hash` is the link of the ledger's hash chain that covers all of the charge.
    """

    seq: int
    row_hash: str
    supplier_id: str
    charge_id: str
    node_id: str
    model: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    usage_source: str
    price_version: str
    cost_nano_usd: int
    charged_nano_usd: int
    closed_ns: int


class WriterEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The last row of a writer within a range of the ledger, and its hash, in hex."""

    writer: str
    seq: int
    hash: str
