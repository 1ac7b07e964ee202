"""What this gateway leases of the limits and balances that it shares, kept up to date with Redis.

One task asks for everything at once: ten times a second while anything is leased, and at once when
a request waits for more. Requests never ask themselves; they take from what is leased.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

import msgspec

from metering.charge import OpenCharge
from metering.family_limits import each_of
from metering.ledger import LedgerError
from metering.limits import Limiter, Limits, Shortage
from metering.limits_window import SLOT_NS
from metering.pools import Answer, DisownedError, Pools, PoolsUnavailableError, Question
from metering.shared_budget import CreditShare, CreditStatement, SharedBudget
from metering.shared_limits import SharedKeyLimits
from metering.shares import PlaceShare, PlaceStatement, RateShare, WindowStatement

log = logging.getLogger("tollgate")

TICK_S = 0.1
"""How often leases are renewed, and what is not used goes back."""
HEARTBEAT_NS = 250_000_000
SILENCE_NS = 1_000_000_000
"""After so long without an answer the pools may have taken us for gone: tell them everything."""
BLIP_NS = 1_000_000_000
"""Redis that did not answer in time a moment ago is asked again, before anybody is refused."""
TRIES_MAX = 4
TRY_AGAIN_S = 0.15
"""By then all others have heard that somebody went short, and gave back what they do not use."""


class Sharing:
    """A `till.Source`. Lives on the event loop.

    `register` reads the writers whose charges may not all be booked, `refresh` has the ledger's
    balance of an account told to the budget; both raise LedgerError. Without `serves_on_leases`
    nothing is served while Redis is away.
    """

    def __init__(
        self,
        pools: Pools,
        limiter: Limiter[SharedKeyLimits],
        awake: set[SharedKeyLimits],
        budget: SharedBudget,
        *,
        writer: str,
        register: Callable[[], Awaitable[list[str]]],
        refresh: Callable[[str], Awaitable[None]],
        serves_on_leases: bool,
    ) -> None:
        self.away = True
        """Redis did not answer the last time."""
        self.settled = False
        """To be set once all that earlier lives of this gateway charged is booked."""
        self._pools = pools
        self._limiter = limiter
        self._awake = awake
        self._budget = budget
        self._writer = writer
        self._member = f"{writer}.{secrets.token_hex(4)}"
        self._register = register
        self._refresh = refresh
        self._serves_on_leases = serves_on_leases
        self._number = 0
        self._generation = ""
        self._told = False
        """The pools know all that we have."""
        self._open = asyncio.Event()
        """Money is granted."""
        self._dropped: list[str] = []
        self._registered: asyncio.Future[list[str]] | None = None
        """Being read, since this generation began."""
        self._ledger_away = False
        self._heard_ns = 0
        self._lost_ns = -BLIP_NS
        self._asked = asyncio.Event()
        self._asked.set()
        self._answered: asyncio.Future[None] | None = None

    @property
    def closed(self) -> bool:
        """Nothing may be taken, not even what is leased."""
        return self.away and not self._serves_on_leases

    def worth_asking(
        self, shortage: Shortage, charge: OpenCharge, own: Limits, tokens: int, tries: int
    ) -> bool:
        now_ns = time.monotonic_ns()
        if tries >= TRIES_MAX or (self.away and not self._only_just(now_ns)):
            return False
        limits = each_of(self._limiter, charge.key_id, own)
        if any(each.hopeless(tokens, now_ns) for each in limits):
            return False
        if any(self._budget.share(d.purse).hopeless(d.amount, now_ns) for d in charge.draws):
            return False
        return not self._budget.share(charge.account).hopeless(charge.hold_nano_usd, now_ns)

    def _only_just(self, now_ns: int) -> bool:
        """Is Redis away for so short a time that it may have been one slow answer?"""
        return self._serves_on_leases and now_ns - self._lost_ns < BLIP_NS

    async def find(self, charge: OpenCharge, own: Limits, tokens: int, tries: int) -> None:
        """Ask the pools for enough, after the others had time to give back what they can."""
        if tries:
            await asyncio.sleep(TRY_AGAIN_S)
        wanted = [(draw.purse, draw.amount) for draw in charge.draws]
        wanted.append((charge.account, charge.hold_nano_usd))
        for name, amount in wanted:
            share = self._budget.share(name)
            if share.stale or (tries and share.free < amount):
                with contextlib.suppress(LedgerError):
                    await self._refresh(name)
        for limits in each_of(self._limiter, charge.key_id, own):
            limits.need(tokens)
        for name, amount in wanted:
            self._budget.need(self._budget.share(name), amount)
        if self._answered is None:
            self._answered = asyncio.get_running_loop().create_future()
        self._asked.set()
        await asyncio.shield(self._answered)

    def drop(self, writer: str, booked_seq: int) -> None:
        """All charges of this writer are booked, as of that row of the ledger: its leases end."""
        self._budget.booked_seq = max(self._budget.booked_seq, booked_seq)
        self._dropped.append(writer)
        self._asked.set()

    async def run(self) -> None:
        """For the gateway's lifetime; at the end what is being asked is still heard."""
        turn: asyncio.Task[None] | None = None
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):  # `wait_for` may swallow the task's own end
                        await self._asked.wait()
                # In a task of its own: redis-py may swallow its end, too.
                turn = asyncio.create_task(self._turn())
                await asyncio.wait({turn})
                turn.result()
        finally:
            if turn is not None:
                await asyncio.wait({turn})
            self._forget_register()

    async def _turn(self) -> None:
        self._asked.clear()
        answered, self._answered = self._answered, None
        try:
            await self.step()
        finally:
            if answered is not None and not answered.done():
                answered.set_result(None)

    async def leave(self, booked_seq: int) -> None:
        """At the end, with everything booked: give all leases back."""
        self.drop(self._writer, booked_seq)
        self.settled = False
        self._expire()
        await self.step()
        if self._dropped:
            log.warning("Redis did not hear that this gateway left: the next start tells it")

    async def opened(self, within_s: float) -> bool:
        """Wait until money is granted; False if it is not by then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._open.wait()
        return self._open.is_set()

    async def step(self) -> None:
        """Tell and ask once, if there is anything to."""
        try:
            await self._exchange()
        except PoolsUnavailableError as error:
            self._lost(error)

    async def _exchange(self) -> None:
        if time.monotonic_ns() - self._heard_ns > SILENCE_NS:
            self._told = False
        if not self._generation:
            await self._ask(self._question())
        register: list[str] | msgspec.UnsetType = msgspec.UNSET
        if self.settled and not self._open.is_set():
            register = await self._writers()
        said = self._state()
        if (
            said.nothing
            and self._told
            and not self._dropped
            and time.monotonic_ns() - self._heard_ns < HEARTBEAT_NS
        ):
            return
        question = self._question()
        question.joins = self.settled
        question.windows = [statement for _, statement in said.windows]
        question.places = [statement for _, statement in said.places]
        question.credit = [statement for _, statement in said.credit]
        question.register = register
        sent_ns = time.monotonic_ns()
        answer = await self._ask(question)
        if answer.generation == question.generation:
            self._apply(said, answer, sent_ns)
            self._told = answer.joined == self.settled

    async def _writers(self) -> list[str] | msgspec.UnsetType:
        """The register. A ledger that is slow or away delays money alone: what else is leased is
        renewed meanwhile.
        """
        if self._registered is None:
            self._registered = asyncio.ensure_future(self._register())
        await asyncio.wait({self._registered}, timeout=TICK_S)
        if not self._registered.done():
            return msgspec.UNSET
        registered, self._registered = self._registered, None
        try:
            writers = registered.result()
        except LedgerError as error:
            if not self._ledger_away:
                log.warning("no money is leased before the ledger is back: %s", error)
            self._ledger_away = True
            return msgspec.UNSET
        self._ledger_away = False
        return writers

    def _forget_register(self) -> None:
        """Who entered it since may have leased in a generation that is gone."""
        if self._registered is not None:
            self._registered.cancel()
            self._registered = None

    def _state(self) -> _Said:
        keys, credit = list(self._awake), list(self._budget.awake)
        if not self._told:
            keys, credit = list(self._limiter.keys.values()), list(self._budget.accounts.values())
        if not self.settled:
            credit = []
        now_ns = time.monotonic_ns()
        for key in keys:
            key.lapse(now_ns)
        return _Said(
            keys,
            [(rate, rate.state(not self._told)) for key in keys for rate in key.rates],
            [(key.places, key.places.state()) for key in keys if key.places is not None],
            [(share, share.state()) for share in credit],
        )

    def _question(self) -> Question:
        self._number += 1
        return Question(
            member=self._member,
            writer=self._writer,
            generation=self._generation,
            number=self._number,
            nonce=secrets.token_hex(8),
            booked_seq=self._budget.booked_seq,
            dropped=self._dropped,
        )

    async def _ask(self, question: Question) -> Answer:
        dropped = len(question.dropped)
        answer = await self._pools.ask(question)
        if self.away:
            log.info("limits and balances are shared through Redis")
        self.away = False
        self._heard_ns = time.monotonic_ns()
        if answer.generation == question.generation:
            del self._dropped[:dropped]
            if answer.open:
                self._open.set()
        else:
            if self._generation:
                log.warning("Redis forgot what was leased: telling it again")
            self._generation = answer.generation
            self._told = False
            self._open.clear()
            self._forget_register()
            self._asked.set()
        return answer

    def _apply(self, said: _Said, answer: Answer, sent_ns: int) -> None:
        now_ns = time.monotonic_ns()
        ends_ns = sent_ns + answer.left_ms * 1_000_000 + SLOT_NS
        for (rate, window), grant in zip(said.windows, answer.windows, strict=True):
            rate.apply(window, grant, answer.slot, now_ns)
        for (place, places), grant in zip(said.places, answer.places, strict=True):
            place.apply(places, grant, now_ns)
        for (share, credit), grant in zip(said.credit, answer.credit, strict=True):
            share.apply(credit, grant, now_ns)
            if share.idle:
                self._budget.awake.discard(share)
        for key in said.keys:
            key.leased(answer.slot, ends_ns)
            if key.idle:
                self._awake.discard(key)

    def _lost(self, error: PoolsUnavailableError) -> None:
        """What was asked may have been heard or not: the next question says it all again."""
        if not self.away:
            self._lost_ns = time.monotonic_ns()
            log.warning("Redis is away, nothing is leased until it is back: %s", error)
        self.away = True
        self._told = False
        if isinstance(error, DisownedError) and self.settled:
            self.drop(self._writer, self._budget.booked_seq)
        if not self._serves_on_leases:
            self._expire()

    def _expire(self) -> None:
        for key in self._limiter.keys.values():
            key.expire()


class _Said(msgspec.Struct):
    """What a question states, beside whom it is of."""

    keys: list[SharedKeyLimits]
    windows: list[tuple[RateShare, WindowStatement]]
    places: list[tuple[PlaceShare, PlaceStatement]]
    credit: list[tuple[CreditShare, CreditStatement]]

    @property
    def nothing(self) -> bool:
        return not (self.keys or self.credit)
