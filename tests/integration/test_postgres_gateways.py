"""Two gateways, each with a home of its own, on one PostgreSQL and one Redis: from outside."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest
from served import eventually, open_account_at
from together import LEDGER, REDIS, Together, together, write_config

from metering.accounts import USD_SHORTFALL, customer
from metering.backend import open_database, open_ledger
from metering.key_store import KeyStore
from metering.ledger import Ledger
from metering.money import parse_usd
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ALONE = ("--workers", "1")


@contextlib.asynccontextmanager
async def two_gateways(tmp_path, node, secret, more=""):
    """The second has two workers: three processes in all."""
    async with contextlib.AsyncExitStack() as stack:
        running = []
        for name, workers in (("a", "1"), ("b", "2")):
            home = tmp_path / name
            home.mkdir()
            write_config(home, [node], more=more + LEDGER + REDIS)
            gateway = together(home, "--workers", workers, secret=secret)
            running.append(await stack.enter_async_context(gateway))
        yield running


async def ask(running: Together, secret: str = "", **fields) -> tuple[int, dict, dict]:
    hi = [{"role": "user", "content": "hi there"}]
    body = {"model": "fake", "messages": hi, "max_tokens": 12, **fields}
    headers = {"authorization": f"Bearer {secret}"} if secret else None
    answer = await running.client.post(CHAT, json=body, headers=headers)
    return answer.status_code, answer.json(), dict(answer.headers)


async def ask_many(gateways: list[Together], count: int) -> list[tuple[int, dict, dict]]:
    each = itertools.islice(itertools.cycle(gateways), count)
    return await asyncio.gather(*(ask(running) for running in each))


def opened(url: str) -> contextlib.closing[Ledger]:
    return contextlib.closing(open_ledger(url))


def audit(ledger: Ledger, served: int, credit: int) -> int:
    """What is left, after it was found that each of so many answers was charged exactly once."""
    found = ledger.verify()
    assert found.ok, found.problem
    charges = list(ledger.charges())
    paid = [charge for charge in charges if charge.charged_nano_usd]
    assert len(paid) == len({charge.charge_id for charge in paid}) == served
    balance = ledger.balance(customer("acme"))
    assert balance.debits_pending == 0
    assert balance.posted == credit - sum(charge.cost_nano_usd for charge in charges)
    assert ledger.balance(USD_SHORTFALL).posted == 0
    return balance.posted


async def test_limits_and_credit_are_those_of_both(tmp_path, redis, postgres):
    credit, hold = parse_usd("0.002"), 130_000
    secret = open_account_at(postgres.url, "0.002")
    async with FakeNode() as node, two_gateways(tmp_path, node, secret) as gateways:
        served = refused_rounds = 0
        while refused_rounds < 3:  # what came free a moment ago may not be known yet
            answers = await ask_many(gateways, 40)
            served += sum(status == 200 for status, _, _ in answers)
            refused = [body["error"]["code"] for status, body, _ in answers if status != 200]
            assert set(refused) <= {"insufficient_quota"}
            refused_rounds = refused_rounds + 1 if len(refused) == 40 else 0
        for running in gateways:
            await running.end()
    with opened(postgres.url) as ledger:
        assert 0 <= audit(ledger, served, credit) < hold
    with contextlib.closing(open_database(postgres.url)) as database:
        assert database.query("SELECT * FROM gateway_register") == []


async def test_requests_a_minute_are_those_of_both(tmp_path, redis, postgres):
    secret = open_account_at(postgres.url, "1")
    limits = "[limits]\nrequests_per_minute = 30\n"
    async with FakeNode() as node, two_gateways(tmp_path, node, secret, limits) as gateways:
        answers: list[tuple] = []

        async def served() -> int:
            answers.extend(await ask_many(gateways, 20))
            return sum(status == 200 for status, _, _ in answers)

        await eventually(served, lambda count: count >= 30)  # what is leased moves between them
        assert await served() == 30
        assert {body["error"]["type"] for status, body, _ in answers if status != 200} == {
            "requests"
        }
        for running in gateways:
            await running.end()
    with opened(postgres.url) as ledger:
        assert len(list(ledger.charges())) == 30


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_it_serves_without_postgres_as_long_as_the_spool_has_room(
    tmp_path, redis, postgres, how
):
    """And nothing is lost or doubled once it is back, without a restart."""
    credit = parse_usd("1")
    secret = open_account_at(postgres.url, "1")
    with contextlib.closing(open_database(postgres.url)) as database:
        _, unseen = KeyStore(database).create("acme", "never used before")
    spool = "[spool]\nrows_max = 150\n"
    async with FakeNode() as node, two_gateways(tmp_path, node, secret, spool) as gateways:
        before = await ask_many(gateways, 6)
        assert {status for status, _, _ in before} == {200}
        with contextlib.closing(open_database(postgres.url)) as database:
            _, new = KeyStore(database).create("acme", "made a moment ago")
        getattr(postgres, how)()
        served = len(before)
        refused: dict[int, tuple[dict, dict]] = {}
        while len(refused) < 2:
            for index, running in enumerate(gateways):
                if index not in refused:
                    status, body, headers = await ask(running)
                    served += status == 200
                    if status != 200:
                        assert status == 429, body
                        refused[index] = (body, headers)
        assert served > 100
        for body, headers in refused.values():
            assert int(headers["retry-after"]) >= 1, body
        status, body, _ = await ask(gateways[0], secret="sk-tg-" + "x" * 43)
        assert (status, body["error"]["code"]) == (429, "limits_unknown"), body

        postgres.start()
        for running in gateways:
            answer = await eventually(
                lambda running=running: ask(running), lambda answer: answer[0] == 200, within_s=30
            )
            served += answer[0] == 200
        for known in (unseen, new):
            status, body, _ = await eventually(
                lambda known=known: ask(gateways[1], secret=known),
                lambda answer: answer[0] == 200,
            )
            served += 1
        for running in gateways:
            await running.end()
    with opened(postgres.url) as ledger:
        audit(ledger, served, credit)
