"""The one place that connects the rooms: read it to see the whole gateway.

home (files)  ->  books (ledger, spool, till)                          metering
config        ->  registry, policy, router                             router
both          ->  catalogue, admission, upstream, telemetry, drivers   gateway
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI

from gateway.admission.admission import Admission
from gateway.admission.catalogue import Catalogue
from gateway.admission.ids import Ids
from gateway.admission.keyring import Keyring
from gateway.admission.price_board import PriceBoard
from gateway.admission.waking import Waking
from gateway.app import fastapi_app
from gateway.audit.trail import AuditTrail
from gateway.balance_watch import watch_balances
from gateway.batches.batches import Batches
from gateway.books import ADMIN_WRITER, Books
from gateway.canaries import start as canaries
from gateway.client.answer import Headers
from gateway.client.connection import ClientConnection
from gateway.client.cors import Cors
from gateway.config import Config
from gateway.console import entrance as console
from gateway.customers import Customers
from gateway.draining import Draining
from gateway.drivers.asgi import AsgiDriver, InferenceApp
from gateway.drivers.aside import Aside
from gateway.drivers.coroutine import CoroutineDriver
from gateway.drivers.desk import Desk, DeskOf
from gateway.drivers.held import HeldDriver
from gateway.drivers.idempotency import Idempotency
from gateway.drivers.listener import ClientListener
from gateway.drivers.protocol import ProtocolDriver
from gateway.drivers.watch import Watch
from gateway.exchange.exchange import Exchange
from gateway.home import Home
from gateway.honesty.counter_check import CounterCheck
from gateway.honesty.honesty import Honesty
from gateway.honesty.node_counters import NodeCounters
from gateway.node_list import NodeList
from gateway.nodes.upstream import Upstream
from gateway.observers import Observers
from gateway.patience import until_answered
from gateway.quota_config import quotas_of
from gateway.reputation.keeper import Keeper
from gateway.responses.background import Background
from gateway.responses.shelf import Shelf
from gateway.routes import (
    batches,
    epochs,
    files,
    health,
    key,
    messages,
    models,
    openrouter,
    responses,
    scorecard,
    statements,
    sub_keys,
    tokens,
    usage,
)
from gateway.routes.admin import (
    accounts,
    audit,
    decisions,
    deposits,
    discovery,
    drains,
    findings,
    keys,
    prices,
    reputations,
)
from gateway.routes.admin import api as admin
from gateway.routes.admin.audited import route_class
from gateway.routes.admin_auth import Authorize, authorize_with
from gateway.routes.auth import authenticate_with
from gateway.routing.news import news
from gateway.scorecard.tool_checks import ToolChecks
from router.conduct import Conducts
from router.registry import Registry
from router.router import Router

if TYPE_CHECKING:
    from gateway.enrolled_nodes import EnrolledNodes


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
        self._home = home
        self._worker = worker
        self._changed = asyncio.Event()
        self._books = Books(home, config, worker, self._changed.set)
        registry = Registry()
        routing = config.router
        conducts = Conducts(config.reputation.terms())
        self._router = Router(registry, routing.build(), random.Random(), routing.log(), conducts)
        self._reputations = Keeper(self._router, self._books.reputations)
        self._catalogue = Catalogue(config.model, quotas_of(config.quota))
        self._keyring = Keyring(self._books.keys)
        self._prices = PriceBoard(self._books.prices, self._catalogue)
        doors = (
            {node.id: own for node in config.node if (own := node.api_key()) is not None},
            {node.id: tls for node in config.node if (tls := node.tls()) is not None},
        )
        self._upstream = Upstream(*doors)
        self._listed = registry.nodes.values
        self._watch = Watch()
        self._observers = self._new_observers(worker, run)
        self._telemetry = self._observers.telemetry
        self._honesty = self._new_honesty(registry, NodeCounters(*doors) if worker == 0 else None)
        self._nodes = NodeList(
            registry, self._books.drains, self._upstream.keep_only, self._honesty.forget
        )
        self._enrolled = self._new_enrolled(doors[1])
        self._tool_checks = ToolChecks(self._telemetry.scores.tools_checked)
        self.admission = Admission(
            keyring=self._keyring,
            catalogue=self._catalogue,
            till=self._books.till,
            router=self._router,
            ids=Ids(),
            monotonic_ns=time.monotonic_ns,
            timeouts=config.server.timeouts,
            failover=config.failover.build(),
            body_bytes_max=config.server.body_bytes_max,
            open_requests_max=config.server.open_requests_max,
            sample=self._honesty.sample,
            tool_sample=self._tool_checks.sample,
            waking=Waking(config.ray, time.monotonic_ns, self._nodes.drains_model),
        )
        self._batches = Batches(
            home,
            config,
            books=self._books,
            admission=self.admission,
            keyring=self._keyring,
            catalogue=self._catalogue,
            router=self._router,
            new_driver=lambda exchange: HeldDriver(
                exchange, self._books.till, self._upstream, self._watch
            ),
        )
        self._watch.report_to(
            *self._observers.ended(),
            self._tool_checks.ended,
            self._honesty.ended,
            self._batches.gate.ended,
        )
        self._connect_clients()

    def _new_observers(self, worker: int, run: str) -> Observers:
        return Observers(
            self._home,
            self.config,
            books=self._books,
            router=self._router,
            open_exchanges=lambda: self._watch.count,
            draining=lambda: self.admission.draining,
            worker=worker,
            run=run,
        )

    def _new_enrolled(self, doors: dict[str, ssl.SSLContext]) -> EnrolledNodes | None:
        settings = self.config.enrolment
        if settings is None:
            return None
        from gateway.enrolled_nodes import EnrolledNodes  # here, because few need its 10 MB

        return EnrolledNodes(
            settings,
            self._books.nodes,
            identity=self._home.gateway_identity_file,
            writer=self._books.writer,
            database=self._books.reports,
            models={model.id: model.kinds for model in self.config.model},
            doors=doors,
            reopen=self._upstream.reopen,
            router=self._router,
        )

    def _new_honesty(self, registry: Registry, counters: NodeCounters | None) -> Honesty:
        """One worker alone reads nodes' counters."""
        books, check = self._books, None
        if counters is not None:
            check = CounterCheck(books.readings, counters, books.ledger.last_seq)
        return Honesty(
            self.config.honesty,
            catalogue=self._catalogue,
            router=self._router,
            telemetry=self._telemetry,
            findings=books.findings,
            counters=check,
            nodes=lambda: registry.nodes.values(),
        )

    def _connect_clients(self) -> None:
        """The three drivers of an exchange, and who comes by each."""
        till, upstream, watch = parts = self._books.till, self._upstream, self._watch

        def asgi_driver(exchange: Exchange) -> AsgiDriver:
            return AsgiDriver(exchange, *parts)

        def coroutine_driver(exchange: Exchange) -> CoroutineDriver:
            return CoroutineDriver(exchange, *parts)

        def held_driver(exchange: Exchange) -> HeldDriver:
            return HeldDriver(exchange, *parts)

        def protocol_driver(
            exchange: Exchange, connection: ClientConnection, http_1_1: bool, cors: Headers
        ) -> ProtocolDriver:
            return ProtocolDriver(exchange, till, upstream, watch, connection, http_1_1, cors)

        refused = self._telemetry.refused
        desk = Desk(self.admission, coroutine_driver, refused)
        settings = self.config
        shelf = Shelf(self._books.responses, settings.responses, settings.server.body_bytes_max)
        self._background = Background(desk, shelf)
        keeping = (self._books.answers, self._books.writer)
        told_once = Idempotency(DeskOf(self.admission, held_driver, refused), *keeping)
        rest = fastapi_app(self._routers(desk, told_once, shelf), self._lifespan)
        cors = Cors(self.config.server.cors_origins)
        quiet_desk = DeskOf(self.admission, held_driver, lambda *_: None)  # the app tells
        idempotency = Idempotency(quiet_desk, *keeping)
        self.app = InferenceApp(self.admission, asgi_driver, refused, cors, idempotency, rest)
        self.listener = ClientListener(
            self.admission,
            protocol_driver,
            refused,
            cors,
            self.config.server.client_timeouts,
            self.config.files.upload_bytes_max,
        )
        self._watch.also_sweep(self.listener.sweep)

    def _routers(self, desk: Desk, idempotency: Idempotency, shelf: Shelf) -> list[APIRouter]:
        """Every route but inference."""
        books, catalogue, admission = self._books, self._catalogue, self.admission
        batching = self._batches
        authenticate = authenticate_with(admission)
        authorize = authorize_with(self.config.admin.key(self._home), self._keyring)
        aside = Aside(self._router, catalogue, self._upstream)
        draining = Draining(
            books.drains, self._nodes, catalogue, lambda: {node.node_id for node in self._listed()}
        )
        shown = (self._keyring, self._router, draining, self._telemetry)
        return [
            health.routes(
                catalogue=catalogue,
                router=self._router,
                till=books.till,
                admission=admission,
                telemetry=self._telemetry,
            ),
            models.routes(catalogue, authenticate),
            messages.routes(admission, desk, idempotency, aside, authenticate),
            responses.routes(
                admission, desk, idempotency, shelf, self._background, catalogue, authenticate
            ),
            tokens.routes(admission, aside, authenticate),
            key.routes(authenticate, books.keys, books.usage, books.customers, catalogue),
            sub_keys.routes(authenticate, self._keyring, books.keys),
            usage.routes(authenticate, books.usage, catalogue),
            statements.routes(authenticate, books.billing),
            scorecard.routes(authorize, catalogue, self._telemetry),
            epochs.routes(books.epochs, authorize),
            openrouter.routes(
                catalogue, self._router, admission, self.config.responses, authenticate
            ),
            files.routes(authenticate, self.config.files, batching.files, batching.folder),
            batches.routes(authenticate, batching.store, batching.files, batching.created),
            *([] if self._enrolled is None else [self._enrolled.routes]),
            admin.routes(authorize, self._admin_parts(authorize, draining)),
            console.routes(self._home, self.config, books, catalogue, *shown),
        ]

    def _admin_parts(self, authorize: Authorize, draining: Draining) -> list[APIRouter]:
        books = self._books
        trail = AuditTrail(books.reports)
        changing = route_class(trail, authorize)
        customers = Customers(books.admin_ledger, books.customers, ADMIN_WRITER)
        return [
            *([] if self._enrolled is None else [self._enrolled.admin_routes(changing)]),
            accounts.routes(customers, self._keyring, books.usage, changing),
            keys.routes(books.keys, self._keyring, changing),
            deposits.routes(books.billing, changing),
            prices.routes(books.prices, self._catalogue, changing),
            drains.routes(draining, changing),
            audit.routes(trail),
            findings.routes(books.findings),
            decisions.routes(self._router),
            discovery.routes(self._router),
            reputations.routes(self._router),
        ]

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        await self._books.open()
        await self._nodes.look_for_drained()
        self._nodes.take(self.config.node)
        await self._keyring.reload()
        await self._prices.reload()
        await self._reputations.sync()
        async with asyncio.TaskGroup() as tasks:
            going_on = [
                self._watch.sweep(),
                self._reload(),
                self._prices.keep_current(),
                watch_balances(self._books.customers),
                self._honesty.run(),
                self._reputations.run(),
                self._background.look(),
                self._tool_checks.run(),
                self._batches.run(),
                *self._observers.running(),
                *self._books.running(),
            ]
            if self._worker == 0:
                going_on.append(self._batches.keep_files())
                going_on += canaries.running(
                    self.config, self._router, self._upstream, self._telemetry.canary
                )
            parts = (self._router, self._upstream, self._listed, self._books.ledger_name)
            going_on += news(self.config, *parts)
            if self.config.ray is not None:
                going_on.append(self._nodes.follow(self.config.ray, self.admission.waking.saw))
            if self._enrolled is not None:
                going_on.append(self._enrolled.roll.follow(self._nodes.take_enrolled))
                going_on += [self._enrolled.attendance.run()] if self._worker == 0 else []
            running = [tasks.create_task(each) for each in going_on]
            await self._books.shared()
            yield
            for task in running:
                task.cancel()
        await self._background.close()
        self.admission.waking.close()
        self._watch.cut()
        self._upstream.close()
        await asyncio.to_thread(self._honesty.close)
        await self._reputations.sync(with_served=True)
        await asyncio.to_thread(self._batches.close)
        await self._books.close()
        await self._observers.close()

    async def _reload(self) -> None:
        seen: object = None
        while True:
            await self._changed.wait()
            self._changed.clear()
            await until_answered(self._keyring.reload)
            keys = self._keyring.keys
            if keys is not seen:
                await until_answered(self._nodes.look_for_drained)
                seen = keys
