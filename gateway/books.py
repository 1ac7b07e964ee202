"""Everything of one gateway process that has to do with money: built, started, drained, closed.

home, config  ->  ledger, database, spool      where charges are kept
both          ->  poster, budget or shares     who moves them, what may still be spent
all           ->  till                         the event loop's side of it
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from gateway.admission.sharing import Sharing
from gateway.admission.till import LedgerSource, Till
from gateway.billing.billing import Billing
from gateway.billing.sla_watch import keep_judging
from gateway.config import Config, SpoolConfig
from gateway.drain_store import DrainStore
from gateway.enrolment.node_store import NodeStore
from gateway.home import Home
from gateway.housekeeping import (
    keep_answers_forgotten,
    keep_expiring,
    keep_responses_tidy,
    keep_summed,
)
from gateway.leftovers import Leftovers
from gateway.patience import until_answered
from gateway.quota_config import QuotaConfig, quotas_of
from gateway.settlement.config import price_of_io
from gateway.settlement.epochs import Epochs
from gateway.settlement.price_watch import PriceWatch
from gateway.settlement.settler import Settler
from gateway.telemetry.book_figures import BookFigures
from gateway.telemetry.budget_figures import BudgetFigures
from metering.answer_store import AnswerStore
from metering.backend import open_database, open_ledger
from metering.budget import Budget
from metering.budget_use import BudgetUse
from metering.customer_store import CustomerStore
from metering.finding_store import FindingStore
from metering.gateway_register import GatewayRegister
from metering.key_store import KeyStore
from metering.ledger import LedgerError
from metering.limits import local_limiter
from metering.poster import Poster
from metering.price_store import PriceStore
from metering.purse_tally import PurseTally
from metering.purses import Purses
from metering.reading_store import ReadingStore
from metering.reputation_store import ReputationStore
from metering.response_store import ResponseStore
from metering.shared_budget import SharedBudget
from metering.shared_limits import SharedKeyLimits, shared_limiter
from metering.sla_book import GRACE_NS, SlaBook
from metering.spool import Spool
from metering.usage_store import UsageStore

log = logging.getLogger("tollgate")

ADMIN_WRITER, SLA_WRITER = "admin", "sla"
"""The own chains in the ledger of the admin API and of what is credited for missed SLAs."""
SHARED_S = 3.0
"""How long a start waits for Redis."""
DRAIN_S = 10.0
"""How long a start or a stop waits for the ledger; what is not in it stays in the spool."""


class Books:
    """`changed` is called from a thread when another process wrote to the database: there may be
    new keys, or revoked ones.

    Raises ConfigError, SpoolError (another process has the spool) and LedgerError.
    """

    def __init__(
        self, home: Home, config: Config, worker: int, changed: Callable[[], None]
    ) -> None:
        self._worker = worker
        self._changed = changed
        where = config.ledger.where(home)
        self.ledger = open_ledger(where)
        self.admin_ledger = open_ledger(where)
        """The poster looks after balances that others changed, and what goes through the ledger
        that it holds itself is none of others.
        """
        self._database = open_database(where)
        self.reports = open_database(where)
        self._texts = open_database(where)
        self.keys = KeyStore(self._database)
        self.customers = CustomerStore(self._database)
        self.prices = PriceStore(self._database)
        self.findings = FindingStore(self._database)
        self.readings = ReadingStore(self.reports)
        self.usage = UsageStore(self.reports)
        self.answers = AnswerStore(self._database)
        self.nodes = NodeStore(self.reports)
        self.reputations = ReputationStore(self.reports)
        self.drains = DrainStore(self._database)
        self.responses = ResponseStore(
            self._texts,
            per_account_max=config.responses.kept_per_account_max,
            account_bytes_max=config.responses.kept_bytes_per_account_max,
        )
        self.billing = Billing(home, config.billing, self.admin_ledger, self.reports, ADMIN_WRITER)
        self.epochs = Epochs(self.admin_ledger)
        self._sla = SlaBook(self.admin_ledger, self.reports, SLA_WRITER, grace_ns=GRACE_NS)
        self._objectives = [sla.objective() for sla in config.sla]
        self._register = GatewayRegister(self._database)
        self._spool = new_spool(home.spool_folder(worker), config.spool)
        self._settler = self._new_settler(home, config, where)
        self.figures = self._new_figures(self._settler, config.quota)
        absent = home.absent_spool_folders(config.server.workers) if worker == 0 else []
        spools = [new_spool(path, config.spool) for path in absent]
        self._leftovers = Leftovers(spools, self.ledger)
        self._sharing: Sharing | None = None
        self.till = self._new_till(config)

    def _new_till(self, config: Config) -> Till:
        """With limits and balances of its own, or shared through Redis."""
        spool, ledger, defaults = self._spool, self.ledger, config.limits.limits()
        if config.redis is None:
            own = Budget()
            purses = self._new_purses(own.forget)
            tally = PurseTally(self._database, purses.get)
            self._poster = Poster(spool, ledger, own.update, self._changed, tally)
            return Till(
                spool=spool,
                poster=self._poster,
                budget=own,
                limiter=local_limiter(defaults),
                source=LedgerSource(self._poster, own),
                purses=purses,
            )
        from metering.redis_pools import RedisPools  # here, because few need its 20 MB

        shared, awake = SharedBudget(lambda name: purses.until_s(name)), set[SharedKeyLimits]()
        purses = self._new_purses(shared.forget)
        tally = PurseTally(self._database, purses.get)
        self._poster = Poster(spool, ledger, shared.update, self._changed, tally)
        self._pools = RedisPools(
            config.redis.address(),
            ledger_name=self._register.ledger_name(),
            timeout_ms=config.redis.timeout_ms,
        )
        limiter = shared_limiter(defaults, awake)
        self._sharing = Sharing(
            self._pools,
            limiter,
            awake,
            shared,
            writer=spool.writer,
            register=lambda: asyncio.to_thread(self._register.writers),
            refresh=lambda account: asyncio.wrap_future(self._poster.refresh(account)),
            serves_on_leases=config.redis.when_away == "lease",
        )
        return Till(
            spool=spool,
            poster=self._poster,
            budget=shared,
            limiter=limiter,
            source=self._sharing,
            purses=purses,
        )

    def _new_settler(self, home: Home, config: Config, where: Path | str) -> Settler | None:
        if not config.settlement.automatic:
            return None
        return Settler(
            home,
            config.settlement,
            PriceWatch(price_of_io(config.settlement, config.oracle)),
            where,
            ledger=self.admin_ledger,
            database=self.reports,
            holder=self._spool.writer,
        )

    def _new_purses(self, forget: Callable[[str], bool]) -> Purses:
        return Purses(lambda name: self._poster.refresh(name), forget)

    async def open(self) -> None:
        """What was open when the last gateway died is closed before anything new is opened."""
        if self._sharing is not None:
            self._register.enter(self._spool.writer)
        self.answers.release_all(self.writer)
        crashed = self._spool.recover(time.time_ns())
        if crashed:
            log.warning("%d charges were open when the last gateway died: closed", crashed)
        for writer in await asyncio.to_thread(self._leftovers.book, time.time_ns(), DRAIN_S):
            self._register.leave(writer)
            if self._sharing is not None:
                self._sharing.drop(writer, self.ledger.last_seq())
        self._spool.start(asyncio.get_running_loop().call_soon_threadsafe)
        self._poster.start()
        if not await asyncio.to_thread(self._poster.drain, DRAIN_S):
            log.warning("the ledger is behind the spool; serving on")

    def running(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on beside the requests, until it is cancelled."""
        tasks: list[Coroutine[Any, Any, None]] = []
        if self._worker == 0:
            tasks += [
                keep_expiring(self.ledger),
                keep_summed(self.reports),
                keep_responses_tidy(self.responses),
                keep_answers_forgotten(self.answers),
                keep_judging(self._sla, self._objectives),
            ]
        if self.figures is not None:
            tasks.append(self.figures.keep_read())
        if self._settler is not None:
            tasks.append(self._settler.run())
        if self._sharing is not None:
            tasks += [self._sharing.run(), self._settle(self._sharing)]
        return tasks

    def _new_figures(
        self, settler: Settler | None, quotas: Iterable[QuotaConfig]
    ) -> BookFigures | None:
        """What the books have come to, for metrics: in one worker of all."""
        if self._worker != 0:
            return None
        prices = None if settler is None else settler.prices
        return BookFigures(
            self.admin_ledger,
            self.customers,
            prices,
            lambda: settler is not None and settler.leads,
            BudgetFigures(BudgetUse(self.reports), quotas_of(quotas).values()),
        )

    def ledger_name(self) -> str:
        """One for all gateways on this ledger."""
        return self._register.ledger_name()

    @property
    def writer(self) -> str:
        """This process's name in the ledger: that of its spool, which no other can have."""
        return self._spool.writer

    async def booked(self) -> None:
        """Returns once the ledger has all that is durable in the spool now."""
        while not await asyncio.to_thread(self._poster.drain, DRAIN_S):
            log.warning("the ledger is behind the spool, and batches wait for it")

    async def shared(self) -> None:
        """Once it runs: wait a little for the first leases."""
        if self._sharing is not None and not await self._sharing.opened(SHARED_S):
            log.warning("nothing is leased through Redis yet: requests will get 429")

    async def _settle(self, sharing: Sharing) -> None:
        """Once all that an earlier life of this gateway charged is booked, its leases end."""
        while not await asyncio.to_thread(self._poster.drain, DRAIN_S):
            log.warning("no money is leased before the spool is booked: the ledger is behind")
        booked_seq = await until_answered(lambda: asyncio.to_thread(self.ledger.last_seq))
        sharing.drop(self._spool.writer, booked_seq)
        sharing.settled = True

    async def close(self) -> None:
        """Nothing is under way any more: bring every charge into the ledger."""
        await asyncio.to_thread(self._drain)
        if self._sharing is not None:
            await self._leave(self._sharing)
        await asyncio.to_thread(self._close)

    def _drain(self) -> None:
        deadline_s = time.monotonic() + DRAIN_S
        while self.till.backlog_rows and self.till.posting and time.monotonic() < deadline_s:
            self._poster.drain(deadline_s - time.monotonic())
            time.sleep(0.001)  # what was appended last may not be durable yet
        if rows := self.till.backlog_rows:
            log.warning("%d rows wait in the spool for the next start: not in the ledger yet", rows)
        self._leftovers.close()
        self._poster.stop()

    async def _leave(self, sharing: Sharing) -> None:
        """Give back what is leased, unless charges are not booked: then the next start does."""
        try:
            if not self.till.backlog_rows:
                await sharing.leave(await asyncio.to_thread(self.ledger.last_seq))
                await asyncio.to_thread(self._register.leave, self._spool.writer)
        except LedgerError as error:
            log.warning("what is leased is given back by the next start: %s", error)
        await self._pools.close()

    def _close(self) -> None:
        self._spool.close()
        self._texts.close()
        self.reports.close()
        self._database.close()
        self.admin_ledger.close()
        self.ledger.close()


def new_spool(path: Path, config: SpoolConfig) -> Spool:
    """Raises SpoolError."""
    return Spool(
        path,
        rows_max=config.rows_max,
        kept_s=config.kept_minutes * 60,
        kept_bytes_max=config.kept_mib_max * 1024 * 1024,
    )
