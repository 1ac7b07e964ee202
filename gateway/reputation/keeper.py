"""Keeps reputations up to now, and one for all gateways: a row a node in the ledger's database.

What this process saw is added to the row as it was read, and written if nobody else wrote it in
the meantime; else it is read again first. So each piece of evidence is in it once, whoever saw it,
and a start begins with all of it. What was only served well waits longer: a crash forgets that, and
no lie.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from metering.ledger import LedgerError
from metering.reputation_store import Remembered, ReputationStore
from router.conduct import Conduct
from router.reputation import Evidence, Memory, after, faded
from router.router import Router

log = logging.getLogger("tollgate")

REFRESH_S = 10.0
SERVED_S = 600.0
"""How often what was only served well is written."""
AT_ONCE = 100
"""Nodes that are worked out before the event loop has another turn: a few ms."""
_OVERLAP_NS = 60 * 10**9
"""Clocks of gateways may differ by so much."""
_FORGOTTEN = 16
"""Half-lives after which nothing is left."""
_KINDS = {str(kind): kind for kind in Evidence}


class Keeper:
    """Lives on the event loop, but for the database."""

    def __init__(
        self,
        router: Router,
        store: ReputationStore,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._router = router
        self._store = store
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._half_life_ns = router.conducts.terms.half_life_ns
        self._rows: dict[str, Remembered] = {}
        """As they were read or written last."""
        self._read_ns = 0
        self._served_ns = monotonic_ns()

    async def run(self) -> None:
        """For the gateway's lifetime."""
        while True:
            await asyncio.sleep(REFRESH_S)
            late = self._monotonic_ns() - self._served_ns >= SERVED_S * 1e9
            await self.sync(with_served=late)

    async def sync(self, *, with_served: bool = False) -> None:
        """Take over what others wrote, write what was seen here, and let time forgive."""
        try:
            await self._read()
            await self._write(with_served=with_served)
        except LedgerError as error:
            log.warning("reputations are this process's own until the ledger answers: %s", error)
        if with_served:
            self._served_ns = self._monotonic_ns()
            self._forget()
        self._router.refresh_reputations(self._monotonic_ns())

    async def _read(self) -> None:
        oldest_ns = self._wall_ns() - _FORGOTTEN * self._half_life_ns
        since_ns = max(self._read_ns - _OVERLAP_NS, oldest_ns)
        read_ns = self._wall_ns()
        for row in await asyncio.to_thread(self._store.since, since_ns):
            known = self._rows.get(row.node_id)
            if known is None or known.version < row.version:
                self._take(row)
        self._read_ns = read_ns

    def _take(self, row: Remembered) -> None:
        self._rows[row.node_id] = row
        conducts = self._router.conducts
        conduct = conducts.known(row.node_id) or conducts.of(row.node_id, row.supplier_id)
        if conduct.supplier_id == row.supplier_id:
            conduct.replace(self._left_of(row), self._monotonic_ns())

    def _left_of(self, row: Remembered) -> Memory:
        known = {_KINDS[kind]: value for kind, value in row.memory.items() if kind in _KINDS}
        return faded(known, self._wall_ns() - row.as_of_ns, self._half_life_ns)

    async def _write(self, *, with_served: bool) -> None:
        due = [each for each in self._router.conducts.all() if each.has_news or with_served]
        for start in range(0, len(due), AT_ONCE):
            await self._write_some(due[start : start + AT_ONCE])

    async def _write_some(self, due: Sequence[Conduct]) -> None:
        now_ns = self._monotonic_ns()
        told: list[tuple[Conduct, dict[Evidence, int], Remembered]] = []
        for conduct in due:
            pieces = conduct.fresh(now_ns)
            if pieces:
                told.append((conduct, pieces, self._row(conduct, pieces)))
        rows = [row for _, _, row in told]
        written = await asyncio.to_thread(self._put, rows) if rows else []
        for (conduct, pieces, row), good in zip(told, written, strict=True):
            if good:
                conduct.handed_on(pieces)
                self._rows[row.node_id] = msgspec.structs.replace(row, version=row.version + 1)

    def _row(self, conduct: Conduct, pieces: dict[Evidence, int]) -> Remembered:
        before = self._rows.get(conduct.node_id)
        left: Memory = {}
        if before is not None and before.supplier_id == conduct.supplier_id:
            left = self._left_of(before)
        memory = {str(kind): round(value, 4) for kind, value in after(left, pieces).items()}
        return Remembered(
            node_id=conduct.node_id,
            supplier_id=conduct.supplier_id,
            memory=memory,
            as_of_ns=self._wall_ns(),
            version=0 if before is None else before.version,
        )

    def _put(self, rows: Sequence[Remembered]) -> list[bool]:
        self._store.forget(self._wall_ns() - _FORGOTTEN * self._half_life_ns)
        return [self._store.put(row) for row in rows]

    def _forget(self) -> None:
        """Nodes that are gone, and of which nothing is left to remember."""
        now_ns = self._monotonic_ns()
        listed = {view.node.node_id for view in self._router.nodes(now_ns)}
        for conduct in self._router.conducts.all():
            if conduct.node_id not in listed and not conduct.memory(now_ns):
                self._router.conducts.forget(conduct.node_id)
                self._rows.pop(conduct.node_id, None)
