"""The one place that builds edge objects and connects the rooms: read it to see the whole gateway.

home (files)  ->  ledger, keys, spool, poster, budget             metering
config        ->  registry, policy, router                        router
both          ->  till, catalogue, admission, upstream, telemetry gateway
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import APIRouter, FastAPI

from gateway.admission.admission import Admission
from gateway.admission.catalogue import Catalogue
from gateway.admission.ids import Ids
from gateway.admission.keyring import Keyring
from gateway.admission.price_board import PriceBoard
from gateway.admission.sharing import Sharing
from gateway.admission.till import LedgerSource, Till
from gateway.app import fastapi_app
from gateway.balance_watch import watch_balances
from gateway.billing.billing import Billing
from gateway.client.answer import Headers
from gateway.client.connection import ClientConnection
from gateway.client.cors import Cors
from gateway.config import Config, RayConfig
from gateway.customers import Customers
from gateway.drivers.asgi import AsgiDriver, InferenceApp
from gateway.drivers.aside import Aside
from gateway.drivers.coroutine import CoroutineDriver
from gateway.drivers.desk import Desk
from gateway.drivers.listener import ClientListener
from gateway.drivers.protocol import ProtocolDriver
from gateway.drivers.watch import Watch
from gateway.exchange.exchange import Exchange
from gateway.expiring import keep_expiring
from gateway.home import Home
from gateway.honesty.counter_check import CounterCheck
from gateway.honesty.honesty import Honesty
from gateway.honesty.node_counters import NodeCounters
from gateway.leftovers import Leftovers
from gateway.nodes.upstream import Upstream
from gateway.routes import (
    health,
    key,
    messages,
    models,
    openrouter,
    statements,
    sub_keys,
    tokens,
    usage,
)
from gateway.routes.admin import accounts, deposits, keys
from gateway.routes.admin import api as admin
from gateway.routes.admin.auth import authorize_with
from gateway.routes.auth import authenticate_with
from gateway.telemetry.report_files import ReportFiles
from gateway.telemetry.telemetry import Telemetry
from metering.backend import open_database
from metering.budget import Budget
from metering.customer_store import CustomerStore
from metering.finding_store import FindingStore
from metering.gateway_register import GatewayRegister
from metering.key_store import KeyStore
from metering.ledger import LedgerError
from metering.limits import local_limiter
from metering.poster import Poster
from metering.price_store import PriceStore
from metering.reading_store import ReadingStore
from metering.shared_budget import SharedBudget
from metering.shared_limits import SharedKeyLimits, shared_limiter
from metering.spool import Spool
from metering.sqlite_ledger import SqliteLedger
from metering.usage_store import UsageStore
from router.policy import Policy
from router.registry import Registry
from router.router import Router
from router.types import NodeRecord
from serving.ray_dashboard import RayDashboard, RayUnavailableError
from serving.ray_discovery import RayDiscovery

log = logging.getLogger("tollgate")

STATIC, RAY = "static", "ray"
SHARED_S = 3.0
"""How long a start waits for Redis."""
ADMIN_WRITER = "admin"
"""The admin API's own chain in the ledger."""
DRAIN_S = 10.0
"""How long a start or a stop waits for the ledger; what is not in it stays in the spool."""


class Gateway:
    """Everything one gateway process holds. `app` (any ASGI server) and `listener` (uvicorn) serve
    the same; the app's lifespan starts the rest and, at the end, brings every recorded charge
    into the ledger.

    `worker` is its index among `config.server.workers`, `run` names the life of those together.
    Raises ConfigError, SpoolError (another process has the spool) and LedgerError.
    """

    def __init__(self, home: Home, config: Config, *, worker: int = 0, run: str = "") -> None:
        home.path.mkdir(parents=True, exist_ok=True)
        self.config = config
        self._worker = worker
        self._ledger = SqliteLedger(home.ledger_file)
        self._database = open_database(home.ledger_file)
        workers = config.server.workers
        self._spool = Spool(home.spool_folder(worker), rows_max=config.spool.rows_max)
        absent = home.absent_spool_folders(workers) if worker == 0 else []
        self._leftovers = Leftovers(absent, self._ledger)
        self._sharing: Sharing | None = None
        self._register = GatewayRegister(self._database)
        self._till = self._new_till(config)
        self._registry = Registry()
        self._router = Router(self._registry, Policy(), random.Random())
        self._key_store = KeyStore(self._database)
        self._keyring = Keyring(self._key_store)
        self._customers = CustomerStore(self._database)
        self._reports = open_database(home.ledger_file)
        self._billing = Billing(home, config.billing, self._ledger, self._reports, ADMIN_WRITER)
        self._usage = UsageStore(self._reports)
        doors = (
            {node.id: own for node in config.node if (own := node.api_key()) is not None},
            {node.id: tls for node in config.node if (tls := node.tls()) is not None},
        )
        self._upstream = Upstream(*doors)
        self._watch = Watch()
        self._changed = asyncio.Event()
        files = None
        if workers > 1:
            files = ReportFiles(home, run=run, worker=worker, workers=workers)
        telemetry = Telemetry(self._router, self._till, lambda: self._watch.count, files)
        self._telemetry = telemetry
        catalogue = Catalogue(config.model)
        self._prices = PriceBoard(PriceStore(self._database), catalogue)
        readings = ReadingStore(self._database)
        counters = CounterCheck(readings, NodeCounters(*doors), self._ledger.last_seq)
        self._honesty = Honesty(
            config.honesty,
            catalogue=catalogue,
            router=self._router,
            telemetry=telemetry,
            findings=FindingStore(self._database),
            counters=counters if worker == 0 else None,
            nodes=lambda: self._registry.nodes.values(),
        )
        self._watch.report_to(telemetry.finished, self._honesty.ended)
        self.admission = Admission(
            keyring=self._keyring,
            catalogue=catalogue,
            till=self._till,
            router=self._router,
            ids=Ids(),
            monotonic_ns=time.monotonic_ns,
            timeouts=config.server.timeouts,
            body_bytes_max=config.server.body_bytes_max,
            open_requests_max=config.server.open_requests_max,
            sample=self._honesty.sample,
        )
        rest = fastapi_app(self._routers(home, catalogue), self._lifespan)
        parts = (self._till, self._upstream, self._watch)

        def asgi_driver(exchange: Exchange) -> AsgiDriver:
            return AsgiDriver(exchange, *parts)

        def protocol_driver(
            exchange: Exchange, connection: ClientConnection, http_1_1: bool, cors: Headers
        ) -> ProtocolDriver:
            return ProtocolDriver(exchange, *parts, connection, http_1_1, cors)

        cors = Cors(config.server.cors_origins)
        self.app = InferenceApp(self.admission, asgi_driver, telemetry.refused, cors, rest)
        self.listener = ClientListener(
            self.admission,
            protocol_driver,
            telemetry.refused,
            cors,
            config.server.client_timeouts,
        )
        self._watch.also_sweep(self.listener.sweep)

    def _routers(self, home: Home, catalogue: Catalogue) -> list[APIRouter]:
        """Every route but inference."""
        operations = health.routes(
            catalogue=catalogue,
            router=self._router,
            till=self._till,
            admission=self.admission,
            telemetry=self._telemetry,
        )
        authenticate = authenticate_with(self.admission)
        aside = Aside(self._router, catalogue, self._upstream)
        authorize = authorize_with(self.config.admin.key(home), self._keyring)
        return [
            operations,
            models.routes(catalogue, authenticate),
            messages.routes(self.admission, self._desk(), aside, authenticate),
            tokens.routes(self.admission, aside, authenticate),
            openrouter.routes(catalogue, self._router, self.admission, authenticate),
            admin.routes(authorize, self._admin_parts()),
            key.routes(authenticate, self._key_store, self._usage, self._customers),
            sub_keys.routes(authenticate, self._keyring, self._key_store),
            usage.routes(authenticate, self._usage),
            statements.routes(authenticate, self._billing),
        ]

    def _admin_parts(self) -> list[APIRouter]:
        customers = Customers(self._ledger, self._customers, ADMIN_WRITER)
        return [
            accounts.routes(customers, self._keyring),
            keys.routes(self._key_store, self._keyring),
            deposits.routes(self._billing, self._balance_changed),
        ]

    async def _balance_changed(self, account: str) -> None:
        """Have the poster tell it now; should the ledger be away, it will once it is back."""
        with contextlib.suppress(LedgerError):
            await asyncio.wrap_future(self._poster.refresh(account))

    def _desk(self) -> Desk:
        parts = (self._till, self._upstream, self._watch)
        return Desk(
            self.admission,
            lambda exchange: CoroutineDriver(exchange, *parts),
            self._telemetry.refused,
        )

    def _new_till(self, config: Config) -> Till:
        """With limits and balances of its own, or shared through Redis."""
        spool, ledger, defaults = self._spool, self._ledger, config.limits.limits()
        if config.redis is None:
            own = Budget()
            self._poster = Poster(spool, ledger, own.update, self._ledger_changed)
            return Till(
                spool=spool,
                poster=self._poster,
                budget=own,
                limiter=local_limiter(defaults),
                source=LedgerSource(self._poster),
            )
        from metering.redis_pools import RedisPools  # here, because few need its 20 MB

        shared, awake = SharedBudget(), set[SharedKeyLimits]()
        self._poster = Poster(spool, ledger, shared.update, self._ledger_changed)
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
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        await self._start()
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._watch.sweep()),
                tasks.create_task(self._reload()),
                tasks.create_task(self._prices.keep_current()),
                tasks.create_task(self._telemetry.keep_published()),
                tasks.create_task(watch_balances(self._customers)),
                tasks.create_task(self._honesty.run()),
            ]
            if self._worker == 0:
                running.append(tasks.create_task(keep_expiring(self._ledger)))
            if self.config.ray is not None:
                running.append(tasks.create_task(self._discover(self.config.ray)))
            if self._sharing is not None:
                running.append(tasks.create_task(self._sharing.run()))
                running.append(tasks.create_task(self._settle(self._sharing)))
                if not await self._sharing.opened(SHARED_S):
                    log.warning("nothing is leased through Redis yet: requests will get 429")
            yield
            for task in running:
                task.cancel()
        self._watch.cut()
        await asyncio.to_thread(self._drain)
        if self._sharing is not None:
            await self._leave(self._sharing)
        await asyncio.to_thread(self._close)
        await self._telemetry.publish()

    async def _start(self) -> None:
        """What was open when the last gateway died is closed before anything new is opened."""
        if self._sharing is not None:
            self._register.enter(self._spool.writer)
        crashed = self._spool.recover(time.time_ns())
        if crashed:
            log.warning("%d charges were open when the last gateway died: closed", crashed)
        for writer in await asyncio.to_thread(self._leftovers.book, time.time_ns(), DRAIN_S):
            self._register.leave(writer)
            if self._sharing is not None:
                self._sharing.drop(writer, self._ledger.last_seq())
        self._spool.start(asyncio.get_running_loop().call_soon_threadsafe)
        self._poster.start()
        self._update_nodes(STATIC, [node.record() for node in self.config.node])
        if not await asyncio.to_thread(self._poster.drain, DRAIN_S):
            log.warning("the ledger is behind the spool; serving on")
        await self._keyring.reload()
        await self._prices.reload()

    async def _settle(self, sharing: Sharing) -> None:
        """Once all that an earlier life of this gateway charged is booked, its leases end."""
        while not await asyncio.to_thread(self._poster.drain, DRAIN_S):
            log.warning("no money is leased before the spool is booked: the ledger is behind")
        sharing.drop(self._spool.writer, await asyncio.to_thread(self._ledger.last_seq))
        sharing.settled = True

    async def _leave(self, sharing: Sharing) -> None:
        """Give back what is leased, unless charges are not booked: then the next start does."""
        if not self._till.backlog_rows:
            await sharing.leave(await asyncio.to_thread(self._ledger.last_seq))
            await asyncio.to_thread(self._register.leave, self._spool.writer)
        await self._pools.close()

    def _drain(self) -> None:
        self._upstream.close()
        deadline_s = time.monotonic() + DRAIN_S
        while self._till.backlog_rows and self._till.posting and time.monotonic() < deadline_s:
            self._poster.drain(deadline_s - time.monotonic())
            time.sleep(0.001)  # what was appended last may not be durable yet
        if rows := self._till.backlog_rows:
            log.warning("%d rows wait in the spool for the next start: not in the ledger yet", rows)
        self._leftovers.close()
        self._poster.stop()

    def _close(self) -> None:
        self._spool.close()
        self._reports.close()
        self._honesty.close()
        self._database.close()
        self._ledger.close()

    def _ledger_changed(self) -> None:
        """Another process wrote to the database: there may be new keys, or revoked ones."""
        self._changed.set()

    async def _reload(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._keyring.reload()

    async def _discover(self, ray: RayConfig) -> None:
        """Follow Ray's list of replicas. While it cannot be read, the last one stands: replicas
        serve on, and those that do not are ejected by the router.
        """
        discovery = RayDiscovery(RayDashboard(ray.dashboard_url, Path(ray.token_file)))
        while True:
            try:
                self._update_nodes(RAY, await discovery.poll())
            except RayUnavailableError as error:
                log.warning("Ray cannot be asked for its replicas: %s", error)
            await asyncio.sleep(ray.poll_interval_ms / 1000)

    def _update_nodes(self, source: str, records: list[NodeRecord]) -> None:
        change = self._registry.update(source, records)
        if change:
            log.info("nodes from %s: %d", source, len(records))
            self._upstream.keep_only(self._registry.nodes)
            self._honesty.forget(self._registry.nodes)
