"""Requests with an Idempotency-Key: answered once, charged once, and told again for a day.

Such a request runs to its end even if its client leaves, for the client that lost its connection
will ask again. What leaves last (a whole answer, `[DONE]`) leaves when the answer is kept. One that
cost nothing is not kept: the next try is a new one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
import zlib
from collections.abc import Callable

from gateway import errors
from gateway.drivers.coroutine import CoroutineDriver
from gateway.drivers.desk import Desk
from gateway.errors import ApiError
from gateway.exchange.actions import Respond
from gateway.exchange.answers import DONE_LINE, KEEP_ALIVE
from gateway.openai.request import Endpoint
from metering.answer_store import AnswerStore, Claim, ClaimState, KeptAnswer
from metering.charge import ChargeOutcome
from metering.keys import ApiKey
from metering.ledger import LedgerError

log = logging.getLogger("tollgate")

_NAME = re.compile(r"[!-~]{1,255}")


class Listener:
    """Whom an answer is told to, as long as it is there."""

    async def head(self, answer: Respond, request_id: str) -> None:
        raise NotImplementedError

    async def part(self, data: bytes, *, last: bool) -> None:
        raise NotImplementedError


class Once:
    def __init__(self, desk: Desk, store: AnswerStore, writer: str) -> None:
        self._desk = desk
        self._store = store
        self._writer = writer
        self._running: set[asyncio.Task[None]] = set()

    async def answer(
        self,
        name: bytes,
        key: ApiKey,
        endpoint: Endpoint,
        body: bytes,
        request_id: str,
        listener: Listener,
    ) -> None:
        """`name` is the header's value. Raises ApiError as long as nothing was told."""
        place = key.account, _checked(name)
        fingerprint = hashlib.sha256(endpoint.value.encode() + b"\0" + body).digest()
        try:
            claim = await asyncio.to_thread(
                self._store.claim, *place, fingerprint, self._writer, time.time_ns()
            )
        except LedgerError:
            raise errors.limits_unknown() from None
        if claim.answer is not None:
            await _tell_again(claim.answer, listener)
            return
        if claim.state is not ClaimState.CLAIMED:
            raise _refusal(claim)
        run = asyncio.get_running_loop().create_task(
            self._run(place, key, endpoint, body, request_id, listener)
        )
        self._running.add(run)
        run.add_done_callback(self._ended)
        await asyncio.shield(run)

    def _ended(self, run: asyncio.Task[None]) -> None:
        self._running.discard(run)
        if not run.cancelled():
            run.exception()  # who waits for it hears of it; if nobody does, nobody need

    async def _run(
        self,
        place: tuple[str, str],
        key: ApiKey,
        endpoint: Endpoint,
        body: bytes,
        request_id: str,
        listener: Listener,
    ) -> None:
        kept = False
        try:
            async with self._desk.ask(key, endpoint, body, request_id) as driver:
                answer = await driver.answered()
                if answer is None:
                    return
                if answer.body is None:
                    kept = await self._stream(place, answer, driver, listener)
                else:
                    kept = await self._whole(place, answer, driver, listener)
        finally:
            if not kept:
                await self._in_store(lambda: self._store.release(*place))

    async def _whole(
        self, place: tuple[str, str], answer: Respond, driver: CoroutineDriver, listener: Listener
    ) -> bool:
        assert answer.body is not None
        paid = driver.exchange.outcome is ChargeOutcome.COMPLETED
        if paid:
            await self._keep(place, answer, driver, zlib.compress(answer.body, 1))
        await listener.head(answer, driver.exchange.charge.request_id)
        await listener.part(answer.body, last=True)
        return paid

    async def _stream(
        self, place: tuple[str, str], answer: Respond, driver: CoroutineDriver, listener: Listener
    ) -> bool:
        packer, packed = zlib.compressobj(1), bytearray()
        await listener.head(answer, driver.exchange.charge.request_id)
        ended = False
        async for chunk in driver.chunks():
            ended = chunk == DONE_LINE
            if chunk != KEEP_ALIVE.data:
                packed += packer.compress(chunk)
            if not ended:
                await listener.part(chunk, last=False)
        paid = ended and driver.exchange.outcome is ChargeOutcome.COMPLETED
        if paid:
            await self._keep(place, answer, driver, bytes(packed + packer.flush()))
        await listener.part(DONE_LINE if ended else b"", last=True)
        return paid

    async def _keep(
        self, place: tuple[str, str], answer: Respond, driver: CoroutineDriver, packed: bytes
    ) -> None:
        kept = KeptAnswer(
            request_id=driver.exchange.charge.request_id,
            content_type=answer.content_type.decode(),
            body=packed,
        )
        await self._in_store(lambda: self._store.keep(*place, kept))

    async def _in_store(self, work: Callable[[], None]) -> None:
        """A claim that cannot be resolved now stands, and with it the 409, until it is void."""
        try:
            await asyncio.to_thread(work)
        except LedgerError as error:
            log.warning("an answer under an Idempotency-Key is not kept: %s", error)


def _checked(name: bytes) -> str:
    text = name.decode("latin-1")
    if not _NAME.fullmatch(text):
        raise errors.bad_request(
            "The header Idempotency-Key must be 1 to 255 printable ASCII characters, no spaces.",
            code="invalid_idempotency_key",
        )
    return text


def _refusal(claim: Claim) -> ApiError:
    message, code = {
        ClaimState.RUNNING: (
            "A request with this Idempotency-Key is under way. Ask again for its answer.",
            "idempotency_key_in_use",
        ),
        ClaimState.OTHER_BODY: (
            "This Idempotency-Key was used for another request. Take a new key for a new request.",
            "idempotency_key_reused",
        ),
        ClaimState.TOO_LARGE: (
            "The request with this Idempotency-Key was answered and charged, but its answer was "
            "too large to be kept. Take a new key to ask anew.",
            "idempotent_answer_too_large",
        ),
        ClaimState.FULL: (
            "As many answers are kept for this account as may be. Send requests without "
            "Idempotency-Key, or wait: each is kept for 24 hours.",
            "idempotency_storage_full",
        ),
    }[claim.state]
    running = claim.state is ClaimState.RUNNING
    return ApiError(
        429 if claim.state is ClaimState.FULL else 409,
        message,
        code=code,
        retry_after_s=1 if running else None,
        retry_is_useless=not running,
    )


async def _tell_again(kept: KeptAnswer, listener: Listener) -> None:
    headers = ((b"idempotent-replayed", b"true"),)
    body = zlib.decompress(kept.body)
    head = Respond(200, kept.content_type.encode(), body, headers)
    await listener.head(head, kept.request_id)
    await listener.part(body, last=True)
