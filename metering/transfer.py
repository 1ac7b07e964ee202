"""Transfers between accounts, the groups that stand or fall together, and the ledger's answers.

After TigerBeetle: a transfer is made by the client, which also gives it its id; it is never changed
or deleted. A hold is a PENDING transfer; a POST moves at most its amount and frees the rest, a VOID
frees all of it, and so does an EXPIRE once the hold's time is over. A correction is another
transfer.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from metering.charge import ChargeRecord


class TransferKind(StrEnum):
    SINGLE = "single"
    PENDING = "pending"
    POST = "post"
    VOID = "void"
    EXPIRE = "expire"


class Transfer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Amount in the smallest unit of the accounts' asset: nano-USD, or base units of IO.

    A POST, VOID or EXPIRE names its `pending_id` and may leave the accounts empty: they are the
    pending transfer's. The amount of the latter two is 0. `detail` is canonical JSON of facts that
    are hashed with it; of a hold, when it may expire (`expiry.py`).
    """

    id: str
    kind: TransferKind
    debit: str = ""
    credit: str = ""
    amount: int
    code: str
    pending_id: str | None = None
    detail: str = ""


class BookedTransfer(msgspec.Struct, frozen=True):
    """A transfer in the books: its place in the ledger, and when it was booked (wall clock)."""

    transfer: Transfer
    seq: int
    booked_ns: int


class Group(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Linked transfers: all are booked or none. A charge is kept with the group that closes it.

    `bearer` is the account to debit instead if the transfers would overdraw theirs. A group with
    a bearer may also come too late for its hold: it is then booked as if there had been none.
    """

    transfers: tuple[Transfer, ...]
    charge: ChargeRecord | None = None
    bearer: str | None = None


class PostResult(StrEnum):
    """What became of a group. Only OK and EXISTS mean that it is in the books."""

    OK = "ok"
    EXISTS = "exists"
    """Booked before, the same in every field: a repeat changes nothing."""
    EXISTS_WITH_DIFFERENT_KIND = "exists_with_different_kind"
    EXISTS_WITH_DIFFERENT_DEBIT = "exists_with_different_debit"
    EXISTS_WITH_DIFFERENT_CREDIT = "exists_with_different_credit"
    EXISTS_WITH_DIFFERENT_AMOUNT = "exists_with_different_amount"
    EXISTS_WITH_DIFFERENT_CODE = "exists_with_different_code"
    EXISTS_WITH_DIFFERENT_PENDING_ID = "exists_with_different_pending_id"
    EXISTS_WITH_DIFFERENT_DETAIL = "exists_with_different_detail"
    EXISTS_WITH_DIFFERENT_CHARGE = "exists_with_different_charge"
    EXISTS_WITH_DIFFERENT_EPOCH = "exists_with_different_epoch"
    EXCEEDS_CREDITS = "exceeds_credits"
    EXCEEDS_INT64 = "exceeds_int64"
    PENDING_NOT_FOUND = "pending_not_found"
    PENDING_NOT_PENDING = "pending_not_pending"
    PENDING_ALREADY_POSTED = "pending_already_posted"
    PENDING_ALREADY_VOIDED = "pending_already_voided"
    PENDING_EXPIRED = "pending_expired"
    PENDING_NOT_EXPIRED = "pending_not_expired"
    """Its time is not over, or it has none."""
    PENDING_HAS_DIFFERENT_ACCOUNTS = "pending_has_different_accounts"
    EXCEEDS_PENDING_AMOUNT = "exceeds_pending_amount"
    LINKED_FAILED = "linked_failed"
    """Some transfers of the group exist and others do not: it is not the group it was."""
    INVALID_GROUP = "invalid_group"
    INVALID_ID = "invalid_id"
    INVALID_ACCOUNT = "invalid_account"
    INVALID_SAME_ACCOUNT = "invalid_same_account"
    INVALID_ASSETS = "invalid_assets"
    INVALID_AMOUNT = "invalid_amount"
    INVALID_PENDING_ID = "invalid_pending_id"
    INVALID_EPOCH = "invalid_epoch"
    """Its number or its range does not follow the epoch before."""

    @property
    def booked(self) -> bool:
        return self is PostResult.OK or self is PostResult.EXISTS
