"""Where an exchange's money goes through: credit and limits reserved, rows to the spool, settled.

The event loop's side of the books. The spool's writer thread and the poster do the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from metering.budget import Budget
from metering.charge import ChargeOutcome, ChargeProgress, CloseCharge, OpenCharge
from metering.limits import REFUSED, KeyLimits, Limiter, LimitKind, Limits, Shortage
from metering.poster import Poster
from metering.posting import cost_of
from metering.spool import Spool

OnDurable = Callable[[Exception | None], None]
Row = OpenCharge | ChargeProgress | CloseCharge

_SERVED_FREE = frozenset({ChargeOutcome.CLIENT_GONE, ChargeOutcome.EMPTY})
"""Free, but a request all the same. Whatever else is free was refused, or was our own failure."""


class _Reserved(msgspec.Struct, gc=False):
    """What a request has set aside: its hold, and of its key's limits if it has any."""

    charge: OpenCharge
    limits: KeyLimits | None
    tokens: int
    slot: int


class Till:
    """Lives on the event loop; nothing here waits."""

    def __init__(self, *, spool: Spool, poster: Poster, budget: Budget, limiter: Limiter) -> None:
        self._spool = spool
        self._poster = poster
        self._budget = budget
        self._limiter = limiter
        self._open: dict[str, _Reserved] = {}

    def reserve(self, charge: OpenCharge, own: Limits, tokens: int, now_ns: int) -> Shortage | None:
        """Set aside all that the request can use of its account's credit and of its key's limits.
        If there is too little of one, nothing is set aside and this is what is short.
        """
        limits = self._limiter.of(charge.key_id, own)
        slot = REFUSED
        if limits is not None:
            slot = limits.take(tokens, now_ns)
            if slot == REFUSED:
                return limits.shortage(tokens, now_ns)
        if not self._budget.reserve(charge.account, charge.hold_nano_usd):
            if limits is not None:
                limits.withdraw(slot, tokens)
            return self._credit_shortage(charge)
        self._open[charge.charge_id] = _Reserved(charge, limits, tokens, slot)
        return None

    async def reload(self, account: str) -> None:
        """Ask the ledger for the account's balance again: there may have been a deposit."""
        await asyncio.wrap_future(self._poster.refresh(account))

    def record(self, row: Row, on_durable: OnDurable | None) -> None:
        """Append a row; `on_durable` is called on the event loop once it is on disk or cannot be.

        A closing row settles what was reserved at once: what was not used may be reserved again.
        """
        if type(row) is CloseCharge:
            self._settle(self._open.pop(row.charge_id), row)
        self._spool.append(row, on_durable)

    def _settle(self, reserved: _Reserved, close: CloseCharge) -> None:
        charge, limits, usage = reserved.charge, reserved.limits, close.usage
        self._budget.settle(charge.account, charge.hold_nano_usd, cost_of(charge, close))
        if limits is None:
            return
        held_ns = close.closed_ns - charge.created_ns
        if usage is not None:
            used = usage.prompt_tokens + usage.completion_tokens
            limits.settle(reserved.slot, reserved.tokens, used, held_ns)
        elif close.outcome in _SERVED_FREE:
            limits.settle(reserved.slot, reserved.tokens, 0, held_ns)
        else:
            limits.withdraw(reserved.slot, reserved.tokens)

    def _credit_shortage(self, charge: OpenCharge) -> Shortage:
        free = self._budget.available(charge.account)
        return Shortage(
            kind=LimitKind.CREDIT,
            limit=free,
            free=free,
            asked=charge.hold_nano_usd,
            wait_ns=None,
        )

    @property
    def open_charges(self) -> int:
        return len(self._open)

    @property
    def recording(self) -> bool:
        """Charges can be made durable, and the spool has room for more."""
        return self._spool.failed is None and not self._spool.full

    @property
    def posting(self) -> bool:
        """The ledger takes what the spool holds."""
        return self._poster.failed is None

    @property
    def backlog_rows(self) -> int:
        return self._spool.backlog

    @property
    def lag_seconds(self) -> float:
        return self._poster.lag_seconds
