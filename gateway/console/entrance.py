"""Where the web pages begin. What they are made of is loaded when somebody opens the first one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.admission.catalogue import Catalogue
from gateway.admission.keyring import Keyring
from gateway.books import Books
from gateway.config import Config
from gateway.console.parts import Parts
from gateway.draining import Draining
from gateway.home import Home
from gateway.telemetry.telemetry import Telemetry
from router.router import Router

if TYPE_CHECKING:
    from gateway.console.console import Console

PATHS = (
    "/",
    "/explorer",
    "/explorer/{rest:path}",
    "/static/{rest:path}",
    "/playground",
    "/console",
    "/console/{rest:path}",
)


def routes(
    home: Home,
    config: Config,
    books: Books,
    catalogue: Catalogue,
    keyring: Keyring,
    router: Router,
    draining: Draining,
    telemetry: Telemetry,
) -> APIRouter:
    """They know no more of the pages than how their paths begin."""
    parts = Parts(
        home=home,
        config=config,
        books=books,
        catalogue=catalogue,
        keyring=keyring,
        router=router,
        draining=draining,
        telemetry=telemetry,
    )
    api, entrance = APIRouter(), _Entrance(parts)
    for path in PATHS:
        api.routes.append(Route(path, _Behind(entrance.open), include_in_schema=False))
    return api


class _Entrance:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._opening: asyncio.Task[Console] | None = None

    async def open(self) -> Console:
        """In a thread: streams go on meanwhile."""
        if self._opening is None:
            self._opening = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(self._opening)

    def _load(self) -> Console:
        from gateway.console.console import Console  # here, because few open a page

        return Console(self._parts)


class _Behind:
    """An ASGI application; Starlette takes it for one because it is no function."""

    def __init__(self, open: Callable[[], Awaitable[Console]]) -> None:
        self._open = open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        console = await self._open()
        await console.app(scope, receive, send)
