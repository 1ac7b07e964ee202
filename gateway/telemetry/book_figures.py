"""What ledger and epochs have come to, read now and then, off the event loop, in one worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.settlement.price_watch import PriceWatch
from gateway.telemetry import book_metrics as books
from gateway.telemetry import epoch_metrics as metrics
from gateway.telemetry.budget_figures import BudgetFigures
from gateway.telemetry.epoch_figures import EpochFigures, epoch_families, figures_of_epoch
from gateway.telemetry.family import NANO, gauge_family, gauge_of
from metering import accounts
from metering.customer_store import CustomerStore
from metering.ledger import Ledger, LedgerError
from metering.money import IO_UNIT

READ_INTERVAL_S = 5.0

_USD = (
    accounts.USD_FEE_VAULT,
    accounts.USD_TREASURY,
    accounts.USD_SHORTFALL,
    accounts.USD_SLA,
    accounts.USD_EXCHANGE,
)
_IO = (
    accounts.IO_UNEMITTED,
    accounts.IO_REWARD_VAULT,
    accounts.IO_CIRCULATING,
    accounts.IO_TREASURY,
    accounts.IO_BURNED,
    accounts.IO_RETIRED,
)


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    low_accounts: int
    posted: dict[str, int]
    """By account, in the smallest unit of its asset."""


class BookFigures(Collector):
    """`prices` is None where this gateway closes no epochs."""

    def __init__(
        self,
        ledger: Ledger,
        customers: CustomerStore,
        prices: PriceWatch | None,
        leads: Callable[[], bool],
        budgets: BudgetFigures,
    ) -> None:
        self._ledger = ledger
        self._customers = customers
        self._prices = prices
        self._leads = leads
        self._budgets = budgets
        self._read: _Read | None = None
        self._epoch: EpochFigures | None = None
        self._up = True

    async def keep_read(self) -> None:
        """Runs for the gateway's lifetime. While the ledger is away the last figures stand."""
        while True:
            try:
                await asyncio.to_thread(self.look)
            except LedgerError:
                self._up = False
            else:
                self._up = True
            await asyncio.sleep(READ_INTERVAL_S)

    def look(self) -> None:
        """Raises LedgerError."""
        ledger = self._ledger
        balances = ledger.balances([*_USD, *_IO])
        self._read = _Read(
            rows=ledger.last_seq(),
            low_accounts=self._customers.count_low(),
            posted={account: balance.posted for account, balance in balances.items()},
        )
        newest = ledger.seals(limit=1)
        if newest and (self._epoch is None or newest[0].epoch != self._epoch.epoch):
            row = ledger.epoch(newest[0].epoch)
            self._epoch = None if row is None else figures_of_epoch(row)
        self._budgets.look()

    def collect(self) -> Iterator[Metric]:
        yield gauge_of(books.LEDGER_UP, int(self._up))
        read = self._read
        if read is not None:
            yield gauge_of(books.LEDGER_ROWS, read.rows)
            yield gauge_of(books.LOW_ACCOUNTS, read.low_accounts)
            yield gauge_family(books.BALANCE_USD, _told(read, _USD, NANO))
            yield gauge_family(books.BALANCE_IO, _told(read, _IO, IO_UNIT))
        yield from self._budgets.families()
        if self._epoch is not None:
            yield from epoch_families(self._epoch)
        if self._prices is not None and self._leads():
            price = self._prices.now_nano_usd()
            if price is not None:
                yield gauge_of(metrics.ORACLE_PRICE, price / NANO)
            yield gauge_of(metrics.ORACLE_STALE, int(price is None))
            yield gauge_of(metrics.ORACLE_FAILING, self._prices.failing)


def _told(read: _Read, names: tuple[str, ...], unit: int) -> list[tuple[tuple[str], float]]:
    return [((name.partition(":")[2],), read.posted.get(name, 0) / unit) for name in names]
