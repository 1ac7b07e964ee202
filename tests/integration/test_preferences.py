"""Requests that say what node they want, over real sockets: where they go, what they pay."""

from __future__ import annotations

import contextlib

import pytest
from customer_api import ADMIN_KEY
from msgspec import structs
from served import configuration, serve

from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
FACTS = (
    {"region": "eu", "tier": 2},
    {"region": "us", "tier": 1, "price_ppm": 500_000},
    {"region": "ap", "price_ppm": 250_000},
)


def asked(**provider: object) -> dict:
    hi = [{"role": "user", "content": "hi"}]
    return {"model": "fake", "max_tokens": 8, "messages": hi, "provider": provider}


@contextlib.asynccontextmanager
async def served(home, policy: str):
    (home / "admin_key").write_text(ADMIN_KEY + "\n")
    async with FakeNode() as one, FakeNode() as two, FakeNode() as three:
        nodes = (one, two, three)
        config = configuration(nodes)
        routing = structs.replace(config.router, policy=policy, decisions_kept=50)
        node = tuple(
            structs.replace(each, **facts) for each, facts in zip(config.node, FACTS, strict=True)
        )
        async with serve(home, structs.replace(config, router=routing, node=node)) as gateway:
            yield gateway, nodes


@pytest.mark.parametrize("policy", ["free-share", "forecast"])
async def test_a_request_goes_where_it_wants_to_and_pays_what_is_asked_there(
    tmp_path, policy
) -> None:
    async with served(tmp_path, policy) as (gateway, _):
        wanted = [
            ({"region": "eu"}, "node-0", "200/100/600"),
            ({"sort": "price"}, "node-2", "50/25/150~node:750000"),
            ({"min_tier": 1, "max_price": {"completion": 0.3}}, "node-1", "100/50/300~node:500000"),
            ({"ignore": ["supplier-0", "supplier-2"]}, "node-1", "100/50/300~node:500000"),
        ]
        for provider, _, _ in wanted:
            answer = await gateway.client.post(CHAT, json=asked(**provider))
            assert answer.status_code == 200, answer.text
        charges = await gateway.charges(len(wanted))
        paid = [(charge.node_id, charge.price_version) for charge in charges]
        assert sorted(paid) == sorted((node_id, version) for _, node_id, version in wanted)
        streamed = await gateway.client.post(CHAT, json=asked(sort="price") | {"stream": True})
        assert streamed.status_code == 200


async def test_what_no_node_is_cannot_be_waited_for(tmp_path) -> None:
    async with served(tmp_path, "forecast") as (gateway, _):
        answer = await gateway.client.post(CHAT, json=asked(region="mars", min_tier=1))
        assert answer.status_code == 404
        assert answer.json()["error"] == {
            "message": "No node of 'fake' is what 'provider' asks for: none of them are in a "
            "'region' that it names.",
            "type": "invalid_request_error",
            "param": "provider",
            "code": "no_matching_node",
        }
        admin = {"authorization": f"Bearer {ADMIN_KEY}"}
        url = f"/admin/v1/decisions/{answer.headers['x-request-id']}"
        (decision,) = (await gateway.client.get(url, headers=admin)).json()["decisions"]
        assert decision["replayed"] is True
        assert decision["wants"]["region"] == ["mars"]
        assert {node["left_out"] for node in decision["nodes"]} == {"region"}
        assert not (await gateway.client.get("/v1/usage")).json().get("data")


async def test_a_request_without_fallbacks_fails_with_its_node(tmp_path) -> None:
    async with served(tmp_path, "free-share") as (gateway, nodes):
        await nodes[2].stop()
        cheap = asked(sort="price", allow_fallbacks=False)
        assert (await gateway.client.post(CHAT, json=cheap)).status_code == 429
        answer = await gateway.client.post(CHAT, json=asked(sort="price"))
        assert answer.status_code == 200, "and with them it is answered by another"
