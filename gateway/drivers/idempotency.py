"""Requests with an Idempotency-Key: answered once, charged once, and told again for a day.

Such a request runs to its end even if its client leaves, for the client that lost its connection
will ask again. The answer is kept, then it is charged, then what leaves last (a whole answer,
`[DONE]`) leaves. So a gateway that dies charges nothing that it cannot give again, at the worst it
gives what it did not charge. What cost nothing is not kept: the next try is a new one. Should the
database be away as an answer ends, its end does not wait for it: it is kept once it is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from gateway import errors
from gateway.drivers.arrears import Arrears, Place, place_of
from gateway.drivers.desk import DeskOf
from gateway.drivers.form import Asked, Form
from gateway.drivers.held import HeldDriver
from gateway.errors import ApiError
from gateway.exchange.actions import Respond
from gateway.exchange.answers import KEEP_ALIVE
from metering.answer_store import AnswerStore, Claim, ClaimState, KeptAnswer
from metering.charge import ChargeOutcome
from metering.keys import ApiKey
from metering.ledger import LedgerError

REPLAYED = (b"idempotent-replayed", b"true")
_NAME = re.compile(r"[!-~]{1,255}")


class Listener(Protocol):
    """Whom an answer is told to, as long as it is there."""

    async def head(self, answer: Respond, request_id: str) -> None: ...

    async def part(self, data: bytes, *, last: bool) -> None: ...


class Repeatable(msgspec.Struct, frozen=True, kw_only=True):
    """A request with an Idempotency-Key."""

    name: bytes
    """The header's value."""
    key: ApiKey
    asked: bytes
    """What has to be the same again: the route's name and the body."""
    request_id: str


class Idempotency:
    """Methods raise ApiError as long as nothing was told."""

    def __init__(self, desk: DeskOf[HeldDriver], store: AnswerStore, writer: str) -> None:
        self._desk = desk
        self._store = store
        self._writer = writer
        self._arrears = Arrears()
        self._running: set[asyncio.Task[None]] = set()

    async def answer(
        self, request: Repeatable, ask: Callable[[], Awaitable[Asked]], listener: Listener
    ) -> None:
        """`ask` says what to ask a model, if it is to be asked."""
        kept = await self._claimed(request)
        if kept is not None:
            await self._tell_again(kept, request.key, listener)
            return
        run = asyncio.get_running_loop().create_task(self._run(request, ask, listener))
        self._running.add(run)
        run.add_done_callback(self._ended)
        await asyncio.shield(run)

    async def begun(self, request: Repeatable, begin: Callable[[], Awaitable[bytes]]) -> Begun:
        """What `begin` answers, which is kept at once; or answered the first time."""
        kept = await self._claimed(request)
        if kept is not None:
            return Begun(zlib.decompress(kept.body), kept.request_id, again=True)
        place, began = place_of(*_name(request)), False
        try:
            answer = await begin()
            began = True
        finally:
            if not began:
                await self._arrears.do(place, self._store.release)
        await self._keep(place, request.request_id, b"application/json", zlib.compress(answer, 1))
        return Begun(answer, request.request_id, again=False)

    async def _claimed(self, request: Repeatable) -> KeptAnswer | None:
        """The answer if there is one; None: the claim is ours. Raises ApiError."""
        fingerprint = hashlib.sha256(request.asked).digest()
        try:
            claim = await asyncio.to_thread(
                self._store.claim, *_name(request), fingerprint, self._writer, time.time_ns()
            )
        except LedgerError:
            raise errors.limits_unknown() from None
        if claim.answer is None and claim.state is not ClaimState.CLAIMED:
            refusal = _refusal(claim)
            refusal.more_headers = self._desk.limit_headers(request.key)
            raise refusal
        return claim.answer

    def _ended(self, run: asyncio.Task[None]) -> None:
        self._running.discard(run)
        if not run.cancelled():
            run.exception()  # who waits for it hears of it; if nobody does, nobody need

    async def _run(
        self, request: Repeatable, ask: Callable[[], Awaitable[Asked]], listener: Listener
    ) -> None:
        place, kept = place_of(*_name(request)), False
        try:
            asked = await ask()
            desk = self._desk.ask(request.key, asked.endpoint, asked.body, request.request_id)
            async with desk as driver:
                answer = await driver.offered() or await driver.answered()
                if answer is None:
                    return
                tell = self._whole if answer.body is not None else self._stream
                kept = await tell(place, answer, driver, asked.form, listener)
        finally:
            if not kept:
                await self._arrears.do(place, self._store.release)

    async def _whole(
        self,
        place: Place,
        answer: Respond,
        driver: HeldDriver,
        form: Form,
        listener: Listener,
    ) -> bool:
        told = await form.whole(answer)
        assert told.body is not None
        paid = driver.is_offered and driver.exchange.outcome is ChargeOutcome.COMPLETED
        request_id = driver.exchange.charge.request_id
        if paid:
            await self._keep(place, request_id, told.content_type, zlib.compress(told.body, 1))
        if driver.is_offered:
            driver.take()
            final = await driver.answered()
            if final is None:
                return False
            if driver.exchange.outcome is ChargeOutcome.UNRECORDED:
                await self._arrears.do(place, self._store.withdraw)
                told, paid = await form.whole(final), False
            else:
                limits = final.headers[len(answer.headers) :]
                told = msgspec.structs.replace(told, headers=told.headers + limits)
        await listener.head(told, request_id)
        await listener.part(told.body or b"", last=True)
        return paid

    async def _stream(
        self,
        place: Place,
        answer: Respond,
        driver: HeldDriver,
        form: Form,
        listener: Listener,
    ) -> bool:
        packer, packed = zlib.compressobj(1), bytearray()
        head, request_id = form.head(answer), driver.exchange.charge.request_id
        await listener.head(head, request_id)
        begun = form.begin()
        packed += packer.compress(begun)
        if begun:
            await listener.part(begun, last=False)
        async for chunk in driver.chunks():
            if told := form.feed(chunk):
                if chunk != KEEP_ALIVE.data:
                    packed += packer.compress(told)
                await listener.part(told, last=False)
        if not driver.is_offered:
            await listener.part(await form.end() if driver.whole else b"", last=True)
            return False
        last = b"".join(map(form.feed, driver.owed())) + await form.end()
        paid = driver.exchange.outcome is ChargeOutcome.COMPLETED
        if paid:
            packed += packer.compress(last)
            await self._keep(place, request_id, head.content_type, bytes(packed + packer.flush()))
        driver.take()
        rest = [chunk async for chunk in driver.chunks()]
        if driver.exchange.outcome is ChargeOutcome.UNRECORDED:
            await self._arrears.do(place, self._store.withdraw)
            last, paid = b"".join(map(form.feed, rest)), False
        await listener.part(last, last=True)
        return paid

    async def _keep(
        self, place: Place, request_id: str, content_type: bytes, packed: bytes
    ) -> None:
        kept = KeptAnswer(request_id=request_id, content_type=content_type.decode(), body=packed)
        await self._arrears.do(place, lambda account, name: self._store.keep(account, name, kept))

    async def _tell_again(self, kept: KeptAnswer, key: ApiKey, listener: Listener) -> None:
        headers = (REPLAYED, *self._desk.limit_headers(key))
        body = zlib.decompress(kept.body)
        head = Respond(200, kept.content_type.encode(), body, headers)
        await listener.head(head, kept.request_id)
        await listener.part(body, last=True)


class Begun(msgspec.Struct, frozen=True, gc=False):
    """The answer to a request that goes on without its client; `again`: it was told before."""

    body: bytes
    request_id: str
    again: bool


def _name(request: Repeatable) -> tuple[str, str]:
    """Raises ApiError (400)."""
    return request.key.account, _checked(request.name)


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
