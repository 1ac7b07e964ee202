import asyncio
import base64
import json
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from node_client import connected

from serving.fake_faults import Fault, Split
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

DEADLINE_S = 10
CHAT = {
    "model": "fake",
    "messages": [{"role": "user", "content": "hello there"}],
    "max_tokens": 6,
    "ignore_eos": True,
}
USAGE = {"include_usage": True, "continuous_usage_stats": True}
STREAM = CHAT | {"stream": True, "stream_options": USAGE}


def run(scenario: Callable[[FakeNode], Awaitable[None]], **options: Any) -> None:
    async def within_deadline() -> None:
        async with asyncio.timeout(DEADLINE_S), FakeNode(**options) as node:
            await scenario(node)

    asyncio.run(within_deadline())


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 (counters have no event to wait for)
        await asyncio.sleep(0.001)


def test_usage_is_what_the_counters_say() -> None:
    async def scenario(node: FakeNode) -> None:
        async with connected(node) as client:
            _, answer = await client.answer(CHAT | {"n": 3})
            usage = answer["usage"]
            assert (usage["prompt_tokens"], usage["completion_tokens"]) == (8, 18)
            assert [choice["finish_reason"] for choice in answer["choices"]] == ["length"] * 3
            client.send(STREAM)
            await client.head()
            closing = json.loads((await client.events())[-2])
            assert closing["usage"]["completion_tokens"] == 6
        engine = node.engine
        # As vLLM's, the counter has the prompt once for each choice.
        assert (engine.prompt_tokens, engine.generation_tokens) == (3 * 8 + 8, 18 + 6)
        assert (engine.running, engine.finished["length"]) == (0, 4)

    run(scenario)


def test_metrics_are_vllms() -> None:
    async def scenario(node: FakeNode) -> None:
        async with connected(node) as client:
            await client.answer(CHAT)
            client.send(None, "/metrics", "GET")
            _, headers = await client.head()
            text = (await client.reader.readexactly(int(headers["content-length"]))).decode()
        labels = '{engine="0",model_name="fake"}'
        for name, value in {
            "num_requests_running": 0,
            "prompt_tokens_total": 8,
            "generation_tokens_total": 6,
        }.items():
            assert f"\nvllm:{name}{labels} {value}.0\n" in text

    run(scenario)


def test_a_client_that_leaves_stops_the_generation() -> None:
    async def scenario(node: FakeNode) -> None:
        async with connected(node) as client:
            client.send(STREAM | {"max_tokens": 1_000})
            await client.head()
            for _ in range(4):
                await client.chunk()
            assert node.engine.running == 1
        await until(lambda: node.engine.running == 0)
        assert 3 <= node.engine.generation_tokens < 1_000
        assert node.engine.finished == {"abort": 1}

    run(scenario, pace=Pace(token_ms=2))


def test_an_answer_that_is_not_streamed_stops_too() -> None:
    async def scenario(node: FakeNode) -> None:
        async with connected(node) as client:
            client.send(CHAT | {"max_tokens": 1_000})
            await until(lambda: node.engine.generation_tokens > 3)
        await until(lambda: node.engine.finished["abort"] == 1)
        assert node.engine.generation_tokens < 1_000

    run(scenario, pace=Pace(token_ms=2))


def test_tokens_come_at_the_pace() -> None:
    async def scenario(node: FakeNode) -> None:
        loop = asyncio.get_running_loop()
        async with connected(node) as client:
            started = loop.time()
            client.send(STREAM)
            await client.head()
            await client.chunk()
            assert loop.time() - started >= 0.03
            await client.events()
            assert loop.time() - started >= 0.03 + 5 * 0.01

    run(scenario, pace=Pace(ttft_ms=30, token_ms=10))


def test_several_tokens_an_event_are_counted_each() -> None:
    async def scenario(node: FakeNode) -> None:
        async with connected(node) as client:
            client.send(STREAM)
            await client.head()
            parts = [json.loads(event) for event in (await client.events())[1:-2]]
        assert [part["usage"]["completion_tokens"] for part in parts] == [4, 6]

    run(scenario, tokens_per_event=4)


def test_prompts_share_a_cache() -> None:
    async def scenario(node: FakeNode) -> None:
        long = CHAT | {"messages": [{"role": "user", "content": "word " * 40}]}
        async with connected(node) as client:
            seen = [(await client.answer(long))[1]["usage"] for _ in range(2)]
        cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in seen]
        assert cached == [0, 32]

    run(scenario)


def test_embeddings() -> None:
    async def scenario(node: FakeNode) -> None:
        asked = {"model": "fake", "input": ["a b", "c"]}
        async with connected(node) as client:
            _, plain = await client.answer(asked, "/v1/embeddings")
            _, packed = await client.answer(asked | {"encoding_format": "base64"}, "/v1/embeddings")
        assert plain["usage"]["prompt_tokens"] == 3
        for one, other in zip(plain["data"], packed["data"], strict=True):
            assert (
                list(struct.unpack("8f", base64.b64decode(other["embedding"]))) == one["embedding"]
            )

    run(scenario)


def test_it_keeps_what_it_was_sent() -> None:
    async def scenario(node: FakeNode) -> None:
        async with connected(node) as client:
            await client.answer(None, "/v1/models")
            await client.answer(CHAT)
        assert [json.loads(request.body) for request in node.received] == [CHAT]
        assert node.received[0].headers["host"] == "x"

    run(scenario)


def test_requests_on_one_connection_are_answered_in_order() -> None:
    async def scenario(node: FakeNode) -> None:
        async with connected(node) as client:
            client.send(CHAT | {"max_tokens": 5})
            client.send(CHAT | {"max_tokens": 2})
            for tokens in (5, 2):
                _, headers = await client.head()
                body = await client.reader.readexactly(int(headers["content-length"]))
                assert json.loads(body)["usage"]["completion_tokens"] == tokens
        assert node.connections_opened == 1

    run(scenario)


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("body", [CHAT, STREAM])
def test_splits_change_no_byte(split: Split, body: dict[str, Any]) -> None:
    async def scenario(node: FakeNode) -> None:
        async def ask() -> Any:
            async with connected(node) as client:
                if "stream" not in body:
                    return (await client.answer(body))[1]["choices"]
                client.send(body)
                await client.head()
                events = [json.loads(event) for event in (await client.events())[:-1]]
                return [event["choices"] for event in events]

        plain = await ask()
        await node.inject(Fault(split=split))
        assert await ask() == plain

    run(scenario)


def test_glued_is_one_write() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.inject(Fault(split=Split.GLUED))
        async with connected(node) as client:
            client.send(STREAM)
            assert (await client.reader.read(100_000)).endswith(b"[DONE]\n\n\r\n0\r\n\r\n")

    run(scenario)


@pytest.mark.parametrize("events", [0, 1, 3, 7])
def test_cuts_come_after_so_many_events(events: int) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.inject(Fault(reset_after_events=events))
        async with connected(node) as client:
            client.send(STREAM)
            await client.head()
            assert len([await client.chunk() for _ in range(events)]) == events
            with pytest.raises(ConnectionResetError):
                await client.rest()
        await node.inject(Fault(end_after_events=events))
        async with connected(node) as client:
            client.send(STREAM)
            assert (await client.rest()).count(b"data: ") == events
        await node.inject(Fault(error_after_events=events))
        async with connected(node) as client:
            client.send(STREAM)
            await client.head()
            *delivered, error, done = await client.events()
        assert len(delivered) == events
        assert json.loads(error)["error"]["code"] == 500
        assert done == "[DONE]"
        assert node.engine.running == 0

    run(scenario)


def test_a_stall_keeps_the_connection_until_the_client_leaves() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.inject(Fault(stall_after_events=2))
        async with connected(node) as client:
            client.send(STREAM)
            await client.head()
            await client.chunk()
            await client.chunk()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), 0.05)
            assert node.engine.running == 1
        await until(lambda: node.engine.running == 0)

    run(scenario)


@pytest.mark.parametrize("status", [400, 500, 503])
def test_errors_on_demand(status: int) -> None:
    async def scenario(node: FakeNode) -> None:
        await node.inject(Fault(status=status, requests=2))
        async with connected(node) as client:
            for expected in (status, status, 200):
                answered, message = await client.answer(CHAT)
                assert answered == expected
                assert ("error" in message) == (expected != 200)
        assert node.engine.finished == {"length": 1}

    run(scenario)


def test_the_head_can_be_late_preceded_broken_or_missing() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.inject(Fault(interim=True, head_delay_ms=20))
        async with connected(node) as client:
            client.send(CHAT)
            assert (await client.head())[0] == 103
            assert (await client.head())[0] == 200
        await node.inject(Fault(reset_before_head=True))
        async with connected(node) as client:
            client.send(CHAT)
            with pytest.raises(ConnectionResetError):
                await client.rest()
        await node.inject(Fault(garbage=True))
        async with connected(node) as client:
            client.send(CHAT)
            assert b"HTTP/1.1" not in await client.rest()

    run(scenario)


def test_it_can_lie_about_usage_or_leave_it_out() -> None:
    async def counts(node: FakeNode) -> list[int]:
        async with connected(node) as client:
            client.send(STREAM)
            await client.head()
            parts = [json.loads(event) for event in (await client.events())[:-1]]
        return [part["usage"]["completion_tokens"] for part in parts if "usage" in part]

    async def scenario(node: FakeNode) -> None:
        assert await counts(node) == [0, 1, 2, 3, 4, 5, 6, 6]
        await node.inject(Fault(inflate_usage_percent=50))
        assert await counts(node) == [0, 2, 3, 5, 6, 8, 9, 9]
        await node.inject(Fault(omit_usage=True))
        assert await counts(node) == [0, 1, 2, 3, 4, 5, 6]
        await node.inject(Fault(omit_running_usage=True))
        assert await counts(node) == [6]
        assert node.engine.generation_tokens == 4 * 6
        await node.inject(Fault(omit_usage=True))
        async with connected(node) as client:
            assert "usage" not in (await client.answer(CHAT))[1]

    run(scenario)


def test_prompt_counts_that_are_wrong() -> None:
    async def claimed(node: FakeNode) -> tuple[int, int]:
        async with connected(node) as client:
            client.send(STREAM)
            await client.head()
            parts = [json.loads(event) for event in (await client.events())[:-1]]
        return parts[0]["usage"]["prompt_tokens"], parts[-1]["usage"]["prompt_tokens"]

    async def scenario(node: FakeNode) -> None:
        assert await claimed(node) == (8, 8)
        await node.inject(Fault(inflate_prompt_percent=10))
        assert await claimed(node) == (9, 9)
        await node.inject(Fault(claim_prompt_tokens=5))
        assert await claimed(node) == (5, 5)
        assert node.engine.prompt_tokens == 3 * 8

    run(scenario)


def test_a_huge_body() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.inject(Fault(body_bytes=1_000_000))
        async with connected(node) as client:
            _, answer = await client.answer(CHAT)
            assert len(answer["choices"][0]["message"]["content"]) > 1_000_000
            client.send(STREAM)
            await client.head()
            assert max(len(event) for event in await client.events()) > 1_000_000

    run(scenario)


def test_a_kept_alive_connection_can_close_unannounced() -> None:
    async def scenario(node: FakeNode) -> None:
        await node.inject(Fault(close_after_answer=True))
        async with connected(node) as client:
            client.send(CHAT)
            _, headers = await client.head()
            assert "connection" not in headers
            assert len(await client.rest()) == int(headers["content-length"])

    run(scenario)


def test_a_node_can_die_and_come_back_on_its_port() -> None:
    async def scenario(node: FakeNode) -> None:
        async with connected(node) as client:
            await client.answer(CHAT)
            await node.inject(Fault(refuse_connections=True))
            assert (await client.answer(CHAT))[0] == 200, "open connections stay"
            with pytest.raises(ConnectionRefusedError):
                async with connected(node):
                    pass
            node.drop_connections()
            with pytest.raises(ConnectionResetError):
                await client.rest()
        await node.inject(Fault())
        async with connected(node) as client:
            assert (await client.answer(CHAT))[0] == 200

    run(scenario)
