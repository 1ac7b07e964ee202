"""Who looks on as requests are served: metrics, the access log, traces."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from gateway.books import Books
from gateway.config import Config
from gateway.exchange.exchange import Exchange
from gateway.home import Home
from gateway.logs.access import AccessLog
from gateway.telemetry.report_files import ReportFiles
from gateway.telemetry.telemetry import Telemetry
from gateway.traces.start import traces_of
from router.router import Router


class Observers:
    """Raises ConfigError."""

    def __init__(
        self,
        home: Home,
        config: Config,
        *,
        books: Books,
        router: Router,
        open_exchanges: Callable[[], int],
        draining: Callable[[], bool],
        worker: int,
        run: str,
    ) -> None:
        workers, one_in = config.server.workers, config.log.access_one_in
        files = None
        if workers > 1:
            files = ReportFiles(home, run=run, worker=worker, workers=workers)
        self._access = AccessLog(one_in) if one_in else None
        self._traces = traces_of(
            config.traces, books.till, books.writer, lambda: self.telemetry.counts
        )
        self.telemetry = Telemetry(
            router,
            books.till,
            open_exchanges,
            files,
            draining=draining,
            more=books.figures,
            also_refused=None if self._access is None else self._access.refused,
        )

    def ended(self) -> list[Callable[[Exchange], None]]:
        """Who wants to hear of every exchange that ended."""
        rest = [each.ended for each in (self._access, self._traces) if each is not None]
        return [self.telemetry.finished, *rest]

    def running(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on beside the requests, until it is cancelled."""
        tasks = [self.telemetry.keep_published()]
        if self._traces is not None:
            tasks += [self._traces.run(), self._traces.metrics.run()]
        return tasks

    async def close(self) -> None:
        """Nothing is under way any more, and the books are closed."""
        await self.telemetry.publish()
        if self._traces is not None:
            await self._traces.close()
