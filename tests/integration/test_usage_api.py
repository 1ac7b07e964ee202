"""`GET /v1/usage` on a real gateway."""

from __future__ import annotations

import pytest
from customer_api import ASKED, CHAT, Api, gateway

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("same_day")]


async def test_usage_adds_up_to_the_charges_by_day_model_and_key(home):
    async with gateway(home) as (served, admin):
        made = await admin("POST", "/admin/v1/keys", {"account": "acme", "manages_keys": True})
        manager = Api(served.client, made["api_key"])
        sub = await manager("POST", "/v1/keys", {})
        child = Api(served.client, sub["api_key"])
        for caller in (manager, child, child):
            await caller("POST", CHAT, ASKED)
        charges = await served.charges(3)
        cost = sum(charge.cost_nano_usd for charge in charges)
        whole = await manager("GET", "/v1/usage?group_by=key,day")
        assert whole["total"]["cost_nano_usd"] == whole["total"]["charged_nano_usd"] == cost
        assert whole["total"]["requests"] == 3
        assert {row["key_id"]: row["requests"] for row in whole["data"]} == {
            made["key_id"]: 1,
            sub["key_id"]: 2,
        }
        assert sum(row["cost_nano_usd"] for row in whole["data"]) == cost
        assert {row["price_version"] for row in whole["data"]} == {charges[0].price_version}
        by_model = await manager("GET", "/v1/usage?group_by=model")
        (row,) = by_model["data"]
        assert (row["model"], row["completion_tokens"]) == ("fake", 36)
        own = await child("GET", "/v1/usage")
        assert own["total"]["requests"] == 2
        other = f"/v1/usage?key_id={made['key_id']}"
        assert await child.code("GET", other, status=403) == "key_management_not_allowed"
        none = await manager("GET", "/v1/usage?start_time=1&end_time=2")
        assert (none["total"]["requests"], none["data"]) == (0, [])


@pytest.mark.parametrize("group_by", ["charge", "key", "day,model,key", ""])
async def test_usage_is_paged_by_cursor(home, group_by):
    async with gateway(home) as (served, admin):
        for number in range(5):
            made = await admin("POST", "/admin/v1/keys", {"account": "acme", "name": str(number)})
            await Api(served.client, made["api_key"])("POST", CHAT, ASKED)
        await served.charges(5)
        acme, seen, after = Api(served.client, served.secret), [], ""
        while True:
            page = await acme("GET", f"/v1/usage?limit=2&group_by={group_by}{after}")
            assert page["total"]["requests"] == 5
            seen += page["data"]
            if not page["has_more"]:
                break
            after = f"&after={page['next_cursor']}"
        assert len(seen) == (5 if group_by else 1)
        assert len({str(row) for row in seen}) == len(seen)
        assert sum(row["cost_nano_usd"] for row in seen) == page["total"]["cost_nano_usd"]


BAD_QUERIES = [
    ("group_by=hour", "group_by"),
    ("after=x", "after"),
    ("after=WyJhIl0", "after"),
    ("start_time=today", "start_time"),
    ("limit=1001", "limit"),
    ("account=bob", "account"),
]


async def test_a_query_that_makes_no_sense_is_refused(home):
    async with gateway(home) as (served, _):
        acme = Api(served.client, served.secret)
        for query, param in BAD_QUERIES:
            answer = await acme("GET", f"/v1/usage?{query}", status=400)
            assert answer["error"]["param"] == param


async def test_usage_is_of_the_callers_account_alone(home):
    async with gateway(home) as (served, admin):
        await Api(served.client, served.secret)("POST", CHAT, ASKED)
        await served.charges(1)
        made = await admin("POST", "/admin/v1/keys", {"account": "bob"})
        bob = await Api(served.client, made["api_key"])("GET", "/v1/usage?group_by=charge")
        assert (bob["account"], bob["data"], bob["total"]["requests"]) == ("bob", [], 0)
        path = "/admin/v1/accounts/acme/usage"
        assert (await admin("GET", path))["total"]["requests"] == 1
        await admin("GET", "/admin/v1/accounts/nobody/usage", status=404)
