"""The web pages of one gateway process, all of them together. Loaded with the first one opened."""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from gateway import errors
from gateway.audit.trail import AuditTrail
from gateway.console.explorer import Explorer
from gateway.console.gate import Gate
from gateway.console.login_pace import LoginPace
from gateway.console.network import Observatory
from gateway.console.operator import Operator
from gateway.console.pages import Pages
from gateway.console.parts import Parts
from gateway.console.playground import Playground
from gateway.console.sessions import Sessions
from gateway.console.views import Readers, Routes, View
from gateway.errors import ApiError
from gateway.routes.refusals import REFUSALS

log = logging.getLogger("tollgate")

READERS = 2
"""Threads for what anyone may open, and as many for the operator: neither waits for the other."""


class Console:
    """`app` serves every path of `entrance.PATHS`."""

    def __init__(self, parts: Parts) -> None:
        self._pages = Pages(explorer=parts.config.console.explorer)
        observatory = Observatory(parts)
        for_anyone, for_operators = Readers("pages", READERS), Readers("console", READERS)
        routes: Routes = [("GET", "/static/{name}", self._static), ("GET", "/", self._begin)]
        if parts.config.console.explorer:
            routes += Explorer(parts, self._pages, for_anyone, observatory).routes
        sessions = Sessions(parts.books.reports, parts.config.admin.key(parts.home))
        trail = AuditTrail(parts.books.reports)
        pace = LoginPace(parts.books.reports)
        gate = Gate(sessions, pace, trail, self._pages, for_operators)
        playground = Playground(self._pages, for_anyone, gate, parts.books.reports)
        operator = Operator(parts, self._pages, for_operators, observatory, gate, trail)
        routes += [*gate.routes, *playground.routes, *operator.routes]
        self.app = Router(
            [Route(path, self._told(view), methods=[method]) for method, path, view in routes],
            redirect_slashes=False,
            default=self._nothing,
        )

    def _told(self, view: View) -> View:
        """What goes wrong is a page too."""

        async def told(request: Request) -> Response:
            try:
                return await view(request)
            except ApiError as error:
                return self._failed(error)
            except tuple(REFUSALS) as error:
                say = next(say for kind, say in REFUSALS.items() if isinstance(error, kind))
                return self._failed(say(error))

        return told

    def _failed(self, error: ApiError) -> Response:
        response = self._pages.render("error", error.status, message=error.message, area="")
        for name, value in error.headers():
            response.headers[name.decode()] = value.decode()
        return response

    async def _nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = errors.unknown_route(scope["method"], scope["path"])
        await self._failed(error)(scope, receive, send)

    async def _static(self, request: Request) -> Response:
        found = self._pages.static(request.path_params["name"])
        if found is None:
            raise errors.unknown_route(request.method, request.url.path)
        return found

    async def _begin(self, _: Request) -> Response:
        return self._pages.see_other(self._pages.first)
