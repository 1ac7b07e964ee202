"""`/playground`: chat with any model, with one's own key, which the page keeps in memory alone.

It asks the API as any other client would. Which node answered is the operator's to see: the page
asks for it where who opened it is logged in to the console too.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway import errors
from gateway.console.gate import Gate
from gateway.console.pages import HEADERS, Pages
from gateway.console.sessions import Session
from gateway.console.views import Readers, Routes
from metering.database import Database
from metering.served_totals import ServedTotals

_REQUEST_ID = re.compile(r"[\w-]{1,100}", re.ASCII)


class Playground:
    def __init__(self, pages: Pages, read: Readers, gate: Gate, database: Database) -> None:
        self._pages = pages
        self._read = read
        self._gate = gate
        self._served = ServedTotals(database)

    @property
    def routes(self) -> Routes:
        return [
            ("GET", "/playground", self._show),
            ("GET", "/console/served/{request_id}", self._gate.shown(self._node)),
        ]

    async def _show(self, _: Request) -> Response:
        return await self._read(lambda: self._pages.render("playground", area="playground"))

    async def _node(self, request: Request, _: Session) -> Response:
        """Who served a request, once it is in the ledger."""
        request_id = request.path_params["request_id"]
        node_id = None
        if _REQUEST_ID.fullmatch(request_id):
            node_id = await self._read(lambda: self._served.node_of(request_id))
        if node_id is None:
            raise errors.not_found("No such request is in the ledger yet.")
        return JSONResponse({"node": node_id}, headers=HEADERS)
