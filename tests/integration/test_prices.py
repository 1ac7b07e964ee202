"""Prices change under a gateway that serves: at their moment, for what is asked from then on."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from customer_api import ADMIN_KEY
from served import configuration, eventually, serve

from metering.backend import open_database
from metering.price_book import LEAD_NS, Tariff
from metering.price_store import PriceStore
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
OLD, NEW = "200/100/600", "300/10/700/5000"


def tariff(effective_ns: int) -> Tariff:
    return Tariff(
        model="fake",
        effective_ns=effective_ns,
        prompt_nano_usd=300,
        cached_prompt_nano_usd=10,
        completion_nano_usd=700,
        request_nano_usd=5000,
        batch_discount_ppm=500_000,
    )


def set_price(home, ahead_ns: int) -> int:
    """As if it had been set by a clock that was behind by the rest of the lead."""
    effective_ns = time.time_ns() + ahead_ns
    with contextlib.closing(open_database(home / "ledger.db")) as database:
        PriceStore(database).add("p", tariff(effective_ns), effective_ns - LEAD_NS)
    return effective_ns


async def test_a_running_gateway_goes_over_at_the_moment(tmp_path):
    pace = Pace(token_ms=1)
    async with FakeNode(pace=pace) as node, serve(tmp_path, configuration([node])) as served:
        effective_ns = set_price(tmp_path, 2_500_000_000)
        slow = {**ASKED, "max_tokens": 2000, "stream": True, "usage": {"include": True}}
        asked_before = asyncio.create_task(served.client.post(CHAT, json=slow))
        count = 0
        while time.time_ns() < effective_ns + 10**8:
            answer = await served.client.post(CHAT, json=ASKED)
            assert answer.status_code == 200
            count += 1
        listed = (await served.client.get("/v1/models/fake")).json()["pricing"]
        await asked_before
        charges = await served.charges(count + 1)
        for charge in charges:
            assert charge.price_version == (NEW if charge.created_ns >= effective_ns else OLD)
        assert {charge.price_version for charge in charges} == {OLD, NEW}
        long = max(charges, key=lambda charge: charge.completion_tokens)
        assert long.price_version == OLD
        assert long.cost_nano_usd == 200 * long.prompt_tokens + 600 * long.completion_tokens
        short = max(charges, key=lambda charge: charge.created_ns)
        assert short.cost_nano_usd == 300 * short.prompt_tokens + 700 * 3 + 5000
        assert (listed["version"], listed["request"]) == (NEW, 5000)
        assert listed["batch"]["version"] == "150/5/350/2500~batch:500000"
        with served.ledger() as ledger:
            assert ledger.verify().ok


async def test_a_gateway_that_starts_knows_the_book(tmp_path):
    effective_ns = set_price(tmp_path, -(10**9))
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        await served.client.post(CHAT, json=ASKED)
        (charge,) = await served.charges(1)
        assert charge.price_version == NEW
        history = (await served.client.get("/v1/models/fake/prices")).json()["data"]
        assert [(each["version"], each["in_force"]) for each in history] == [
            (OLD, False),
            (NEW, True),
        ]
        assert history[1]["effective_ns"] == effective_ns
        unknown = await served.client.get("/v1/models/nope/prices")
        assert unknown.status_code == 404


async def test_a_price_ahead_is_listed_with_its_time(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        effective_ns = set_price(tmp_path, 3600 * 10**9)

        async def history():
            return (await served.client.get("/v1/models/fake/prices")).json()["data"]

        found = await eventually(history, lambda data: len(data) == 2)
        assert [each["in_force"] for each in found] == [True, False]
        pricing = (await served.client.get("/v1/models/fake")).json()["pricing"]
        assert (pricing["version"], pricing["until"]) == (OLD, found[1]["effective_from"])
        assert found[1]["effective_ns"] == effective_ns


ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
PRICES = "/admin/v1/prices"
SET = {
    "model": "fake",
    "prompt_usd_per_million": "0.3",
    "completion_usd_per_million": "0.7",
    "batch_discount_ppm": 500_000,
    "off_peak": [{"utc_from": "22:00", "utc_until": "06:00", "discount_ppm": 250_000}],
    "effective_from": "2200-01-01T00:00:00Z",
    "id": "one",
}


@pytest.fixture
def home(tmp_path):
    (tmp_path / "admin_key").write_text(ADMIN_KEY)
    return tmp_path


async def test_the_operator_sets_prices_over_http(home):
    async with FakeNode() as node, serve(home, configuration([node])) as served:
        client = served.client
        made = await client.post(PRICES, json=SET, headers=ADMIN)
        assert made.status_code == 200, made.text
        entry = made.json()
        assert (entry["seq"], entry["version"]) == (1, "300/300/700")
        assert (entry["effective_from"], entry["off_peak"][0]["utc_from"]) == (
            SET["effective_from"],
            "22:00",
        )
        repeated = await client.post(PRICES, json=SET, headers=ADMIN)
        assert repeated.json() == entry
        now = await client.post(
            PRICES, json={**SET, "id": None, "effective_from": None}, headers=ADMIN
        )
        ahead_ns = now.json()["effective_ns"] - time.time_ns()
        assert 0 < ahead_ns <= LEAD_NS
        listed = (await client.get(PRICES, headers=ADMIN, params={"limit": 1})).json()
        assert (listed["data"], listed["has_more"], listed["next_cursor"]) == ([entry], True, "1")
        rest = (await client.get(PRICES, headers=ADMIN, params={"after": 1})).json()
        assert (rest["data"], rest["has_more"]) == ([now.json()], False)
        other = await client.get(PRICES, headers=ADMIN, params={"model": "other"})
        assert other.json()["data"] == []
        shown = (await client.get(PRICES + "/150/150/350~batch:500000", headers=ADMIN)).json()
        assert (shown["reduction"], len(shown["tariffs"])) == ("batch", 2)
        first = (await client.get(f"{PRICES}/{OLD}", headers=ADMIN)).json()
        assert [each["effective_ns"] for each in first["tariffs"]] == [0]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"effective_from": "2020-01-01T00:00:00Z", "id": "new"}, 400, "not changed backwards"),
        ({"effective_from": "soon"}, 400, "date, time and zone"),
        ({"model": "nope"}, 404, "nope"),
        ({"prompt_usd_per_million": "0.0001"}, 400, "whole number of nano-USD"),
        ({"prompt_usd_per_million": 1}, 400, "expected `str`"),
        ({"batch_discount_ppm": 1_000_001}, 400, "<= 1000000"),
        ({"off_peak": [{"utc_from": "22:00"}]}, 400, "utc_until"),
        ({"price": 1}, 400, "argument supplied: price"),
        ({"completion_usd_per_million": "9"}, 409, "other terms"),
    ],
)
async def test_what_cannot_be_set_over_http(home, change, status, words):
    async with FakeNode() as node, serve(home, configuration([node])) as served:
        assert (await served.client.post(PRICES, json=SET, headers=ADMIN)).status_code == 200
        refused = await served.client.post(PRICES, json={**SET, **change}, headers=ADMIN)
        assert refused.status_code == status, refused.text
        assert words in refused.json()["error"]["message"]
        listed = await served.client.get(PRICES, headers=ADMIN)
        assert len(listed.json()["data"]) == 1


async def test_customers_do_not_set_prices(home):
    async with FakeNode() as node, serve(home, configuration([node])) as served:
        assert (await served.client.post(PRICES, json=SET)).status_code == 403
        assert (await served.client.get(PRICES)).status_code == 403
        wrong = await served.client.get(PRICES + "/v1", headers=ADMIN)
        assert wrong.status_code == 400
