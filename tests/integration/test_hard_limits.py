"""500 requests at once against what 100 of them may cost, over two gateways with a real Redis.

Each costs exactly what is set aside for it, so the figures are sharp: never a nano-dollar or token
over, at least 95 of the 100 served, and what was refused has used nothing.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from served import eventually
from together import REDIS, Together, together

from gateway.home import Home
from metering.accounts import USD_SHORTFALL, customer
from metering.backend import open_database
from metering.charge import ChargeRecord
from metering.cycle import Cycle
from metering.key_patch import KeyPatch
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.limits import Limits
from metering.posting import deposit_group
from metering.purse import FREE
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("redis")]
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
capacity = 600
"""


class Customer:
    """An account with a key, at two gateways on one ledger."""

    def __init__(self, home, credit_nano_usd: int, **terms) -> None:
        self.ledger_file = home / "ledger.db"
        with self.ledger() as ledger:
            ledger.post("test", [deposit_group("1", "acme", credit_nano_usd)])
        with contextlib.closing(open_database(self.ledger_file)) as database:
            self.key, self.secret = KeyStore(database).create("acme", "", KeyTerms(**terms))

    def ledger(self):
        return contextlib.closing(SqliteLedger(self.ledger_file))

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


def write_config(home, node: FakeNode, model: str = "") -> None:
    home.mkdir(exist_ok=True)
    Home(home).config_file.write_text(CONFIG.format(url=node.url, model=model) + REDIS)


async def ask(running: Together) -> tuple[int, str]:
    body = {
        "model": "fake",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": TOKENS,
    }
    answer = await running.client.post("/v1/chat/completions", json=body)
    return answer.status_code, "" if answer.is_success else answer.json()["error"]["code"]


async def ask_at_once(running: Together, count: int) -> list[tuple[int, str]]:
    return await asyncio.gather(*(ask(running) for _ in range(count)))


async def use_up(running: Together) -> tuple[int, set[str]]:
    """All at once, then one by one what the first rush left over. Requests served, refusals."""
    answers = await ask_at_once(running, AT_ONCE)
    refused = 0
    while refused < 5:
        answers.append(await ask(running))
        refused = refused + 1 if answers[-1][0] != 200 else 0
    return sum(status == 200 for status, _ in answers), {code for _, code in answers if code}


@contextlib.asynccontextmanager
async def two_gateways(home, who: Customer):
    async with together(home, "--workers", "2", secret=who.secret) as running:
        running.client.timeout = 60
        yield running
        await running.end()


async def test_a_balance(tmp_path, node):
    who = Customer(tmp_path, ENOUGH_FOR * COST_NANO_USD)
    write_config(tmp_path, node)
    async with two_gateways(tmp_path, who) as running:
        served, codes = await use_up(running)
    assert SERVED_MIN <= served <= ENOUGH_FOR
    assert codes == {"insufficient_quota"}
    assert sum(charge.charged_nano_usd for charge in who.charges()) == served * COST_NANO_USD
    assert who.available() == (ENOUGH_FOR - served) * COST_NANO_USD


async def test_a_spend_cap(tmp_path, node):
    cap = ENOUGH_FOR * COST_NANO_USD
    who = Customer(tmp_path, PLENTY, spend_cap_nano_usd=cap, spend_cycle=Cycle.MONTHLY)
    write_config(tmp_path, node)
    async with two_gateways(tmp_path, who) as running:
        served, codes = await use_up(running)
    assert SERVED_MIN <= served <= ENOUGH_FOR
    assert codes == {"insufficient_quota"}
    assert sum(charge.charged_nano_usd for charge in who.charges()) == served * COST_NANO_USD
    assert who.available() == PLENTY - served * COST_NANO_USD


async def test_free_tokens(tmp_path, node):
    """What does not fit is paid: nobody is refused."""
    most = 10 * ENOUGH_FOR * TOKENS
    who = Customer(tmp_path, PLENTY)
    write_config(tmp_path, node, f"free_tokens_per_day = {most}")
    async with two_gateways(tmp_path, who) as running:
        answers = [answer for _ in range(2) for answer in await ask_at_once(running, AT_ONCE)]
        assert {status for status, _ in answers} == {200}
    charges = who.charges()
    free = [charge for charge in charges if charge.price_version == FREE.version]
    used = sum(charge.prompt_tokens + charge.completion_tokens for charge in free)
    assert 0 < used <= most
    paid = len(charges) - len(free)
    assert who.available() == PLENTY - paid * COST_NANO_USD


async def test_refused_requests_use_nothing(tmp_path, node):
    """With a cap of 100 requests and limits of 150: after 400 refusals, and once the cap is raised,
    50 more may run in that minute.
    """
    limits = Limits(requests_per_minute=150, concurrent_requests=150)
    cap = ENOUGH_FOR * COST_NANO_USD
    who = Customer(tmp_path, PLENTY, spend_cap_nano_usd=cap, limits=limits)
    write_config(tmp_path, node)
    async with two_gateways(tmp_path, who) as running:
        served, codes = await use_up(running)
        assert SERVED_MIN <= served <= ENOUGH_FOR
        assert codes <= {"insufficient_quota", "rate_limit_exceeded"}
        with contextlib.closing(open_database(who.ledger_file)) as database:
            KeyStore(database).update(who.key.key_id, KeyPatch(spend_cap_nano_usd=PLENTY))

        async def raised() -> bool:
            return (await ask(running))[0] == 200

        await eventually(raised, bool)
        more, answers = 1, [0]
        while answers:
            answers = [status for status, _ in await ask_at_once(running, 20) if status == 200]
            more += len(answers)
    assert served + more >= 150  # more if it took longer than a minute
