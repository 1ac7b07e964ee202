"""Responses that are made in the background, by OpenAI's own client."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import openai
import pytest
from served import Served, configuration, eventually, open_account_at, serve
from together import LEDGER, REDIS, together, write_config

from gateway.housekeeping import tidy_responses
from gateway.responses.background import LOST_NS
from metering.backend import open_database, open_ledger
from metering.response_store import ResponseStore
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio

ASKED: dict[str, Any] = {"model": "fake", "max_output_tokens": 16, "input": "Hello."}
LONG = ASKED | {"max_output_tokens": 1000, "background": True}


def client(base_url: str, key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=base_url + "/v1", api_key=key, max_retries=0)


@contextlib.asynccontextmanager
async def served(tmp_path: Path, node: FakeNode):
    async with (
        serve(tmp_path, configuration([node])) as gateway,
        client(gateway.base_url, gateway.secret) as ai,
    ):
        yield gateway, ai


async def ended(ai: openai.AsyncOpenAI, response_id: str):
    return await eventually(
        lambda: ai.responses.retrieve(response_id),
        lambda found: found.status not in ("queued", "in_progress"),
    )


async def begun(node: FakeNode) -> None:
    await eventually(lambda: node.generations and node.generations[-1].told_tokens, bool)


async def test_it_is_made_and_charged_while_nobody_waits(tmp_path: Path) -> None:
    async with FakeNode() as node, served(tmp_path, node) as (gateway, ai):
        queued = await ai.responses.create(**ASKED, background=True)
        told = await ended(ai, queued.id)
        whole = await ai.responses.create(**ASKED)
        charges = await gateway.charges(2)
        with pytest.raises(openai.BadRequestError) as refused:
            await ai.responses.retrieve(queued.id, stream=True)
    assert (queued.status, queued.background, queued.output) == ("queued", True, [])
    assert told.status == "incomplete"
    assert told.output_text == whole.output_text
    assert told.usage.output_tokens == 16
    assert len(charges) == 2
    assert refused.value.param == "stream"


async def test_whoever_left_a_stream_takes_it_up_again(tmp_path: Path) -> None:
    async with FakeNode(pace=Pace(token_ms=2)) as node, served(tmp_path, node) as (gateway, ai):
        first = []
        async with await ai.responses.create(**LONG, stream=True) as stream:
            async for event in stream:
                first.append(event)
                if event.sequence_number == 9:
                    break
        response_id = first[0].response.id
        rest = await ai.responses.retrieve(response_id, stream=True, starting_after=9)
        taken_up = [event async for event in rest]
        again = await ai.responses.retrieve(response_id, stream=True)
        whole = [event async for event in again]
        kept = await ai.responses.retrieve(response_id)
        (charge,) = await gateway.charges(1)
    assert [event.type for event in first[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    assert first + taken_up == whole
    assert [event.sequence_number for event in whole] == list(range(len(whole)))
    assert whole[-1].response == kept
    assert charge.completion_tokens == kept.usage.output_tokens


async def test_cancelling_stops_the_node(tmp_path: Path) -> None:
    async with FakeNode(pace=Pace(token_ms=20)) as node, served(tmp_path, node) as (gateway, ai):
        running = await ai.responses.create(**LONG)
        await begun(node)
        with pytest.raises(openai.BadRequestError) as early:
            await ai.responses.create(**ASKED, previous_response_id=running.id)
        stopped = await ai.responses.cancel(running.id)
        (charge,) = await gateway.charges(1)
        await eventually(lambda: node.engine.running, lambda count: count == 0)
        assert await ai.responses.cancel(running.id) == stopped
        assert await ai.responses.retrieve(running.id) == stopped
        synchronous = await ai.responses.create(**ASKED)
        with pytest.raises(openai.BadRequestError, match="background"):
            await ai.responses.cancel(synchronous.id)
    assert stopped.status == "cancelled"
    assert early.value.code == "previous_response_in_progress"
    assert charge.outcome == "client_gone"
    assert charge.completion_tokens < 1000


async def test_deleting_stops_the_node(tmp_path: Path) -> None:
    async with FakeNode(pace=Pace(token_ms=20)) as node, served(tmp_path, node) as (gateway, ai):
        running = await ai.responses.create(**LONG)
        await begun(node)
        await ai.responses.delete(running.id)
        (charge,) = await gateway.charges(1)
        with pytest.raises(openai.NotFoundError):
            await ai.responses.retrieve(running.id)
    assert charge.outcome == "client_gone"


async def test_what_the_node_refuses_has_failed(tmp_path: Path) -> None:
    async with FakeNode() as node, served(tmp_path, node) as (_, ai):
        queued = await ai.responses.create(**ASKED | {"input": "word " * 3000}, background=True)
        told = await ended(ai, queued.id)
    assert (told.status, told.error.code) == ("failed", "invalid_prompt")
    assert "maximum context length" in told.error.message


async def test_one_that_the_gateways_end_cuts_off_has_failed(tmp_path: Path) -> None:
    async with FakeNode(pace=Pace(token_ms=20)) as node:
        async with served(tmp_path, node) as (_, ai):
            running = await ai.responses.create(**LONG)
            await begun(node)
        async with served(tmp_path, node) as (gateway, ai):
            told = await ai.responses.retrieve(running.id)
            (charge,) = await gateway.charges(1)
    assert told.status == "failed"
    assert "stopped" in told.error.message
    assert told.output_text
    assert charge.completion_tokens > 0


async def test_one_whose_gateway_is_gone_has_failed(tmp_path: Path) -> None:
    """As the row of a gateway that was killed is found."""
    async with FakeNode(pace=Pace(token_ms=20)) as node, served(tmp_path, node) as (gateway, ai):
        running = await ai.responses.create(**LONG, stream=True)
        created = await anext(aiter(running))
        with stored(gateway) as store:
            began_ns = created.response.created_at * 10**9
            tidy_responses(store, int(began_ns + LOST_NS))
            assert store.under_way([created.response.id])
            tidy_responses(store, int(began_ns + LOST_NS + 60 * 10**9))
        told = await ai.responses.retrieve(created.response.id)
        await gateway.charges(1)
        again = await ai.responses.retrieve(created.response.id, stream=True)
        (error,) = [event async for event in again]
    assert (told.status, told.error.code) == ("failed", "server_error")
    assert (error.type, error.code) == ("error", "server_error")


@contextlib.contextmanager
def stored(gateway: Served):
    with contextlib.closing(open_database(gateway.home / "ledger.db")) as database:
        yield ResponseStore(database, per_account_max=100, account_bytes_max=10**6)


async def test_two_gateways_on_one_ledger(tmp_path, redis, postgres) -> None:
    """What one made the other reads, carries on, follows and cancels."""
    secret = open_account_at(postgres.url, "1")
    async with (
        FakeNode(pace=Pace(token_ms=10)) as node,
        contextlib.AsyncExitStack() as stack,
    ):
        ais = []
        for name in ("a", "b"):
            home = tmp_path / name
            home.mkdir()
            write_config(home, [node], more=LEDGER + REDIS)
            running = together(home, "--workers", "1", secret=secret)
            gateway = await stack.enter_async_context(running)
            base_url = str(gateway.client.base_url).rstrip("/")
            ais.append(await stack.enter_async_context(client(base_url, secret)))
        here, there = ais
        first = await here.responses.create(**ASKED)
        assert await there.responses.retrieve(first.id) == first
        second = await there.responses.create(**ASKED, previous_response_id=first.id)
        assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens

        long = await here.responses.create(**LONG)
        await begun(node)
        assert (await there.responses.cancel(long.id)).status == "cancelled"
        await eventually(lambda: node.engine.running, lambda count: count == 0)

        asked = ASKED | {"background": True, "stream": True, "max_output_tokens": 100}
        events = [event async for event in await here.responses.create(**asked)]
        followed = await there.responses.retrieve(events[0].response.id, stream=True)
        assert [event async for event in followed] == events
        with contextlib.closing(open_ledger(postgres.url)) as ledger:
            await eventually(lambda: len(list(ledger.charges())), lambda count: count == 4)
