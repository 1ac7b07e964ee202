"""Anthropic's Messages API over a real socket, by Anthropic's own client."""

from __future__ import annotations

from pathlib import Path

import anthropic
import httpx
import pytest
from served import Served, configuration, serve

from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio

ASKED = {"model": "fake", "max_tokens": 12, "messages": [{"role": "user", "content": "Hello."}]}


def client(gateway: Served, key: str | None = None) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url=gateway.base_url, api_key=key or gateway.secret, max_retries=0
    )


async def test_an_answer_is_a_message_and_is_charged(tmp_path: Path) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        async with client(gateway) as claude:
            told = await claude.messages.create(**ASKED, system="Be brief.")
        (charge,) = await gateway.charges(1)
    assert told.type == "message"
    assert told.content[0].type == "text"
    assert told.content[0].text
    assert told.stop_reason == "max_tokens"
    assert told.usage.output_tokens == charge.completion_tokens == 12
    cached = told.usage.cache_read_input_tokens or 0
    assert told.usage.input_tokens + cached == charge.prompt_tokens > 0


async def test_a_stream_adds_up_to_the_same_message(tmp_path: Path) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        async with client(gateway) as claude:
            whole = await claude.messages.create(**ASKED)
            async with claude.messages.stream(**ASKED) as stream:
                events = [event.type async for event in stream]
                told = await stream.get_final_message()
        charges = await gateway.charges(2)
    assert told.content[0].text == whole.content[0].text
    assert told.stop_reason == whole.stop_reason
    assert told.usage.output_tokens == 12
    assert events[0] == "message_start"
    assert events[-1] == "message_stop"
    assert [charge.completion_tokens for charge in charges] == [12, 12]


async def test_a_client_that_leaves_stops_the_node(tmp_path: Path) -> None:
    slow = FakeNode(pace=Pace(token_ms=20))
    async with slow as node, serve(tmp_path, configuration([node])) as gateway:
        async with client(gateway) as claude:
            stream = await claude.messages.create(**ASKED | {"max_tokens": 1000}, stream=True)
            async for event in stream:
                if event.type == "content_block_delta":
                    break
            await stream.close()
        (charge,) = await gateway.charges(1)
    assert charge.outcome == "client_gone"
    assert 0 < charge.completion_tokens < 1000


@pytest.mark.parametrize(
    ("change", "key", "error", "words"),
    [
        ({}, "sk-wrong", anthropic.AuthenticationError, "Incorrect API key"),
        ({"model": "none"}, None, anthropic.NotFoundError, "'none' does not exist"),
        ({"messages": []}, None, anthropic.BadRequestError, "messages"),
        ({"max_tokens": 0}, None, anthropic.BadRequestError, "max_tokens"),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            None,
            anthropic.BadRequestError,
            "web_search",
        ),
    ],
)
async def test_refusals_are_anthropics_errors(
    change: dict, key: str | None, error: type[anthropic.APIStatusError], words: str, tmp_path: Path
) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        async with client(gateway, key) as claude:
            with pytest.raises(error, match=words) as raised:
                await claude.messages.create(**ASKED | change)
        assert raised.value.body["type"] == "error"
        assert raised.value.request_id
        assert not node.received


@pytest.mark.parametrize(
    ("alone", "authorization", "status"),
    [
        (["{secret}"], None, 200),
        (["{secret}"], "bearer {secret}", 200),
        ([""], "Bearer {secret}", 200),
        (["sk-other"], "Bearer {secret}", 400),
        (["{secret}"], "Bearer sk-other", 400),
        (["sk-other", "{secret}"], None, 400),
    ],
)
async def test_of_two_keys_none_is_taken(
    alone: list[str], authorization: str | None, status: int, tmp_path: Path
) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        headers = [("x-api-key", key.format(secret=gateway.secret)) for key in alone]
        if authorization is not None:
            headers.append(("authorization", authorization.format(secret=gateway.secret)))
        async with httpx.AsyncClient(base_url=gateway.base_url, headers=headers) as claude:
            told = await claude.post("/v1/messages", json=ASKED)
        assert told.status_code == status
        assert len(node.received) == (status == 200)
        if status == 400:
            assert "different API keys" in told.json()["error"]["message"]


async def test_tokens_are_counted_as_the_node_will_and_cost_nothing(tmp_path: Path) -> None:
    asked = {name: ASKED[name] for name in ("model", "messages")}
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        async with client(gateway) as claude:
            counted = await claude.messages.count_tokens(**asked, system="Be brief.")
            told = await claude.messages.create(**ASKED, system="Be brief.")
        await gateway.charges(1)
    cached = told.usage.cache_read_input_tokens or 0
    assert counted.input_tokens == told.usage.input_tokens + cached
