"""500 requests at once against what 100 of them may cost, over two gateways with a real Redis.

Each costs exactly what is set aside for it, so the figures are sharp: never a nano-dollar or token
over, at least 95 of the 100 served, and what was refused has used nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from served import eventually
from together import LEDGER, REDIS, Together, together

from gateway.home import Home
from metering.accounts import USD_SHORTFALL, customer
from metering.backend import open_database, open_ledger
from metering.charge import ChargeRecord
from metering.cycle import Cycle
from metering.key_patch import KeyPatch
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.limits import Limits
from metering.posting import deposit_group
from metering.purse import FREE
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("redis", "same_day")]
AT_ONCE, ENOUGH_FOR, SERVED_MIN = 500, 100, 95
TOKENS = 10
COST_NANO_USD = TOKENS * 600
PLENTY = 10**12
CONFIG = """
[server]
port = 0

[[model]]
id = "fake"
context_tokens_max = 2048
prompt_usd_per_million = "0"
completion_usd_per_million = "0.60"
{model}
[[node]]
id = "node"
supplier = "supplier"
url = "{url}"
model = "fake"
engine = "vllm"
capacity = 2000
"""


class Customer:
    """An account with a key, at two gateways on one ledger."""

    def __init__(self, where, credit_nano_usd: int, **terms) -> None:
        self.where = where
        with self.ledger() as ledger:
            ledger.post("test", [deposit_group("1", "acme", credit_nano_usd)])
        with contextlib.closing(open_database(self.where)) as database:
            self.key, self.secret = KeyStore(database).create("acme", "", KeyTerms(**terms))

    def ledger(self):
        return contextlib.closing(open_ledger(self.where))

    def charges(self) -> list[ChargeRecord]:
        with self.ledger() as ledger:
            return list(ledger.charges())

    def available(self) -> int:
        with self.ledger() as ledger:
            assert ledger.verify().ok
            assert ledger.balance(USD_SHORTFALL).posted == 0
            return ledger.balance(customer("acme")).available


@pytest.fixture
async def node():
    async with FakeNode(pace=Pace(ttft_ms=300)) as made:
        yield made


class Gateways:
    """Two of them: workers of one on SQLite, or two homes on one PostgreSQL."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.homes = [folder / "a"] if url is None else [folder / "a", folder / "b"]
        for home in self.homes:
            home.mkdir()
        self.where = url or self.homes[0] / "ledger.db"
        self._more = REDIS if url is None else REDIS + LEDGER
        self._workers = "2" if url is None else "1"

    @contextlib.asynccontextmanager
    async def serving(self, node: FakeNode, who: Customer, model: str = ""):
        async with contextlib.AsyncExitStack() as stack:
            running = []
            for home in self.homes:
                text = CONFIG.format(url=node.url, model=model) + self._more
                Home(home).config_file.write_text(text)
                one = together(home, "--workers", self._workers, secret=who.secret)
                running.append(await stack.enter_async_context(one))
                running[-1].client.timeout = 60
            yield running
            for one in running:
                await one.end()


@pytest.fixture(params=["sqlite", "postgres"])
def gateways(request, tmp_path):
    url = request.getfixturevalue("postgres").url if request.param == "postgres" else None
    return Gateways(tmp_path, url)


async def ask(running: Together) -> tuple[int, str]:
    body = {
        "model": "fake",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": TOKENS,
    }
    answer = await running.client.post("/v1/chat/completions", json=body)
    return answer.status_code, "" if answer.is_success else answer.json()["error"]["code"]


async def ask_at_once(running: list[Together], count: int) -> list[tuple[int, str]]:
    return await asyncio.gather(*(ask(running[i % len(running)]) for i in range(count)))


async def use_up(running: list[Together]) -> tuple[int, set[str]]:
    """All at once, then one by one what the first rush left over. Requests served, refusals."""
    answers = await ask_at_once(running, AT_ONCE)
    refused = 0
    while refused < 5:
        answers.append(await ask(running[len(answers) % len(running)]))
        refused = refused + 1 if answers[-1][0] != 200 else 0
    return sum(status == 200 for status, _ in answers), {code for _, code in answers if code}


async def test_a_balance(gateways, node):
    who = Customer(gateways.where, ENOUGH_FOR * COST_NANO_USD)
    async with gateways.serving(node, who) as running:
        served, codes = await use_up(running)
    assert SERVED_MIN <= served <= ENOUGH_FOR
    assert codes == {"insufficient_quota"}
    assert sum(charge.charged_nano_usd for charge in who.charges()) == served * COST_NANO_USD
    assert who.available() == (ENOUGH_FOR - served) * COST_NANO_USD


async def test_a_spend_cap(gateways, node):
    cap = ENOUGH_FOR * COST_NANO_USD
    who = Customer(gateways.where, PLENTY, spend_cap_nano_usd=cap, spend_cycle=Cycle.MONTHLY)
    async with gateways.serving(node, who) as running:
        served, codes = await use_up(running)
    assert SERVED_MIN <= served <= ENOUGH_FOR
    assert codes == {"insufficient_quota"}
    assert sum(charge.charged_nano_usd for charge in who.charges()) == served * COST_NANO_USD
    assert who.available() == PLENTY - served * COST_NANO_USD


async def test_free_tokens(gateways, node):
    """What does not fit is paid: nobody is refused."""
    most = 10 * ENOUGH_FOR * TOKENS
    who = Customer(gateways.where, PLENTY)
    model = f"free_tokens_per_day = {most}"
    async with gateways.serving(node, who, model) as running:
        answers = [answer for _ in range(2) for answer in await ask_at_once(running, AT_ONCE)]
        assert {status for status, _ in answers} == {200}
    charges = who.charges()
    free = [charge for charge in charges if charge.price_version == FREE.version]
    used = sum(charge.prompt_tokens + charge.completion_tokens for charge in free)
    assert 0 < used <= most
    paid = len(charges) - len(free)
    assert who.available() == PLENTY - paid * COST_NANO_USD


async def test_refused_requests_use_nothing(gateways, node):
    """With a cap of 100 requests and limits of 150: after 400 refusals, and once the cap is raised,
    50 more may run in that minute.
    """
    limits = Limits(requests_per_minute=150, concurrent_requests=150)
    cap = ENOUGH_FOR * COST_NANO_USD
    who = Customer(gateways.where, PLENTY, spend_cap_nano_usd=cap, limits=limits)
    async with gateways.serving(node, who) as running:
        served, codes = await use_up(running)
        assert SERVED_MIN <= served <= ENOUGH_FOR
        assert codes <= {"insufficient_quota", "rate_limit_exceeded"}
        with contextlib.closing(open_database(who.where)) as database:
            KeyStore(database).update(who.key.key_id, KeyPatch(spend_cap_nano_usd=PLENTY))

        async def raised() -> bool:
            return (await ask(running[0]))[0] == 200

        await eventually(raised, bool)
        done = served + 1

        async def ask_on() -> int:
            nonlocal done
            done += [status for status, _ in await ask_at_once(running, 20)].count(200)
            return done

        await eventually(ask_on, lambda done: done >= 150)  # what is leased moves between gateways
