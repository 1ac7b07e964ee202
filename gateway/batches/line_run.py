"""One line: asked in the name of the batch's key until it has an answer for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway import errors
from gateway.admission.keyring import Keyring
from gateway.batches import line as lines
from gateway.batches.batch import Batch
from gateway.batches.gate import Gate
from gateway.batches.line import Request
from gateway.batches.line_store import Line
from gateway.batches.line_writer import LineWriter
from gateway.drivers.desk import DeskOf
from gateway.drivers.held import HeldDriver
from gateway.errors import ApiError
from gateway.exchange.actions import Respond
from gateway.openai.request import ENDPOINT_OF_PATH
from metering.charge import ChargeOutcome
from metering.keys import ApiKey

FAILURES_MAX = 3
"""Tries that a node took up and failed; each is up to three nodes."""
WAIT_FIRST_S = 1.0
WAIT_MAX_S = 60.0

_FAILED = frozenset({ChargeOutcome.NODE_ERROR, ChargeOutcome.TIMED_OUT, ChargeOutcome.NODE_BROKEN})


class Means:
    """What all lines need."""

    def __init__(
        self,
        desk: DeskOf[HeldDriver],
        gate: Gate,
        writer: LineWriter,
        keyring: Keyring,
        now_ns: Callable[[], int],
    ) -> None:
        self.desk = desk
        self.gate = gate
        self.writer = writer
        self.keyring = keyring
        self.now_ns = now_ns


class LineRun:
    """`pause` is told for how many seconds the batch should start nothing."""

    def __init__(
        self,
        means: Means,
        batch: Batch,
        number: int,
        request: Request,
        model: str,
        stopping: asyncio.Event,
        pause: Callable[[float], None],
    ) -> None:
        self._means = means
        self._batch = batch
        self._number = number
        self._request = request
        self._model = model
        self._stopping = stopping
        self._pause = pause
        self._driver: HeldDriver | None = None
        self._failures = 0
        self._waits = 0

    async def run(self) -> None:
        """To its answer, or until it is stopped. Raises LeaseLostError."""
        while not self._stopping.is_set():
            try:
                wait_s = await self._try()
            except ApiError as error:
                wait_s = _wait_s(error)
                if wait_s is None:
                    await self._fail(error.status, error.body())
            if wait_s is None:
                return
            self._pause(wait_s)
            try:
                async with asyncio.timeout(wait_s):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Leave the node, unless its answer is whole."""
        if self._driver is not None and not self._driver.is_offered:
            self._driver.leave()

    async def _try(self) -> float | None:
        """None: it is over; else the seconds until the next try. Raises ApiError: not admitted."""
        means, batch = self._means, self._batch
        turn = await means.gate.enter(self._model, self._stopping)
        if turn is None:
            return None
        try:
            key = self._key()
            asked = means.desk.ask(
                key,
                ENDPOINT_OF_PATH[batch.endpoint],
                bytes(self._request.body),
                lines.request_id(batch.batch_id, self._number),
            )
            async with asked as driver:
                self._driver = driver
                offered = await driver.offered()
                turn.leave()
                if offered is None:
                    return await self._refused(driver)
                return await self._take(driver, offered)
        finally:
            self._driver = None
            turn.leave()

    def _key(self) -> ApiKey:
        """Raises ApiError: a batch does not outlive its key."""
        key = self._means.keyring.by_id(self._batch.key_id)
        if key is None or key.revoked_ns is not None:
            raise errors.bad_key()
        if key.expires_ns is not None and key.expires_ns <= self._means.now_ns():
            raise errors.key_expired(key.key_id, key.expires_ns)
        return key

    async def _take(self, driver: HeldDriver, offered: Respond) -> float | None:
        """First the answer is kept, then it is charged."""
        batch, number = self._batch, self._number
        body = offered.body or b""
        kept = await self._means.writer.keep(
            Line(
                batch_id=batch.batch_id,
                number=number,
                charge_id=driver.exchange.charge.charge_id,
                output=lines.answered(
                    batch.batch_id, number, self._request.custom_id, offered.status, body
                ),
                usage=driver.exchange.usage,
            )
        )
        if not kept:
            return None
        driver.take()
        told = await driver.answered()
        if told is not None and told.status == offered.status:
            self._means.writer.done(batch.batch_id, number)
        return None

    async def _refused(self, driver: HeldDriver) -> float | None:
        answer = await driver.answered()
        if answer is None or self._stopping.is_set():
            return None
        if driver.exchange.outcome in _FAILED:
            self._failures += 1
            if self._failures < FAILURES_MAX:
                return self._backoff_s()
        elif answer.status == 429:
            return self._backoff_s()
        await self._fail(answer.status, answer.body or b"")
        return None

    def _backoff_s(self) -> float:
        self._waits += 1
        return min(WAIT_FIRST_S * float(2 ** (self._waits - 1)), WAIT_MAX_S)

    async def _fail(self, status: int, body: bytes) -> None:
        batch, number = self._batch, self._number
        output = lines.answered(batch.batch_id, number, self._request.custom_id, status, body)
        await self._means.writer.keep(
            Line(batch_id=batch.batch_id, number=number, charge_id=None, output=output)
        )


def _wait_s(error: ApiError) -> float | None:
    """Until what was not admitted may be; None: never, or not for a long time."""
    if error.status != 429 or error.retry_is_useless:
        return None
    return max(float(error.retry_after_s or 0), WAIT_FIRST_S)
