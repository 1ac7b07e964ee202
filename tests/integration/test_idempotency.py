"""The same request twice under one Idempotency-Key, on real sockets: one answer, one charge."""

from __future__ import annotations

import asyncio
import json

import pytest
from raw_client import CHAT, RawClient
from served import configuration, eventually, serve

from gateway.admission.till import Till
from metering.answer_store import AnswerStore
from metering.charge import CloseCharge
from metering.ledger import LedgerError
from serving.fake_faults import Fault
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 4}
KEY = {"idempotency-key": "order-7"}


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_answer_and_one_charge(tmp_path, driver, stream):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        asked = {**ASKED, "stream": stream}
        first = await served.client.post(CHAT, json=asked, headers=KEY)
        again = await served.client.post(CHAT, json=asked, headers=KEY)
        assert first.status_code == again.status_code == 200
        assert first.content == again.content
        assert first.headers["content-type"] == again.headers["content-type"]
        assert first.headers["x-request-id"] == again.headers["x-request-id"]
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        if stream:
            assert first.content.endswith(b"data: [DONE]\n\n")
        assert len(node.received) == 1
        await served.client.post(CHAT, json=asked)
        assert len(await served.charges(2)) == 2, "without the header it is asked anew"


async def test_another_body_is_refused_and_so_is_a_second_one_meanwhile(tmp_path, driver):
    slow = FakeNode(pace=Pace(ttft_ms=300))
    async with slow as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        first = asyncio.create_task(served.client.post(CHAT, json=ASKED, headers=KEY))
        await eventually(lambda: len(node.received), bool)
        meanwhile = await served.client.post(CHAT, json=ASKED, headers=KEY)
        assert meanwhile.status_code == 409
        assert meanwhile.json()["error"]["code"] == "idempotency_key_in_use"
        assert meanwhile.headers["retry-after"] == "1"
        assert (await first).status_code == 200
        other = await served.client.post(CHAT, json={**ASKED, "n": 2}, headers=KEY)
        assert other.status_code == 409
        assert other.json()["error"]["code"] == "idempotency_key_reused"
        assert other.headers["x-should-retry"] == "false"
        assert len(await served.charges(1)) == 1


async def test_what_cost_nothing_may_be_tried_again(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        await node.inject(Fault(status=503, requests=1))
        refused = await served.client.post(CHAT, json=ASKED, headers=KEY)
        assert refused.status_code == 429
        wrong = await served.client.post(CHAT, json={**ASKED, "n": -1}, headers=KEY)
        assert wrong.status_code == 400
        assert (await served.client.post(CHAT, json=ASKED, headers=KEY)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_what_could_not_be_charged_is_asked_anew(tmp_path, monkeypatch, driver, stream):
    record, lost = Till.record, []

    def lose_the_first_end(till, row, on_durable):
        if type(row) is CloseCharge and not lost:
            lost.append(row)
            asyncio.get_running_loop().call_soon(on_durable, OSError("the disk is gone"))
        else:
            record(till, row, on_durable)

    monkeypatch.setattr(Till, "record", lose_the_first_end)
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        asked = {**ASKED, "stream": stream}
        first = await served.client.post(CHAT, json=asked, headers=KEY)
        assert "not_recording" in first.text
        again = await served.client.post(CHAT, json=asked, headers=KEY)
        assert again.status_code == 200
        assert "idempotent-replayed" not in again.headers
        assert len(node.received) == 2
        third = await served.client.post(CHAT, json=asked, headers=KEY)
        assert third.content == again.content
        assert len(node.received) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_ends_while_the_ledger_is_away_is_kept_when_it_is_back(
    tmp_path, monkeypatch, driver, stream
):
    keep, away = AnswerStore.keep, [True]

    def keep_if_there(store, *answer):
        if away:
            raise LedgerError("the server closed the connection")
        keep(store, *answer)

    monkeypatch.setattr(AnswerStore, "keep", keep_if_there)
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        asked = {**ASKED, "stream": stream}

        async def ask():
            return await served.client.post(CHAT, json=asked, headers=KEY)

        first = await ask()
        assert first.status_code == 200
        meanwhile = await ask()
        assert meanwhile.status_code == 409
        assert meanwhile.json()["error"]["code"] == "idempotency_key_in_use"
        away.clear()
        again = await eventually(ask, lambda answer: answer.status_code == 200)
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        assert len(node.received) == len(await served.charges(1)) == 1


async def test_a_client_that_lost_its_connection_gets_the_rest_by_asking_again(tmp_path):
    paced = FakeNode(pace=Pace(token_ms=100))
    async with paced as node, serve(tmp_path, configuration([node])) as served:
        asked = {**ASKED, "stream": True}
        async with await RawClient.connect(served) as raw:
            raw.send(raw.post(asked, "Idempotency-Key: order-7"))
            await raw.reader.readuntil(b"data: ")
        (charge,) = await served.charges(1)
        assert charge.completion_tokens == 4, "it ran to its end"
        body = json.dumps(asked).encode()

        async def ask():
            headers = {**KEY, "content-type": "application/json"}
            return await served.client.post(CHAT, content=body, headers=headers)

        again = await eventually(ask, lambda answer: answer.status_code == 200)
        assert again.content.endswith(b"data: [DONE]\n\n")
        assert len(await served.charges(1)) == 1


async def test_an_answer_outlives_its_gateway(tmp_path):
    async with FakeNode() as node:
        async with serve(tmp_path, configuration([node])) as served:
            first = await served.client.post(CHAT, json=ASKED, headers=KEY)
            secret = served.secret
        async with serve(tmp_path, configuration([node])) as served:
            again = await served.client.post(
                CHAT, json=ASKED, headers={**KEY, "authorization": f"Bearer {secret}"}
            )
        assert again.content == first.content
        assert len(node.received) == 1


async def test_a_key_that_is_none_is_refused(tmp_path, driver):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        long = await served.client.post(CHAT, json=ASKED, headers={"idempotency-key": "x" * 256})
        assert (long.status_code, long.json()["error"]["code"]) == (400, "invalid_idempotency_key")
        stranger = await served.client.post(
            CHAT, json=ASKED, headers={**KEY, "authorization": "Bearer sk-no"}
        )
        assert stranger.status_code == 401


CHAT_LIKE = {
    "/v1/messages": {**ASKED},
    "/v1/responses": {"model": "fake", "input": "hi there"},
}
ANY = {
    "/v1/completions": {"model": "fake", "prompt": "hi there", "max_tokens": 4},
    "/v1/embeddings": {"model": "fake", "input": "hi there"},
    "/v1/rerank": {"model": "fake", "query": "hi", "documents": ["there"]},
    "/v1/score": {"model": "fake", "text_1": "hi", "text_2": "there"},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", CHAT_LIKE)
async def test_other_apis_over_the_same_models(tmp_path, driver, path, stream):
    async with FakeNode() as node, serve(tmp_path, configuration([node]), driver=driver) as served:
        asked = {**CHAT_LIKE[path], "stream": stream}
        first = await served.client.post(path, json=asked, headers=KEY)
        again = await served.client.post(path, json=asked, headers=KEY)
        assert first.status_code == again.status_code == 200
        assert first.content == again.content
        assert first.headers["content-type"] == again.headers["content-type"]
        assert first.headers["x-request-id"] == again.headers["x-request-id"]
        assert again.headers["idempotent-replayed"] == "true"
        if path == "/v1/messages":
            assert first.headers["request-id"] == again.headers["request-id"]
            assert first.content.endswith(b'{"type":"message_stop"}\n\n') is stream
        elif stream:
            assert b"event: response.completed" in again.content
        other = await served.client.post(path, json={**asked, "model": "none"}, headers=KEY)
        assert other.status_code == 409
        assert "used for another request" in other.json()["error"]["message"]
        chat = await served.client.post(CHAT, json=ASKED, headers=KEY)
        assert chat.status_code == 409, "a key is one request's, whatever the route"
        assert len(node.received) == 1
        await served.client.post(path, json=asked)
        assert len(await served.charges(2)) == 2


@pytest.mark.parametrize("path", ANY)
async def test_the_other_inference_routes(tmp_path, path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        first = await served.client.post(path, json=ANY[path], headers=KEY)
        again = await served.client.post(path, json=ANY[path], headers=KEY)
        assert first.status_code == 200
        assert first.content == again.content
        assert again.headers["idempotent-replayed"] == "true"
        assert len(node.received) == 1


async def test_a_message_meanwhile_is_refused_in_anthropics_words(tmp_path):
    slow = FakeNode(pace=Pace(ttft_ms=300))
    async with slow as node, serve(tmp_path, configuration([node])) as served:
        first = asyncio.create_task(served.client.post("/v1/messages", json=ASKED, headers=KEY))
        await eventually(lambda: len(node.received), bool)
        meanwhile = await served.client.post("/v1/messages", json=ASKED, headers=KEY)
        assert (meanwhile.status_code, meanwhile.headers["retry-after"]) == (409, "1")
        assert meanwhile.json()["error"]["type"] == "invalid_request_error"
        assert (await first).status_code == 200


@pytest.mark.parametrize("path", CHAT_LIKE)
async def test_what_was_refused_of_other_apis_may_be_tried_again(tmp_path, path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        asked = CHAT_LIKE[path]
        wrong = await served.client.post(path, json={**asked, "model": 7}, headers=KEY)
        assert wrong.status_code == 400
        await node.inject(Fault(status=503, requests=1))
        assert (await served.client.post(path, json=asked, headers=KEY)).status_code == 429
        await node.inject(Fault())
        await eventually(
            lambda: served.client.post(path, json=asked, headers=KEY),
            lambda answer: answer.status_code == 200,
        )
        assert len(await served.charges(2)) == 2


async def test_a_lost_client_of_a_message_gets_the_rest_by_asking_again(tmp_path):
    paced = FakeNode(pace=Pace(token_ms=100))
    async with paced as node, serve(tmp_path, configuration([node])) as served:
        body = json.dumps({**ASKED, "stream": True}).encode()
        headers = {**KEY, "content-type": "application/json"}
        async with served.client.stream(
            "POST", "/v1/messages", content=body, headers=headers
        ) as lost:
            assert "message_start" in await anext(lost.aiter_text())
        (charge,) = await served.charges(1)
        assert charge.completion_tokens == 4, "it ran to its end"
        again = await eventually(
            lambda: served.client.post("/v1/messages", content=body, headers=headers),
            lambda answer: answer.status_code == 200,
        )
        assert again.content.endswith(b'{"type":"message_stop"}\n\n')
        assert len(await served.charges(1)) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_background_response_is_begun_once(tmp_path, stream):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        asked = {**CHAT_LIKE["/v1/responses"], "background": True, "stream": stream}
        first = await served.client.post("/v1/responses", json=asked, headers=KEY)
        again = await served.client.post("/v1/responses", json=asked, headers=KEY)
        assert again.headers["idempotent-replayed"] == "true"
        if stream:
            assert b"event: response.completed" in again.content
        else:
            assert first.json()["id"] == again.json()["id"]
            assert again.json()["status"] == "queued"
        assert first.content == again.content
        assert len(await served.charges(1)) == 1
        assert len(node.received) == 1
