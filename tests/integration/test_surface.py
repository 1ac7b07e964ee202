"""What is reachable, what is charged of it and what the node is told, on real sockets."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from raw_node import WHOLE, RawNode, ok
from served import configuration, serve

from gateway.openai.request import Endpoint
from metering.backend import open_database
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio

ROUTES = json.loads(
    (Path(__file__).parents[1] / "golden" / "vllm-0.32" / "routes.json").read_text()
)
"""Of vLLM 0.32, whatever switches them on."""

OURS = {
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/rerank",
    "/v2/rerank", "/v1/score", "/score", "/v1/models", "/v1/messages", "/v1/messages/count_tokens",
    "/tokenize", "/detokenize", "/v1/responses", "/v1/responses/{response_id}",
    "/v1/responses/{response_id}/cancel", "/metrics", "/readyz",
}  # fmt: skip
"""Answered by the gateway: by itself, or by asking a node for what it was asked."""

HI = [{"role": "user", "content": "hi there"}]
PAIRS = {"query": "what is it", "documents": ["a cat", "a big dog", "it is a fee"]}


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


def body_of(request: bytes) -> dict:
    return json.loads(request.partition(b"\r\n\r\n")[2])


async def test_no_other_route_of_vllm_is_reachable(tmp_path, driver):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        for method, path in ROUTES:
            if path not in OURS:
                for asked in {method, "GET", "POST"}:
                    json_body = {"model": "fake", "messages": HI} if asked == "POST" else None
                    answer = await served.client.request(asked, path, json=json_body)
                    assert answer.status_code in (404, 405), (asked, path, answer.text)
        assert node.requests == []


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
async def test_rerank_is_charged_by_its_prompts(tmp_path, driver, path):
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        answer = await served.client.post(path, json={"model": "fake", **PAIRS, "top_n": 2})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert len(told["results"]) == 2
        (charge,) = await served.charges(1)
        tokens = told["usage"]["prompt_tokens"]
        assert (charge.prompt_tokens, charge.completion_tokens) == (tokens, 0)
        assert charge.charged_nano_usd == tokens * 200 > 0
        assert node.received[0].path == "/v1/rerank"


@pytest.mark.parametrize("path", ["/v1/score", "/score"])
async def test_score_is_charged_by_its_prompts(tmp_path, driver, path):
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        asked = {"model": "fake", "text_1": "a fee", "text_2": ["one", "two"]}
        answer = await served.client.post(path, json=asked)
        assert answer.status_code == 200, answer.text
        assert [each["index"] for each in answer.json()["data"]] == [0, 1]
        (charge,) = await served.charges(1)
        assert charge.charged_nano_usd == answer.json()["usage"]["prompt_tokens"] * 200 > 0


async def test_a_model_that_does_not_rerank(tmp_path):
    async with FakeNode() as node:
        config = configuration([node])
        chats = replace(config.model[0], kinds=(Endpoint.CHAT,))
        async with serve(tmp_path, replace(config, model=(chats,))) as served:
            answer = await served.client.post("/v1/rerank", json={"model": "fake", **PAIRS})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "unsupported_endpoint"
        assert not node.received


async def test_nobody_reranks_without_a_key(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        headers = {"authorization": "Bearer sk-wrong"}
        for path in ("/rerank", "/score"):
            answer = await served.client.post(path, json={}, headers=headers)
            assert answer.status_code == 401


async def test_unknown_parameters_are_for_keys_that_may(tmp_path, driver):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        asked = {"model": "fake", "messages": HI, "frobnicate": 1}
        refused = await served.client.post("/v1/chat/completions", json=asked)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "frobnicate"
        with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
            terms = KeyTerms(allows_unknown_parameters=True)
            _, secret = KeyStore(database).create("acme", "lenient", terms)
        answer = await served.client.post(
            "/v1/chat/completions", json=asked, headers={"authorization": f"Bearer {secret}"}
        )
        assert answer.status_code == 200, answer.text
        (request,) = node.requests
        assert "frobnicate" not in body_of(request)


async def test_an_accounts_prompts_stay_in_the_nodes_cache_for_it(tmp_path):
    """The same salt for every key of an account, however it asks."""
    async with RawNode(ok(WHOLE)) as node, serve(tmp_path, configuration([node])) as served:
        for _ in range(2):
            asked = {"model": "fake", "messages": HI}
            answer = await served.client.post("/v1/chat/completions", json=asked)
            assert answer.headers["openai-processing-ms"].isdigit()
        first, second = (body_of(request)["cache_salt"] for request in node.requests)
        assert first == second


REASONED = (
    b'{"choices":[{"index":0,"message":{"content":"hi","reasoning":"hm \\"x\\""},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2}}'
)
ALIAS = "reasoning_content_alias = true\n"


@pytest.mark.parametrize("alias", [True, False])
async def test_reasoning_content_is_told_where_the_model_says_so(tmp_path, driver, alias):
    model = ALIAS if alias else ""
    async with (
        RawNode(ok(REASONED)) as node,
        serve(tmp_path, configuration([node], model=model), driver=driver) as served,
    ):
        asked = {"model": "fake", "messages": HI}
        answer = await served.client.post("/v1/chat/completions", json=asked)
        message = answer.json()["choices"][0]["message"]
        assert message["reasoning"] == 'hm "x"'
        assert message.get("reasoning_content") == ('hm "x"' if alias else None)
