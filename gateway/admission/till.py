"""Where an exchange's money goes through: credit and limits reserved, rows to the spool, settled.

The event loop's side of the books. The spool's writer thread and the poster do the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from metering.budget import Budget
from metering.charge import ChargeOutcome, ChargeProgress, CloseCharge, OpenCharge
from metering.family_limits import SubKeyLimits, pools_of
from metering.limits import REFUSED, KeyPools, Limiter, LimitKind, Limits, Shortage
from metering.poster import Poster
from metering.posting import cost_of
from metering.purse import FOREVER_NS, Draw, PurseKind, drawn
from metering.purses import Purses
from metering.spool import Spool

OnDurable = Callable[[Exception | None], None]
Row = OpenCharge | ChargeProgress | CloseCharge

_OF_PURSE = {
    PurseKind.CAP: LimitKind.CAP,
    PurseKind.FREE: LimitKind.FREE_TOKENS,
    PurseKind.QUOTA: LimitKind.QUOTA,
}
_SERVED_FREE = frozenset({ChargeOutcome.CLIENT_GONE, ChargeOutcome.EMPTY})
"""Free, but a request all the same. Whatever else is free was refused, or was our own failure."""


class _Reserved(msgspec.Struct, gc=False):
    """What a request has set aside: its hold, and of its key's limits if it has any."""

    charge: OpenCharge
    limits: KeyPools | None
    tokens: int
    slot: int


class Credit(Protocol):
    """What accounts may still spend, and what purses hold: `Budget`, or `SharedBudget`."""

    def reserve(self, account: str, amount: int) -> bool: ...

    def settle(self, account: str, hold: int, cost: int) -> None:
        """Of a charge that is recorded."""

    def withdraw(self, account: str, hold: int) -> None:
        """Of one that never was."""

    def available(self, account: str) -> int: ...


class Source(Protocol):
    """Where more of what is short may come from: `LedgerSource`, or `Sharing`."""

    @property
    def away(self) -> bool:
        """It cannot be asked at the moment."""

    @property
    def closed(self) -> bool:
        """Not even what is here may be spent."""

    def worth_asking(
        self, shortage: Shortage, charge: OpenCharge, own: Limits, tokens: int, tries: int
    ) -> bool:
        """Might `find` help a request that was refused so many times?"""

    async def find(self, charge: OpenCharge, own: Limits, tokens: int, tries: int) -> None:
        """Get more, if there is more."""


class LedgerSource:
    """Of a gateway that shares nothing: there may have been a deposit, or a purse is new."""

    away = closed = False

    def __init__(self, poster: Poster, budget: Budget) -> None:
        self._poster = poster
        self._budget = budget

    def worth_asking(
        self, shortage: Shortage, charge: OpenCharge, own: Limits, tokens: int, tries: int
    ) -> bool:
        if tries:
            return False
        unknown = any(not self._budget.known(draw.purse) for draw in charge.draws)
        return unknown or shortage.kind is LimitKind.CREDIT

    async def find(self, charge: OpenCharge, own: Limits, tokens: int, tries: int) -> None:
        """Have the account's balance told again, and what the purses hold. Raises LedgerError."""
        for draw in charge.draws:
            await asyncio.wrap_future(self._poster.refresh(draw.purse))
        await asyncio.wrap_future(self._poster.refresh(charge.account))


class Till:
    """Lives on the event loop; nothing here waits."""

    def __init__(
        self,
        *,
        spool: Spool,
        poster: Poster,
        budget: Credit,
        limiter: Limiter[KeyPools],
        source: Source,
        purses: Purses,
    ) -> None:
        self._spool = spool
        self._poster = poster
        self._budget = budget
        self._limiter = limiter
        self.source = source
        self.purses = purses
        self._open: dict[str, _Reserved] = {}

    def limits_of(self, key_id: str, own: Limits) -> KeyPools | None:
        """What is left of a key's limits; None if nothing limits it. For one request: a sub-key's
        remember what it took.
        """
        if type(own) is SubKeyLimits:
            return pools_of(self._limiter, key_id, own)
        return self._limiter.of(key_id, own)

    def reserve(
        self, charge: OpenCharge, limits: KeyPools | None, tokens: int, now_ns: int
    ) -> Shortage | None:
        """Set aside all that the request can use of its account's credit and of its key's limits.
        If there is too little of one, nothing is set aside and this is what is short.
        """
        if self.source.closed:
            return self._credit_shortage(charge)
        slot = REFUSED
        if limits is not None:
            slot = limits.take(tokens, now_ns)
            if slot == REFUSED:
                return limits.shortage(tokens, now_ns)
        if not self._budget.reserve(charge.account, charge.hold_nano_usd):
            if limits is not None:
                limits.withdraw(slot, tokens)
            return self._credit_shortage(charge)
        if charge.draws:
            shortage = self._draw(charge)
            if shortage is not None:
                self._budget.withdraw(charge.account, charge.hold_nano_usd)
                if limits is not None:
                    limits.withdraw(slot, tokens)
                return shortage
        self._open[charge.charge_id] = _Reserved(charge, limits, tokens, slot)
        return None

    def _draw(self, charge: OpenCharge) -> Shortage | None:
        """Set aside what it draws from every purse, or from none."""
        for index, draw in enumerate(charge.draws):
            if not self._budget.reserve(draw.purse, draw.amount):
                for before in charge.draws[:index]:
                    self._budget.withdraw(before.purse, before.amount)
                return self._purse_shortage(draw, charge.created_ns)
        return None

    def record(self, row: Row, on_durable: OnDurable | None) -> None:
        """Append a row; `on_durable` is called on the event loop once it is on disk or cannot be.

        A closing row settles what was reserved at once: what was not used may be reserved again.
        """
        if type(row) is CloseCharge:
            self._settle(self._open.pop(row.charge_id), row)
        self._spool.append(row, on_durable)

    def _settle(self, reserved: _Reserved, close: CloseCharge) -> None:
        charge, limits, usage = reserved.charge, reserved.limits, close.usage
        cost = cost_of(charge, close)
        self._budget.settle(charge.account, charge.hold_nano_usd, cost)
        if charge.draws:
            for draw in charge.draws:
                self._budget.settle(draw.purse, draw.amount, drawn(draw, usage, cost))
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

    def _purse_shortage(self, draw: Draw, now_ns: int) -> Shortage:
        """`now_ns` is wall clock."""
        purse = self.purses.get(draw.purse)
        assert purse is not None, f"{draw.purse} was let go of before it was over"
        ends = purse.until_ns != FOREVER_NS
        return Shortage(
            kind=_OF_PURSE[purse.kind],
            limit=purse.limit,
            free=min(self._budget.available(draw.purse), draw.amount - 1),
            asked=draw.amount,
            wait_ns=purse.until_ns - now_ns if ends else None,
            owner=purse.owner,
        )

    @property
    def open_charges(self) -> int:
        return len(self._open)

    @property
    def held_nano_usd(self) -> int:
        """The most that all that is open can cost."""
        return sum(reserved.charge.hold_nano_usd for reserved in self._open.values())

    @property
    def sharing_away(self) -> bool:
        """What is shared with other gateways cannot be asked for."""
        return self.source.away

    def has_room(self, open_max: int) -> bool:
        """One more charge may be opened: asked by every request, so in one go."""
        spool = self._spool
        return len(self._open) < open_max and spool.failed is None and not spool.full

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
    def recorded_seq(self) -> int:
        """The last row that was recorded: in the order of the spool."""
        return self._spool.appended_seq

    @property
    def booked_seq(self) -> int:
        """The last row that the ledger has."""
        return self._spool.booked_seq

    @property
    def rows_max(self) -> int:
        """So many rows may wait for the ledger before charges are refused."""
        return self._spool.rows_max

    @property
    def lag_seconds(self) -> float:
        return self._poster.lag_seconds
