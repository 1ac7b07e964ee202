"""A charge, from its opening to its closing: the rows a gateway makes durable. Pure.

    state    row           next      in the ledger
    -        OpenCharge    OPEN      hold:  customer -> fee_vault, pending
    OPEN     Progress      OPEN      nothing; the latest is what a crash is billed at
    OPEN     CloseCharge   POSTED    post:  min(cost, hold) of the hold (usage is known)
                                     extra: shortfall -> fee_vault, cost above the hold
    OPEN     CloseCharge   VOIDED    void:  the hold is released (usage is None: free)

The first closing wins. A charge is opened before a byte of the answer leaves the gateway and closed
before the last one does. Rows are kept by position: a new field goes to the end, with a default.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from metering.prices import ModelPrice, cost_nano_usd
from metering.purse import Draw
from metering.usage import Usage, UsageSource


class ChargeOutcome(StrEnum):
    """How the request behind a charge ended."""

    COMPLETED = "completed"
    CLIENT_GONE = "client_gone"
    NODE_BROKEN = "node_broken"
    """The node's connection ended in the middle of a stream."""
    NODE_ERROR = "node_error"
    """The node reported a failure of its own."""
    REFUSED_BY_NODE = "refused_by_node"
    """The node found fault with the request."""
    NO_CAPACITY = "no_capacity"
    TIMED_OUT = "timed_out"
    EMPTY = "empty"
    """Whole, but without a single generated token."""
    RESUMED = "resumed"
    """Part of an answer: its node failed in the middle of the stream, another one went on."""
    GATEWAY_CRASH = "gateway_crash"
    """The gateway died with the request open; closed when it started again."""
    UNRECORDED = "unrecorded"
    """Could not be made durable, so nothing was served. Only metrics ever show it."""


class OpenCharge(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True, tag="open"):
    charge_id: str
    request_id: str
    account: str
    key_id: str
    model: str
    price: ModelPrice
    hold_nano_usd: int
    prompt_tokens_estimate: int
    created_ns: int
    """Wall clock."""
    draws: tuple[Draw, ...] = ()
    """What it sets aside beside the hold: of caps, and of free tokens."""


class Leg(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """What a node delivered of an answer that another one went on with."""

    node_id: str
    supplier_id: str
    usage: Usage


class ChargeProgress(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True, tag="progress"
):
    """How far an open charge is; the latest one counts."""

    charge_id: str
    node_id: str
    supplier_id: str
    usage: Usage
    """Of all nodes together."""
    legs: tuple[Leg, ...] = ()
    """Those before this node."""


class CloseCharge(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True, tag="close"
):
    """The end of a charge. `usage` None: nothing to pay."""

    charge_id: str
    outcome: ChargeOutcome
    node_id: str | None
    supplier_id: str | None
    usage: Usage | None
    """Of all nodes together."""
    usage_source: UsageSource | None
    closed_ns: int
    """Wall clock."""
    ttft_ns: int | None
    legs: tuple[Leg, ...] = ()
    """Of an answer that several nodes gave: those before the last. `legs.py` divides it."""


Row = OpenCharge | ChargeProgress | CloseCharge


class ChargeRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A finished charge as the ledger keeps it and `tollgate usage --json` prints it.

    One that was voided is kept too, at no cost. `usage_source` is None if no usage was billed.
    """

    charge_id: str
    request_id: str
    account: str
    key_id: str
    model: str
    node_id: str | None
    supplier_id: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    usage_source: UsageSource | None
    price_version: str
    cost_nano_usd: int
    """Tokens times price."""
    charged_nano_usd: int
    """What the customer paid: the cost, but never more than was held for it."""
    outcome: ChargeOutcome
    created_ns: int
    closed_ns: int
    ttft_ns: int | None


def finished(opened: OpenCharge, closed: CloseCharge) -> ChargeRecord:
    """The record of a charge from its two rows, which must be of one charge."""
    assert opened.charge_id == closed.charge_id, (opened.charge_id, closed.charge_id)
    usage = closed.usage or Usage(prompt_tokens=0)
    cost = 0 if closed.usage is None else cost_nano_usd(opened.price, closed.usage)
    return ChargeRecord(
        charge_id=opened.charge_id,
        request_id=opened.request_id,
        account=opened.account,
        key_id=opened.key_id,
        model=opened.model,
        node_id=closed.node_id,
        supplier_id=closed.supplier_id,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        usage_source=closed.usage_source if closed.usage else None,
        price_version=opened.price.version,
        cost_nano_usd=cost,
        charged_nano_usd=min(cost, opened.hold_nano_usd),
        outcome=closed.outcome,
        created_ns=opened.created_ns,
        closed_ns=closed.closed_ns,
        ttft_ns=closed.ttft_ns,
    )


class OpenCharges:
    """The charges open after a run of rows: what the end of a charge needs to know of its start.

    Also the judge of the states: `take` says which rows count.
    """

    __slots__ = ("_open", "_progress")

    def __init__(self) -> None:
        self._open: dict[str, OpenCharge] = {}
        self._progress: dict[str, ChargeProgress] = {}

    def take(self, row: Row) -> OpenCharge | None:
        """Apply a row. Returns the charge that it opened or closed; None if nothing is to be
        booked for it: progress, a second opening, the closing of what is not open.
        """
        charge_id = row.charge_id
        if isinstance(row, CloseCharge):
            if self._progress:
                self._progress.pop(charge_id, None)
            return self._open.pop(charge_id, None)
        known = self._open.get(charge_id)
        if isinstance(row, ChargeProgress):
            if known is not None:
                self._progress[charge_id] = row
            return None
        if known is not None:
            return None
        self._open[charge_id] = row
        return row

    def rows(self) -> list[Row]:
        """Rows which, taken anew, lead to this same state."""
        return [*self._open.values(), *self._progress.values()]

    def closed_by_crash(self, now_ns: int) -> list[CloseCharge]:
        """What closes each of them after their gateway died."""
        return [
            _closed_by_crash(charge_id, self._progress.get(charge_id), now_ns)
            for charge_id in self._open
        ]

    def __len__(self) -> int:
        return len(self._open)


def _closed_by_crash(charge_id: str, progress: ChargeProgress | None, now_ns: int) -> CloseCharge:
    """Billed as far as was recorded, free if nothing was."""
    return CloseCharge(
        charge_id=charge_id,
        outcome=ChargeOutcome.GATEWAY_CRASH,
        node_id=progress.node_id if progress else None,
        supplier_id=progress.supplier_id if progress else None,
        usage=progress.usage if progress else None,
        usage_source=UsageSource.COUNTED if progress else None,
        closed_ns=now_ns,
        ttft_ns=None,
        legs=progress.legs if progress else (),
    )
