"""`/console`: the operator's pages. Each is made of what the rooms say at that moment."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway import errors
from gateway.audit.trail import AuditQuery, AuditTrail
from gateway.console.acting import Acting
from gateway.console.actions import actions
from gateway.console.gate import Gate
from gateway.console.money import budgets, customer_page
from gateway.console.network import Observatory
from gateway.console.node_lines import NodeLine, node_lines
from gateway.console.pages import Pages
from gateway.console.parts import Parts
from gateway.console.sessions import Session
from gateway.console.sightings import Sightings, sight
from gateway.console.traffic import traffic_of
from gateway.console.views import Readers, Routes
from gateway.routes.admin.decisions import decision_json
from gateway.settlement.settler import LEASE
from ide.commitment import head_of
from ide.epoch import EpochReport
from ide.settlement import stored_result
from metering.accounts import AccountError
from metering.lease import lease_row

_ROWS = 100
_FINDINGS = 25
_DECISIONS = 50
_EPOCHS_JUDGED = 20


class Operator:
    def __init__(
        self,
        parts: Parts,
        pages: Pages,
        read: Readers,
        observatory: Observatory,
        gate: Gate,
        trail: AuditTrail,
    ) -> None:
        self._parts = parts
        self._pages = pages
        self._read = read
        self._observatory = observatory
        self._gate = gate
        self._trail = trail
        self._acting = Acting(actions(parts), trail, pages, read)

    @property
    def routes(self) -> Routes:
        shown, posted = self._gate.shown, self._gate.posted
        views = {
            "": self._traffic,
            "/nodes": self._nodes,
            "/nodes/{node_id:path}": self._node,
            "/decisions": self._decisions,
            "/decisions/{request_id}": self._decision,
            "/customers": self._customers,
            "/customers/{account}": self._customer,
            "/keys": self._keys,
            "/budgets": self._budgets,
            "/epochs": self._epochs,
            "/proposals": self._proposals,
            "/audit": self._audit,
            "/act/{action}/{subject:path}": self._acting.ask,
        }
        return [
            *(("GET", f"/console{path}", shown(view)) for path, view in views.items()),
            ("POST", "/console/act/{action}/{subject:path}", posted(self._acting.act)),
        ]

    def _page(self, page: str, here: str, session: Session, **more: Any) -> Response:
        return self._pages.render(page, area="console", here=here, session=session, **more)

    async def _traffic(self, _: Request, session: Session) -> Response:
        sightings = await sight(self._parts)
        cards = await self._parts.telemetry.cards()

        def page() -> Response:
            traffic = traffic_of(sightings, cards, self._parts.catalogue)
            totals = self._observatory.totals()
            drained = self._parts.books.drains.load().models
            shown = {"traffic": traffic, "totals": totals, "drained": drained}
            return self._page("traffic", "traffic", session, **shown)

        return await self._read(page)

    async def _nodes(self, _: Request, session: Session) -> Response:
        sightings = await sight(self._parts)
        return await self._read(
            lambda: self._page("nodes", "nodes", session, lines=self._lines(sightings))
        )

    async def _node(self, request: Request, session: Session) -> Response:
        node_id = request.path_params["node_id"]
        sightings, conducts = await sight(self._parts), self._parts.router.conducts
        conduct = conducts.known(node_id)
        judgement = None if conduct is None else conducts.judge(conduct, sightings.monotonic_ns)

        def page() -> Response:
            lines = [line for line in self._lines(sightings) if line.node_id == node_id]
            if not lines:
                raise errors.not_found(f"There is no node '{node_id[:100]}'.")
            books = self._parts.books
            return self._page(
                "node",
                "nodes",
                session,
                line=lines[0],
                judgement=judgement,
                findings=books.findings.newest(node_id=node_id, limit=_FINDINGS),
                audit=books.nodes.audit(node_id=node_id, limit=_FINDINGS),
            )

        return await self._read(page)

    def _lines(self, sightings: Sightings) -> list[NodeLine]:
        books = self._parts.books
        enrolled = self._observatory.enrolled()
        return node_lines(
            self._observatory.members(sightings, enrolled),
            enrolled,
            sightings,
            findings=books.findings.counts(),
            waits=self._observatory.waits_by_node(),
            drained=books.drains.load().nodes,
            now_ns=time.time_ns(),
        )

    async def _decisions(self, _: Request, session: Session) -> Response:
        log = self._parts.router.log
        found = [] if log is None else log.latest(_DECISIONS)
        now_ns = time.monotonic_ns()
        lines = [(decision, now_ns - decision.ask.now_ns) for decision in found]
        return await self._read(
            lambda: self._page("decisions", "decisions", session, lines=lines, kept=log is not None)
        )

    async def _decision(self, request: Request, session: Session) -> Response:
        request_id, router = request.path_params["request_id"], self._parts.router
        found = [] if router.log is None else router.log.of(request_id)
        if not found:
            raise errors.not_found(f"No decision for '{request_id[:100]}' is kept by this process.")

        def page() -> Response:
            told = [decision_json(router, decision) for decision in found]
            return self._page(
                "decision", "decisions", session, request_id=request_id, decisions=told
            )

        return await self._read(page)

    async def _customers(self, request: Request, session: Session) -> Response:
        after = request.query_params.get("after")

        def page() -> Response:
            found = self._parts.books.customers.page(after=after, limit=_ROWS + 1)
            more = found[_ROWS - 1].account if len(found) > _ROWS else None
            customers = found[:_ROWS]
            return self._page("customers", "customers", session, customers=customers, more=more)

        return await self._read(page)

    async def _customer(self, request: Request, session: Session) -> Response:
        account = request.path_params["account"]

        def page() -> Response:
            try:
                shown = customer_page(self._parts.books, account, time.time_ns())
            except AccountError:
                shown = None
            if shown is None:
                raise errors.not_found(f"There is no account '{account[:100]}'.")
            return self._page("customer", "customers", session, **shown)

        return await self._read(page)

    async def _keys(self, request: Request, session: Session) -> Response:
        after = request.query_params.get("after")

        def page() -> Response:
            found = self._parts.books.keys.page(after_key_id=after, limit=_ROWS + 1)
            more = found[_ROWS - 1].key_id if len(found) > _ROWS else None
            return self._page("keys", "keys", session, keys=found[:_ROWS], more=more)

        return await self._read(page)

    async def _budgets(self, _: Request, session: Session) -> Response:
        return await self._read(
            lambda: self._page(
                "budgets", "budgets", session, **budgets(self._parts.books, time.time_ns())
            )
        )

    async def _epochs(self, request: Request, session: Session) -> Response:
        def page() -> Response:
            books = self._parts.books
            return self._page(
                "operator_epochs",
                "epochs",
                session,
                epochs=[head_of(seal) for seal in books.epochs.newest(before=None, limit=_ROWS)],
                leader=lease_row(books.reports, LEASE),
                automatic=self._parts.config.settlement.automatic,
            )

        return await self._read(page)

    async def _proposals(self, _: Request, session: Session) -> Response:
        def page() -> Response:
            return self._page("proposals", "proposals", session, reports=self._reports())

        return await self._read(page)

    def _reports(self) -> list[EpochReport]:
        """The last epochs, the newest first."""
        ledger = self._parts.books.admin_ledger
        last = ledger.latest_epoch()
        if last is None:
            return []
        numbers = range(last.epoch, max(0, last.epoch - _EPOCHS_JUDGED), -1)
        rows = [last, *(ledger.epoch(number) for number in numbers[1:])]
        return [stored_result(row).report for row in rows if row is not None]

    async def _audit(self, request: Request, session: Session) -> Response:
        query = request.query_params
        before = query.get("before", "")
        before_seq = int(before) if before.isdecimal() else None

        def page() -> Response:
            asked = AuditQuery(
                action=query.get("action") or None,
                subject=query.get("subject") or None,
                before=before_seq,
                limit=_ROWS + 1,
            )
            found = self._trail.newest(asked)
            more = found[_ROWS - 1][0] if len(found) > _ROWS else None
            return self._page(
                "audit", "audit", session, lines=found[:_ROWS], more=more, asked=asked
            )

        return await self._read(page)
