"""Responses that are made while nobody waits, and those who follow one.

The row in the database says what becomes of it: whoever wants it no more ends the row, on whichever
gateway, and the one that makes it sees that within a second. One whose gateway is silent for a
minute has failed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import msgspec

from gateway.drivers.coroutine import CoroutineDriver
from gateway.drivers.desk import Desk
from gateway.errors import ApiError
from gateway.openai.request import Endpoint
from gateway.patience import until_answered
from gateway.responses.answer import cancelled, failed
from gateway.responses.making import Making
from gateway.responses.shelf import Shelf, answer_of
from metering.keys import ApiKey
from metering.ledger import LedgerError
from metering.stored_response import StoredResponse

log = logging.getLogger("tollgate")

LOOK_INTERVAL_S = 1.0
ALIVE_LOOKS = 10
"""Every so many looks the database is told that all of them are being made."""
LOST_NS = 60 * 10**9
CLOSE_S = 5.0
EVENTS_BYTES_MAX = 8 * 1024 * 1024
"""Of one stream: nobody can follow it from then on."""

STOPPED = "The gateway was stopped before the response was complete. What it says stands."
LOST = "The gateway that made the response is gone. Please send the request again."


class Run:
    """A response that is being made here."""

    def __init__(self, making: Making) -> None:
        self.making = making
        self.queued = making.stream.response
        self.driver: CoroutineDriver | None = None
        self.followed = making.asked.stream is True
        """Its events are there to be streamed, from the first on."""
        self.over = False
        self._events: list[bytes] = []
        self._events_bytes = 0
        self._news = asyncio.Event()

    def add(self, events: bytes) -> None:
        if self.followed and events:
            self._events.append(events)
            self._events_bytes += len(events)
            self.followed = self._events_bytes <= EVENTS_BYTES_MAX
            self._tell()

    def end(self) -> None:
        self.over = True
        self._tell()

    def leave(self) -> None:
        if self.driver is not None:
            self.driver.leave()

    def events(self, last: bytes) -> str:
        """All there were, and this one; none if they are too many."""
        return b"".join((*self._events, last)).decode() if self.followed else ""

    async def follow(self) -> AsyncIterator[bytes]:
        """All events from the first on, as they come, to the end or to where they are too many."""
        told = 0
        while self.followed:
            for events in self._events[told:]:
                yield events
                told += 1
            if self.over and told == len(self._events):
                return
            if told == len(self._events):
                await self._news.wait()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Background:
    def __init__(self, desk: Desk, shelf: Shelf) -> None:
        self._desk = desk
        self._shelf = shelf
        self._store = shelf.store
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def running(self, response_id: str) -> Run | None:
        """None: it is not made here, or not any more."""
        return self._runs.get(response_id)

    async def start(self, making: Making, key: ApiKey, request_id: str) -> Run:
        """Raises ApiError if it is not admitted, and LedgerError if it cannot be kept."""
        run = Run(making)
        queued = making.record("" if run.followed else None)
        record = _become(queued, run.queued | {"status": "in_progress"})
        await asyncio.to_thread(self._store.add, record)
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._make(run, key, request_id, admitted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(admitted)
        except ApiError:
            await asyncio.to_thread(self._store.delete, record.account, record.response_id)
            raise
        return run

    async def cancel(self, kept: StoredResponse) -> StoredResponse:
        """What it is then: cancelled, unless it had ended before."""
        ended = _become(kept, cancelled(answer_of(kept)))
        if await asyncio.to_thread(self._store.finish, ended):
            self.leave(kept.response_id)
        return await self._shelf.get(kept.account, kept.response_id)

    def leave(self, response_id: str) -> None:
        """Nobody waits for it any more. If it is made elsewhere, that is seen there."""
        run = self.running(response_id)
        if run is not None:
            run.leave()

    async def look(self) -> None:
        """Leave what nobody waits for. Runs for the gateway's lifetime."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            looks += 1
            if not self._runs:
                continue
            known = list(self._runs)
            try:
                if looks % ALIVE_LOOKS:
                    wanted = await asyncio.to_thread(self._store.under_way, known)
                else:
                    now_ns = time.time_ns()
                    wanted = await asyncio.to_thread(self._store.keep_alive, known, now_ns)
            except LedgerError as error:
                log.warning("who still waits for a background response is not known: %s", error)
                continue
            for response_id in set(known) - wanted:
                self.leave(response_id)

    async def close(self) -> None:
        """What is not complete has failed; what was generated is charged."""
        for run in list(self._runs.values()):
            run.leave()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()

    async def _make(
        self, run: Run, key: ApiKey, request_id: str, admitted: asyncio.Future[None]
    ) -> None:
        making = run.making
        response_id = making.stream.response["id"]
        try:
            async with self._desk.ask(key, Endpoint.CHAT, making.body, request_id) as driver:
                run.driver = driver
                self._runs[response_id] = run
                admitted.set_result(None)
                await _listen(run, driver)
            await self._finish(run)
        except ApiError as error:
            admitted.set_exception(error)
        finally:
            if not admitted.done():
                admitted.cancel()
            self._runs.pop(response_id, None)
            run.end()

    async def _finish(self, run: Run) -> None:
        making = run.making
        run.add(making.stream.end(int(time.time())))
        last = making.stream.last()
        record = making.record(run.events(last) if making.asked.stream else None)
        if await until_answered(lambda: asyncio.to_thread(self._store.finish, record)):
            run.add(last)


async def _listen(run: Run, driver: CoroutineDriver) -> None:
    """Take in the answer to its end."""
    stream = run.making.stream
    run.add(stream.begin())
    answer = await driver.answered()
    if answer is not None and answer.body is not None:
        error = msgspec.json.decode(answer.body)["error"]
        code = "invalid_prompt" if answer.status == 400 else error["type"]
        run.add(stream.fail(error["message"], code))
        return
    async for data in driver.chunks():
        run.add(stream.feed(data))
    if not driver.whole:
        run.add(stream.fail(STOPPED))


def lost(kept: StoredResponse) -> StoredResponse:
    """How one ends whose gateway is gone."""
    return _become(kept, failed(answer_of(kept), LOST))


def _become(kept: StoredResponse, response: dict[str, object]) -> StoredResponse:
    text = msgspec.json.encode(response).decode()
    return msgspec.structs.replace(kept, status=str(response["status"]), response=text)
