"""Where an exchange's money goes through: credit reserved, rows to the spool, holds settled.

The event loop's side of the books. The spool's writer thread and the poster do the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from metering.budget import Budget
from metering.charge import ChargeProgress, CloseCharge, OpenCharge
from metering.ledger import Ledger
from metering.poster import Poster
from metering.prices import cost_nano_usd
from metering.spool import Spool

OnDurable = Callable[[Exception | None], None]
Row = OpenCharge | ChargeProgress | CloseCharge


class Till:
    """Not thread-safe: everything but the ledger reads happens on the event loop."""

    def __init__(
        self, *, spool: Spool, poster: Poster, ledger: Ledger, budget: Budget, rows_max: int
    ) -> None:
        self._spool = spool
        self._poster = poster
        self._ledger = ledger
        self._budget = budget
        self._rows_max = rows_max
        self._open: dict[str, OpenCharge] = {}

    # -- credit -----------------------------------------------------------------------------------

    def reserve(self, account: str, amount_nano_usd: int) -> bool:
        """Set this much of the account's credit aside; False if it has less."""
        return self._budget.reserve(account, amount_nano_usd)

    def available(self, account: str) -> int:
        """Nano-USD that the account could still reserve."""
        return self._budget.available(account)

    async def reload(self, account: str) -> None:
        """Read the account's balance from the ledger again: there may have been a deposit."""
        balance = await asyncio.to_thread(self._ledger.balance, f"usd:customer:{account}")
        self._budget.set_balance(account, balance.available)

    # -- rows -------------------------------------------------------------------------------------

    def record(self, row: Row, on_durable: OnDurable | None) -> None:
        """Append a row; `on_durable` is called on the event loop once it is on disk or cannot be.

        A closing row settles its hold at once: what was not used may be reserved again.
        """
        if isinstance(row, OpenCharge):
            self._open[row.charge_id] = row
        elif isinstance(row, CloseCharge):
            charge = self._open.pop(row.charge_id)
            cost = cost_nano_usd(charge.price, row.usage) if row.usage is not None else 0
            self._budget.settle(charge.account, charge.hold_nano_usd, cost)
        self._spool.append(row, on_durable)

    # -- state ------------------------------------------------------------------------------------

    @property
    def open_charges(self) -> int:
        return len(self._open)

    @property
    def recording(self) -> bool:
        """Charges can be made durable, and the spool has room for more."""
        return self._spool.failed is None and self._spool.backlog < self._rows_max

    @property
    def backlog_rows(self) -> int:
        return self._spool.backlog

    @property
    def lag_seconds(self) -> float:
        return self._poster.lag_seconds
