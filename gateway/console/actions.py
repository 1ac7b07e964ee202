"""What an operator can do in the console: each thing with its words, its fields and its doing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from gateway import errors
from gateway.console.parts import Parts
from gateway.drain_store import DrainKind
from gateway.settlement.close import Outcome
from gateway.settlement.close_child import close_epoch
from gateway.settlement.config import price_of_io
from gateway.settlement.params_file import params_of_file
from gateway.settlement.price_watch import read_once
from ide.closing_time import next_epoch
from ide.params import ParamsError
from metering.deposit import DepositMethod, DepositOrder
from metering.money import format_usd, parse_usd

_MINUTE_NS = 60 * 10**9
_GRACE_MINUTES_MAX = 7 * 24 * 60
_BOOKED_S = 15
"""How long a settlement waits for the charges that are not in the ledger yet."""


class Field(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    label: str
    hint: str = ""
    value: str = ""
    pattern: str = ".*"
    needed: bool = True
    chars_max: int = 200


class Done(msgspec.Struct, frozen=True, kw_only=True):
    says: str
    secret: str | None = None
    """Shown once, on the page that says so, and kept nowhere."""


Given = dict[str, str]
Doing = Callable[[str, Given], Awaitable[Done]]
"""Of a subject and the fields. Raises ApiError and what `routes.refusals` knows."""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    title: str
    """With `{subject}`."""
    explains: str
    """What it will do, and if it can be taken back."""
    button: str
    back: str
    """The page that it belongs to."""
    do: Doing
    fields: tuple[Field, ...] = ()
    is_dangerous: bool = False


def actions(parts: Parts) -> dict[str, Action]:
    found = (*_of_nodes(parts), *_of_keys(parts), _deposit(parts), _settle(parts))
    return {action.name: action for action in found}


def _of_nodes(parts: Parts) -> tuple[Action, ...]:
    books = parts.books

    async def revoke(node_id: str, given: Given) -> Done:
        await asyncio.to_thread(books.nodes.revoke, node_id, given["reason"], time.time_ns())
        return Done(says=f"{node_id} is revoked: its keys and its lease are good for nothing.")

    reason = Field(name="reason", label="Reason", hint="For the audit log.", pattern=".*\\S.*")
    return (
        *_drains(parts, DrainKind.NODE, "/console/nodes"),
        *_drains(parts, DrainKind.MODEL, "/console"),
        Action(
            name="revoke-node",
            title="Revoke {subject}",
            explains="The node’s keys and its lease end at once, for good. To come back it needs a "
            "new key and a new invitation. What it served is still paid.",
            button="Revoke the node",
            back="/console/nodes",
            do=revoke,
            fields=(reason,),
            is_dangerous=True,
        ),
    )


def _drains(parts: Parts, kind: DrainKind, back: str) -> tuple[Action, ...]:
    draining = parts.draining

    async def drain(name: str, _: Given) -> Done:
        await draining.drain(kind, name)
        return Done(says=f"{name} gets no new requests. Those under way end as they would.")

    async def end(name: str, _: Given) -> Done:
        await draining.end(kind, name)
        return Done(says=f"{name} gets requests again, if its nodes are ready.")

    return (
        Action(
            name=f"drain-{kind}",
            title="Drain {subject}",
            explains=f"The {kind} gets no new requests, on every gateway of this ledger. Those "
            "under way end as they would. It can be taken back.",
            button=f"Drain the {kind}",
            back=back,
            do=drain,
        ),
        Action(
            name=f"undrain-{kind}",
            title="Stop draining {subject}",
            explains=f"The {kind} gets requests again.",
            button="Let it serve",
            back=back,
            do=end,
        ),
    )


def _of_keys(parts: Parts) -> tuple[Action, ...]:
    store = parts.books.keys

    async def revoke(key_id: str, _: Given) -> Done:
        if await asyncio.to_thread(store.revoke, key_id) is None:
            raise errors.unknown_key(key_id)
        await parts.keyring.reload()
        return Done(says=f"{key_id} and its sub-keys are revoked.")

    async def rotate(key_id: str, given: Given) -> Done:
        minutes = int(given["grace"])
        if minutes > _GRACE_MINUTES_MAX:
            raise errors.bad_request(f"At most {_GRACE_MINUTES_MAX} minutes.", param="grace")
        found = await asyncio.to_thread(store.rotate, key_id, minutes * _MINUTE_NS)
        if found is None:
            raise errors.unknown_key(key_id)
        await parts.keyring.reload()
        return Done(says=f"{key_id} has a new secret, shown this once:", secret=found[1])

    grace = Field(
        name="grace",
        label="Minutes for which the old secret stays good",
        hint="0: it ends now. At most a week.",
        value="60",
        pattern="[0-9]{1,5}",
    )
    return (
        Action(
            name="revoke-key",
            title="Revoke {subject}",
            explains="The key and all its sub-keys are refused at once, for good.",
            button="Revoke the key",
            back="/console/keys",
            do=revoke,
            is_dangerous=True,
        ),
        Action(
            name="rotate-key",
            title="New secret for {subject}",
            explains="The key gets a new secret, which is shown once. Its limits, its cap and what "
            "it has used stay.",
            button="Make a new secret",
            back="/console/keys",
            do=rotate,
            fields=(grace,),
        ),
    )


def _deposit(parts: Parts) -> Action:
    async def deposit(account: str, given: Given) -> Done:
        order = DepositOrder(
            deposit_id=f"console-{given['once']}",
            account=account,
            method=DepositMethod.MANUAL,
            nano_usd=parse_usd(given["amount"]),
            reference=given["reference"],
        )
        booked, _ = await asyncio.to_thread(parts.books.billing.deposit, order, time.time_ns())
        amount = format_usd(booked.deposit.net_nano_usd)
        return Done(says=f"{account} has {amount} USD more.")

    return Action(
        name="deposit",
        title="Book a deposit for {subject}",
        explains="Books money that you have received by other means as the customer’s credit. It "
        "stands in the ledger for good; a refund can send it back.",
        button="Book it",
        back="/console/customers",
        do=deposit,
        fields=(
            Field(
                name="amount",
                label="USD",
                hint="Such as 25 or 12.50.",
                pattern="[0-9]{1,12}([.][0-9]{1,9})?",
            ),
            Field(
                name="reference",
                label="Reference",
                hint="The payment’s name elsewhere, if it has one.",
                needed=False,
            ),
        ),
    )


def _settle(parts: Parts) -> Action:
    ledger = parts.books.admin_ledger

    async def settle(_: str, given: Given) -> Done:
        try:
            async with asyncio.timeout(_BOOKED_S):
                await parts.books.booked()
            params = await asyncio.to_thread(params_of_file, parts.home.ide_file)
        except TimeoutError:
            raise errors.limits_unknown() from None
        except ParamsError as error:
            raise errors.conflict(f"{error}.") from None
        following = await asyncio.to_thread(next_epoch, ledger)
        if following is None:
            return Done(says="There is nothing to settle: the ledger is empty.")
        told = await close_epoch(
            parts.where,
            params=params,
            io_price_nano_usd=await _price(parts, given["price"]),
            epoch=following.epoch,
            now_ns=time.time_ns(),
        )
        if told.outcome in (Outcome.AWAY, Outcome.REFUSED):
            raise errors.conflict(f"Epoch {following.epoch} is not closed: {told.problem}.")
        if told.outcome is Outcome.NOTHING_NEW:
            return Done(says="There is nothing to settle: no charge since the last epoch.")
        return Done(says=f"Epoch {following.epoch} is settled.")

    return Action(
        name="settle",
        title="Close the {subject} now",
        explains="Closes the epoch over all charges since the last one: suppliers are paid, the "
        "surplus is bought back and burned. It is sealed, and can never be changed.",
        button="Close it",
        back="/console/epochs",
        do=settle,
        fields=(
            Field(
                name="price",
                label="USD for one IO",
                hint="Empty: the price of the configuration. Without any no IO is moved.",
                needed=False,
                pattern="[0-9]{1,9}([.][0-9]{1,9})?",
            ),
        ),
        is_dangerous=True,
    )


async def _price(parts: Parts, given: str) -> int | None:
    if given:
        return parse_usd(given)
    config = parts.config
    price = price_of_io(config.settlement, config.oracle)
    return await asyncio.to_thread(read_once, price)
