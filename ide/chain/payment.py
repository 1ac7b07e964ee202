"""Records of what was signed, sent and paid."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class TransactionState(StrEnum):
    SIGNED = "signed"
    """It may be on its way. Only these bytes may be sent for what it pays."""
    FINALIZED = "finalized"
    FAILED = "failed"
    """It can never land; what it was to pay is owed again."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A signed transaction. `io` is all that it takes out of the vault."""

    signature: str
    epoch: int
    nonce_account: str
    nonce: str
    transaction: bytes
    io: int
    lamports: int


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of a transaction; of the epoch's burn `supplier_id` is `CLOSING`."""

    epoch: int
    supplier_id: str
    wallet: str
    io: int


class PaidPayment(msgspec.Struct, frozen=True, kw_only=True):
    payment: Payment
    signature: str
    state: TransactionState
    slot: int | None


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The token that the books are paid in on a chain, and what there was when that began."""

    chain: str
    mint: str
    authority: str
    supply_io: int
    vault_io: int
    paid_io: int
    burned_io: int
    reason: str
    opened_ns: int


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """By an epoch's transactions: base units of those not failed, lamports of all."""

    io: int
    lamports: int
