"""Where an exchange's money goes through: credit reserved, rows to the spool, holds settled.

The event loop's side of the books. The spool's writer thread and the poster do the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from metering.budget import Budget
from metering.charge import ChargeProgress, CloseCharge, OpenCharge
from metering.poster import Poster
from metering.posting import cost_of
from metering.spool import Spool

OnDurable = Callable[[Exception | None], None]
Row = OpenCharge | ChargeProgress | CloseCharge


class Till:
    """Lives on the event loop; nothing here waits."""

    def __init__(self, *, spool: Spool, poster: Poster, budget: Budget) -> None:
        self._spool = spool
        self._poster = poster
        self._budget = budget
        self._open: dict[str, OpenCharge] = {}

    def reserve(self, account: str, amount_nano_usd: int) -> bool:
        """Set this much of the account's credit aside; False if it has less."""
        return self._budget.reserve(account, amount_nano_usd)

    def available(self, account: str) -> int:
        """Nano-USD that the account could still reserve."""
        return self._budget.available(account)

    async def reload(self, account: str) -> None:
        """Ask the ledger for the account's balance again: there may have been a deposit."""
        await asyncio.wrap_future(self._poster.refresh(account))

    def record(self, row: Row, on_durable: OnDurable | None) -> None:
        """Append a row; `on_durable` is called on the event loop once it is on disk or cannot be.

        A closing row settles its hold at once: what was not used may be reserved again.
        """
        if isinstance(row, OpenCharge):
            self._open[row.charge_id] = row
        elif isinstance(row, CloseCharge):
            charge = self._open.pop(row.charge_id)
            self._budget.settle(charge.account, charge.hold_nano_usd, cost_of(charge, row))
        self._spool.append(row, on_durable)

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
