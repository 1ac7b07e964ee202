"""How the gateway behaves, over both drivers, on real sockets, before nodes that fail on demand.

After every scenario the books say exactly what the node generated.
"""

from __future__ import annotations

import asyncio
import json

import httpx
import openai
import pytest
from served import configuration, eventually, serve

from metering.charge import ChargeOutcome
from metering.usage import UsageSource
from serving.fake_faults import Fault, Split
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
HI = [{"role": "user", "content": "hi there"}]
CHAT = "/v1/chat/completions"
PRICE = {"prompt": 200, "cached": 100, "completion": 600}


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


def chat(**fields) -> dict:
    return {"model": "fake", "messages": HI, "max_tokens": 12, **fields}


def cost(charge) -> int:
    uncached = charge.prompt_tokens - charge.cached_tokens
    return (
        uncached * PRICE["prompt"]
        + charge.cached_tokens * PRICE["cached"]
        + charge.completion_tokens * PRICE["completion"]
    )


def events(body: str) -> list:
    lines = [line[6:] for line in body.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def assert_books_balance(served) -> None:
    with served.ledger() as ledger:
        assert ledger.verify().ok
        trial = ledger.trial_balance()
    assert sum(line.balance.posted for line in trial if line.account.startswith("usd:")) == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
async def test_answer_usage_and_ledger_agree(tmp_path, driver, path, stream):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        asked = chat(stream=stream)
        if path != CHAT:
            asked = {"model": "fake", "prompt": "hi there", "max_tokens": 12, "stream": stream}
        if stream:
            asked["stream_options"] = {"include_usage": True}
        answer = await served.client.post(path, json=asked)
        assert answer.status_code == 200
        assert answer.headers["x-request-id"].startswith("req_")
        usage = answer.json()["usage"] if not stream else events(answer.text)[-2]["usage"]
        (charge,) = await served.charges(1)
        assert charge.outcome is ChargeOutcome.COMPLETED
        assert charge.usage_source is UsageSource.NODE
        assert charge.prompt_tokens == usage["prompt_tokens"] == node.engine.prompt_tokens
        assert charge.completion_tokens == usage["completion_tokens"] == 12
        assert charge.cost_nano_usd == charge.charged_nano_usd == cost(charge)
        assert charge.request_id == answer.headers["x-request-id"]
        assert charge.node_id == "node-0"
        with served.ledger() as ledger:
            assert ledger.balance("usd:fee_vault").posted == cost(charge)
            assert ledger.balance("usd:customer:acme").available == 10**9 - cost(charge)
        await assert_books_balance(served)


async def test_client_sees_only_what_it_asked_for(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        answer = await served.client.post(CHAT, json=chat(stream=True))
        *chunks, done = events(answer.text)
        assert done == "[DONE]"
        assert all("usage" not in chunk for chunk in chunks)
        assert all(chunk["choices"] for chunk in chunks)
        assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("split", list(Split))
async def test_any_chunking_of_the_node_gives_the_same_answer(tmp_path, driver, split):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        plain = await served.client.post(CHAT, json=chat(stream=True, seed=5))
        await node.inject(Fault(split=split))
        cut = await served.client.post(CHAT, json=chat(stream=True, seed=5))
        texts = [
            [c["choices"][0]["delta"] for c in events(a.text) if c != "[DONE]"]
            for a in (plain, cut)
        ]
        assert len(texts[0]) == len(texts[1])
        charges = await served.charges(2)
        assert {c.completion_tokens for c in charges} == {12}


async def test_openai_sdk(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        client = openai.AsyncOpenAI(base_url=served.base_url + "/v1", api_key=served.secret)
        async with client:
            plain = await client.chat.completions.create(**chat())
            assert plain.usage.completion_tokens == 12
            stream = await client.chat.completions.create(
                **chat(stream=True, stream_options={"include_usage": True})
            )
            chunks = [chunk async for chunk in stream]
            assert chunks[-1].usage.completion_tokens == 12
            embedding = await client.embeddings.create(model="fake", input=["a", "b"])
            assert len(embedding.data) == 2
            assert [m.id async for m in client.models.list()] == ["fake"]
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("nope")
        charges = await served.charges(3)
        assert sum(c.cost_nano_usd for c in charges) == sum(cost(c) for c in charges)
        await assert_books_balance(served)


@pytest.mark.parametrize("choices", [1, 3])
async def test_hang_up_stops_the_node_and_charges_what_was_generated(tmp_path, driver, choices):
    pace = Pace(token_ms=5)
    async with (
        FakeNode(pace=pace) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        asked = chat(stream=True, max_tokens=2000, n=choices)
        async with served.client.stream("POST", CHAT, json=asked) as answer:
            seen = 0
            async for line in answer.aiter_lines():
                seen += line.startswith("data: ")
                if seen == 10 * choices:
                    break
        await eventually(lambda: node.engine.running, lambda running: running == 0)
        (charge,) = await served.charges(1)
        assert charge.outcome is ChargeOutcome.CLIENT_GONE
        assert charge.usage_source is UsageSource.COUNTED
        assert 8 * choices <= charge.completion_tokens <= node.engine.generation_tokens
        assert charge.completion_tokens < 1500 * choices
        assert charge.cost_nano_usd == cost(charge)
        assert await served.metric("tollgate_requests_in_flight") == 0
        assert await served.metric("tollgate_node_in_flight") == 0


async def test_dead_node_is_passed_over_before_the_first_byte(tmp_path, driver):
    async with FakeNode() as dead, FakeNode() as alive:
        config = configuration([dead, alive])
        await dead.inject(Fault(refuse_connections=True))
        async with serve(tmp_path, config, driver=driver) as served:
            answers = [await served.client.post(CHAT, json=chat()) for _ in range(8)]
            assert {a.status_code for a in answers} == {200}
            charges = await served.charges(8)
            assert {c.node_id for c in charges} == {"node-1"}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(requests=1, reset_before_head=True),
        Fault(requests=1, garbage=True),
        Fault(requests=1, status=503),
        Fault(requests=1, status=500),
        Fault(requests=1, error_after_events=0),
        Fault(requests=1, reset_after_events=0),
    ],
    ids=str,
)
async def test_failure_before_the_first_byte_is_hidden(tmp_path, driver, fault):
    async with FakeNode() as one, FakeNode() as two:
        config = configuration([one, two])
        await one.inject(fault)
        await two.inject(fault)
        async with serve(tmp_path, config, driver=driver) as served:
            answers = [await served.client.post(CHAT, json=chat(stream=True)) for _ in range(4)]
            good = [a for a in answers if a.status_code == 200 and a.text.endswith("[DONE]\n\n")]
            assert len(good) >= 3
            charges = await served.charges(4)
            assert sum(c.completion_tokens for c in charges) == 12 * len(good)


async def test_break_in_the_stream_is_told_and_charged_as_delivered(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        await node.inject(Fault(reset_after_events=6))
        answer = await served.client.post(CHAT, json=chat(stream=True))
        first, *_, last = events(answer.text)
        assert last["error"]["message"]
        assert last["choices"][0]["finish_reason"] == "error"
        for name in ("id", "object", "model"):
            assert last[name] == first[name]
        (charge,) = await served.charges(1)
        assert charge.outcome is ChargeOutcome.NODE_BROKEN
        assert 0 < charge.completion_tokens <= 6


async def test_error_in_the_stream_is_free(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        await node.inject(Fault(error_after_events=4))
        answer = await served.client.post(CHAT, json=chat(stream=True))
        assert "error" in events(answer.text)[-1]
        (charge,) = await served.charges(1)
        assert charge.outcome is ChargeOutcome.NODE_ERROR
        assert charge.charged_nano_usd == 0
        with served.ledger() as ledger:
            assert ledger.balance("usd:customer:acme").available == 10**9


async def test_node_without_usage_is_charged_by_estimate_and_marked(tmp_path, driver):
    async with FakeNode() as node:
        config = configuration([node], engine="openai")
        async with serve(tmp_path, config, driver=driver) as served:
            await node.inject(Fault(omit_usage=True, omit_running_usage=True))
            assert (await served.client.post(CHAT, json=chat(stream=True))).status_code == 200
            (charge,) = await served.charges(1)
            assert charge.usage_source is UsageSource.ESTIMATED
            assert charge.completion_tokens > 0


async def test_no_node_left_is_429_with_retry_after_and_free(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        await node.inject(Fault(refuse_connections=True))
        for _ in range(2):  # the second finds the node ejected
            answer = await served.client.post(CHAT, json=chat())
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["code"] == "no_capacity"
        with served.ledger() as ledger:
            assert ledger.balance("usd:fee_vault").posted == 0


async def test_bad_input_never_reaches_a_node(tmp_path, driver):
    config_text = "body_bytes_max = 20000"
    async with FakeNode() as node:
        config = configuration([node], server=config_text)
        async with serve(tmp_path, config, driver=driver) as served:
            post = served.client.post
            cases = [
                (401, "invalid_api_key", post(CHAT, json=chat(), headers={"authorization": ""})),
                (
                    401,
                    "invalid_api_key",
                    post(CHAT, json=chat(), headers={"authorization": "Bearer x"}),
                ),
                (404, "model_not_found", post(CHAT, json=chat(model="gpt-9"))),
                (400, "invalid_json", post(CHAT, content=b"{")),
                (400, "invalid_type", post(CHAT, json=chat(max_tokens="x"))),
                (400, "context_length_exceeded", post(CHAT, json=chat(max_tokens=99_999))),
                (413, "request_too_large", post(CHAT, content=b"x" * 30_000)),
                (404, "unknown_url", post("/v1/nothing", json={})),
                (404, "unknown_url", post("/invocations", json={})),
                (405, "method_not_allowed", served.client.get(CHAT)),
            ]
            for status, code, asking in cases:
                answer = await asking
                error = answer.json()["error"]
                assert (answer.status_code, error["code"]) == (status, code)
                assert set(error) == {"message", "type", "param", "code"}
            assert not node.received
            assert (await served.client.post(CHAT, json=chat())).status_code == 200
            await served.charges(1)


async def test_credit_is_a_hard_limit_under_concurrency(tmp_path, driver):
    async with FakeNode(pace=Pace(token_ms=1)) as node:
        config = configuration([node], capacity=200)
        credit_usd = "0.000400"  # 400,000 nano-USD
        async with serve(tmp_path, config, driver=driver, credit_usd=credit_usd) as served:
            limits = served.client
            answers = await asyncio.gather(
                *(limits.post(CHAT, json=chat(max_tokens=20)) for _ in range(40))
            )
            served_count = sum(a.status_code == 200 for a in answers)
            refused = [a for a in answers if a.status_code != 200]
            assert 0 < served_count < 40
            assert {(a.status_code, a.json()["error"]["code"]) for a in refused} == {
                (402, "insufficient_quota")
            }
            charges = await served.charges(served_count)
            assert len(charges) == served_count
            spent = sum(c.charged_nano_usd for c in charges)
            with served.ledger() as ledger:
                assert ledger.balance("usd:customer:acme").available == 400_000 - spent >= 0


async def test_many_streams_at_once_are_all_exact(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        answers = await asyncio.gather(
            *(served.client.post(CHAT, json=chat(stream=True)) for _ in range(32))
        )
        assert all(a.text.endswith("[DONE]\n\n") for a in answers)
        charges = await served.charges(32)
        assert sum(c.completion_tokens for c in charges) == node.engine.generation_tokens == 32 * 12
        assert sum(c.prompt_tokens for c in charges) == node.engine.prompt_tokens
        await assert_books_balance(served)


async def test_readiness_follows_the_nodes(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        assert (await served.client.get("/healthz")).json() == {"status": "ok"}
        ready = await served.client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        await node.inject(Fault(refuse_connections=True))
        await served.client.post(CHAT, json=chat())
        assert (await served.client.get("/readyz")).status_code == 503


async def test_metrics_tell_what_happened(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        await served.client.post(CHAT, json=chat(stream=True))
        await served.client.post(CHAT, json=chat(model="nope"))
        assert await served.metric("tollgate_requests_total", outcome="completed") == 1
        assert await served.metric("tollgate_tokens_total", kind="completion") == 12
        assert await served.metric("tollgate_time_to_first_token_seconds_count") == 1
        assert await served.metric("tollgate_refusals_total", code="model_not_found") == 1
        assert await served.metric("tollgate_node_state", node="node-0", state="ready") == 1
        assert await served.metric("tollgate_cost_usd_total") > 0


@pytest.mark.parametrize("driver", ["protocol"])  # under ASGI the sockets are the server's to cut
async def test_drain_finishes_what_is_open_and_cuts_what_does_not_end(tmp_path, driver):
    async with FakeNode(pace=Pace(token_ms=10)) as node:
        config = configuration([node], server="drain_s = 1")
        async with serve(tmp_path, config, driver=driver) as served:
            short = asyncio.create_task(
                served.client.post(CHAT, json=chat(stream=True, max_tokens=20))
            )
            endless = asyncio.create_task(
                served.client.post(CHAT, json=chat(stream=True, max_tokens=1500, ignore_eos=True))
            )
            await eventually(lambda: node.engine.running, lambda running: running == 2)
            served.server.should_exit = True
            assert (await short).text.endswith("[DONE]\n\n")
            with pytest.raises(httpx.HTTPError):
                await endless
            charges = {c.outcome: c for c in await served.charges(2)}
        assert charges[ChargeOutcome.COMPLETED].completion_tokens == 20
        assert 20 < charges[ChargeOutcome.CLIENT_GONE].completion_tokens < 1500
        await eventually(lambda: node.engine.running, lambda running: running == 0)
