"""OpenAI's Responses API over a real socket, by OpenAI's own client."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from openai.types.responses import Response
from served import Served, configuration, eventually, serve

from metering.backend import open_database
from metering.key_store import KeyStore
from serving.fake_faults import Fault
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio

ASKED: dict[str, Any] = {"model": "fake", "max_output_tokens": 16, "input": "Hello."}
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells it",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}


def client(gateway: Served, key: str | None = None) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=gateway.base_url + "/v1", api_key=key or gateway.secret, max_retries=0
    )


@contextlib.asynccontextmanager
async def served(tmp_path: Path, *, more: str = "", server: str = "", pace: Pace | None = None):
    """A node, a gateway over it and a client of that."""
    async with (
        FakeNode(pace=pace) as node,
        serve(tmp_path, configuration([node], node=more, server=server)) as gateway,
        client(gateway) as ai,
    ):
        yield node, gateway, ai


def heard(node: FakeNode) -> list[dict]:
    """What the node was told last."""
    return msgspec.json.decode(node.received[-1].body)["messages"]


def rows(gateway: Served, sql: str) -> list[tuple]:
    with contextlib.closing(open_database(gateway.home / "ledger.db")) as database:
        return database.query(sql)


def other_account(gateway: Served) -> str:
    """A key of another account; it has no credit."""
    with contextlib.closing(open_database(gateway.home / "ledger.db")) as database:
        return KeyStore(database).create("other", "test")[1]


async def test_an_answer_is_a_response_and_is_charged(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, gateway, ai):
        told = await ai.responses.create(**ASKED, instructions="Be brief.", metadata={"a": "b"})
        (charge,) = await gateway.charges(1)
    assert isinstance(told, Response)
    assert (told.status, told.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert told.output_text
    assert (told.instructions, told.metadata) == ("Be brief.", {"a": "b"})
    assert told.usage.output_tokens == charge.completion_tokens == 16
    assert told.usage.input_tokens == charge.prompt_tokens > 0
    assert told.usage.input_tokens_details.cached_tokens == charge.cached_tokens
    assert told._request_id == charge.request_id


async def test_a_stream_adds_up_to_the_same_response(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, gateway, ai):
        whole = await ai.responses.create(**ASKED)
        async with await ai.responses.create(**ASKED, stream=True) as stream:
            events = [event async for event in stream]
        charges = await gateway.charges(2)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in (*events[:4], *events[-4:])] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    told = events[-1].response
    assert told.output_text == whole.output_text
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text
    assert [charge.completion_tokens for charge in charges] == [16, 16]


async def test_the_helper_of_the_sdk_follows_a_tool_call(tmp_path: Path) -> None:
    asked = ASKED | {"tools": [WEATHER], "tool_choice": "required", "max_output_tokens": 2000}
    async with served(tmp_path) as (node, _, ai):
        async with ai.responses.stream(**asked) as stream:
            async for _ in stream:
                pass
            told = await stream.get_final_response()
        (call,) = told.output
        answered = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        await ai.responses.create(
            model="fake", previous_response_id=told.id, input=[answered], tools=[WEATHER]
        )
        user, assistant, tool = heard(node)
    assert (call.type, call.name, told.status) == ("function_call", "weather", "completed")
    assert user == {"role": "user", "content": "Hello."}
    assert assistant["tool_calls"][0]["id"] == call.call_id
    assert assistant["tool_calls"][0]["function"]["arguments"] == call.arguments
    assert tool == {"role": "tool", "tool_call_id": call.call_id, "content": "sunny"}


async def test_a_client_that_leaves_stops_the_node_and_pays_what_came(tmp_path: Path) -> None:
    async with served(tmp_path, pace=Pace(token_ms=20)) as (node, gateway, ai):
        stream = await ai.responses.create(**ASKED | {"max_output_tokens": 1000}, stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        (charge,) = await gateway.charges(1)
        await eventually(lambda: node.engine.running, lambda running: running == 0)
    assert charge.outcome == "client_gone"
    assert 0 < charge.completion_tokens < 1000


async def test_a_node_that_fails_in_the_middle(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, gateway, ai):
        await node.inject(Fault(error_after_events=5))
        async with await ai.responses.create(**ASKED, stream=True) as stream:
            events = [event async for event in stream]
        (charge,) = await gateway.charges(1)
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.code == "server_error"
    assert charge.charged_nano_usd == 0


async def test_what_is_kept_is_read_listed_carried_on_and_deleted(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, _, ai):
        first = await ai.responses.create(**ASKED, instructions="Be brief.")
        second = await ai.responses.create(
            model="fake", input="And?", previous_response_id=first.id, max_output_tokens=16
        )
        assert heard(node) == [
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "And?"},
        ]
        assert await ai.responses.retrieve(first.id) == first
        listed = await ai.responses.input_items.list(first.id)
        assert [item.content[0].text async for item in listed] == ["Hello."]

        reference = {"type": "item_reference", "id": first.output[0].id}
        more = {"role": "user", "content": "?"}
        await ai.responses.create(**ASKED | {"input": [reference, more]})
        assert heard(node)[0] == {"role": "assistant", "content": first.output_text}

        await ai.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError, match="not found"):
            await ai.responses.retrieve(first.id)
        with pytest.raises(openai.NotFoundError):
            await ai.responses.delete(first.id)
        for gone in (first.id, second.id):
            with pytest.raises(openai.BadRequestError) as refused:
                await ai.responses.create(**ASKED, previous_response_id=gone)
            assert refused.value.code == "previous_response_not_found"
            assert refused.value.param == "previous_response_id"


async def test_truncation_leaves_out_the_oldest(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": f"turn {number} " + "word " * 100} for number in range(45)]
    async with served(tmp_path) as (node, _, ai):
        with pytest.raises(openai.BadRequestError) as refused:
            await ai.responses.create(**ASKED | {"input": turns})
        told = await ai.responses.create(**ASKED | {"input": turns}, truncation="auto")
        listed = await ai.responses.input_items.list(told.id, limit=100)
        assert len(listed.data) == 45
        assert 1 < len(heard(node)) < 45
        assert heard(node)[-1]["content"] == turns[-1]["content"]
    assert refused.value.code == "context_length_exceeded"
    assert told.truncation == "auto"


async def test_input_items_are_paged(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": f"turn {number}"} for number in range(45)]
    async with served(tmp_path) as (_, _, ai):
        told = await ai.responses.create(**ASKED | {"input": turns})
        for order in ("asc", "desc"):
            listed = await ai.responses.input_items.list(told.id, limit=10, order=order)
            texts = [item.content[0].text async for item in listed]
            wanted = [turn["content"] for turn in turns]
            assert texts == (wanted if order == "asc" else wanted[::-1])
        with pytest.raises(openai.BadRequestError):
            await ai.responses.input_items.list(told.id, limit=101)


async def test_what_is_not_to_be_kept_is_not(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, gateway, ai):
        told = await ai.responses.create(**ASKED, store=False)
        async with await ai.responses.create(**ASKED, store=False, stream=True) as stream:
            events = [event async for event in stream]
        for response_id in (told.id, events[-1].response.id):
            with pytest.raises(openai.NotFoundError):
                await ai.responses.retrieve(response_id)
        with pytest.raises(openai.BadRequestError) as refused:
            await ai.responses.create(**ASKED, store=False, background=True)
        assert refused.value.param == "background"
        (found,) = rows(gateway, "SELECT count(*) FROM response")
    assert found == (0,)


async def test_a_gateway_that_keeps_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, more="\n[responses]\nstore = false\n") as (_, gateway, ai):
        told = await ai.responses.create(**ASKED, store=True)
        assert told.store is False
        with pytest.raises(openai.NotFoundError):
            await ai.responses.retrieve(told.id)
        policy = (await gateway.client.get("/openrouter/data-policy")).json()
    assert policy["gateway"]["responses_api"] == {"retains": False}


async def test_another_account_sees_nothing_of_it(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, gateway, ai):
        told = await ai.responses.create(**ASKED)
        running = await ai.responses.create(**ASKED, background=True)
        async with client(gateway, other_account(gateway)) as other:
            for ask in (
                other.responses.retrieve,
                other.responses.delete,
                other.responses.cancel,
                other.responses.input_items.list,
            ):
                for response_id in (told.id, running.id):
                    with pytest.raises(openai.NotFoundError):
                        await ask(response_id)
            with pytest.raises(openai.BadRequestError, match="not found"):
                await other.responses.create(**ASKED, previous_response_id=told.id)
            reference = [{"type": "item_reference", "id": told.output[0].id}]
            with pytest.raises(openai.BadRequestError, match="not found"):
                await other.responses.create(**ASKED | {"input": reference})


async def test_a_conversation_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, _, ai):
        first = await ai.responses.create(**ASKED)
    async with FakeNode() as node:
        config = configuration([node])
        async with serve(tmp_path, config) as gateway, client(gateway) as ai:
            assert await ai.responses.retrieve(first.id) == first
            await ai.responses.create(**ASKED, previous_response_id=first.id)
            assert [turn["content"] for turn in heard(node)] == [
                "Hello.",
                first.output_text,
                "Hello.",
            ]


REFUSALS: list[tuple[dict, str | None, type[openai.APIStatusError], str | None]] = [
    ({}, "sk-wrong", openai.AuthenticationError, None),
    ({"model": "none"}, None, openai.NotFoundError, "model"),
    ({"input": []}, None, openai.BadRequestError, "input"),
    ({"tools": [{"type": "web_search"}]}, None, openai.BadRequestError, "tools[0].type"),
    ({"conversation": "conv_1"}, None, openai.BadRequestError, "conversation"),
    ({"max_output_tokens": 5000}, None, openai.BadRequestError, "max_output_tokens"),
]


@pytest.mark.parametrize("how", [{}, {"stream": True}, {"background": True}])
async def test_refusals_name_the_field_and_keep_nothing(how: dict, tmp_path: Path) -> None:
    async with served(tmp_path) as (node, gateway, _):
        for change, key, error, param in REFUSALS:
            async with client(gateway, key) as ai:
                with pytest.raises(error) as raised:
                    await ai.responses.create(**ASKED | change | how)
            assert raised.value.param == param
            assert raised.value.request_id
        assert not node.received
        (found,) = rows(gateway, "SELECT count(*) FROM response")
    assert found == (0,)


@pytest.mark.parametrize("how", [{}, {"stream": True}])
async def test_what_the_node_refuses_is_told_in_the_words_of_responses(
    how: dict, tmp_path: Path
) -> None:
    async with served(tmp_path) as (_, _, ai):
        with pytest.raises(openai.BadRequestError) as raised:
            await ai.responses.create(**ASKED | {"input": "word " * 3000} | how)
    assert (raised.value.code, raised.value.param) == ("context_length_exceeded", "input")


async def test_a_conversation_is_carried_on_up_to_a_size(tmp_path: Path) -> None:
    asked = ASKED | {"input": "x" * 1500}
    async with served(tmp_path, server="body_bytes_max = 4096") as (node, _, ai):
        told = await ai.responses.create(**asked)
        for _ in range(4):
            told = await ai.responses.create(**ASKED, previous_response_id=told.id)
        with pytest.raises(openai.BadRequestError) as refused:
            await ai.responses.create(**ASKED, previous_response_id=told.id)
        await ai.responses.create(**ASKED, previous_response_id=told.id, truncation="auto")
        assert heard(node)[-1]["content"] == "Hello."
        assert all(turn["content"] != asked["input"] for turn in heard(node))
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == "previous_response_id"


async def test_whoever_waits_for_a_silent_node_hears_of_it(tmp_path: Path) -> None:
    server, pace = "stream_keep_alive_s = 1", Pace(ttft_ms=1500)
    async with served(tmp_path, server=server, pace=pace) as (_, gateway, _):
        told = await gateway.client.post("/v1/responses", json=ASKED | {"stream": True})
    created, in_progress, comment, *events = told.text.split("\n\n")[:-1]
    assert created.startswith("event: response.created\n")
    assert in_progress.startswith("event: response.in_progress\n")
    assert comment == ": keep-alive"
    assert events[-1].startswith("event: response.incomplete\n")


async def test_a_node_that_fails_while_its_client_waits(tmp_path: Path) -> None:
    """The client has its 200 then: the failure is told in the stream."""
    server, stalled = "stream_keep_alive_s = 1\nnode_first_byte_timeout_s = 2", Pace(ttft_ms=60_000)
    async with served(tmp_path, server=server, pace=stalled) as (_, gateway, ai):
        async with await ai.responses.create(**ASKED, stream=True) as stream:
            events = [event async for event in stream]
        (charge,) = await gateway.charges(1)
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.message
    assert charge.charged_nano_usd == 0
