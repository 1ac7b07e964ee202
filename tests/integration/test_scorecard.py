"""The provider scorecard of a real gateway over nodes that fail in every way that counts."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner
from customer_api import ADMIN_KEY
from served import Served, configuration, eventually, serve

from gateway.cli import main
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ASKED = {"model": "fake", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello."}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]


async def told(gateway: Served) -> dict:
    answer = await gateway.client.get(
        "/provider/scorecard", headers={"authorization": f"Bearer {ADMIN_KEY}"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def of_model(gateway: Served) -> dict:
    (model,) = (await told(gateway))["models"]
    return model


async def test_each_end_counts_as_openrouter_counts_it(home) -> None:
    async with FakeNode() as node, serve(home, configuration([node])) as gateway:
        client = gateway.client
        assert (await client.post(CHAT, json=ASKED)).status_code == 200
        streamed = ASKED | {"stream": True}
        assert (await client.post(CHAT, json=streamed)).status_code == 200
        assert (await client.post(CHAT, json=ASKED | {"n": 0})).status_code == 400
        assert (await client.post(CHAT, json=ASKED | {"model": "none"})).status_code == 404
        stranger = {"authorization": "Bearer sk-wrong"}
        assert (await client.post(CHAT, json=ASKED, headers=stranger)).status_code == 401
        await node.inject(Fault(status=500))
        assert (await client.post(CHAT, json=ASKED)).status_code == 500
        await node.inject(Fault(end_after_events=3))
        broken = await client.post(CHAT, json=streamed)
        assert '"finish_reason":"error"' in broken.text
        await node.inject(Fault(status=503))
        assert (await client.post(CHAT, json=ASKED)).status_code == 429
        model, whole = await of_model(gateway), await told(gateway)
    uptime = model["uptime"]["30m"]
    assert uptime["against"] == {"server_error": 1, "mid_stream_error": 1}
    assert uptime["requests"] == 4
    assert uptime["uptime"] == 0.5
    assert uptime["rate_limited"] == 1
    assert model["uptime"]["30s"] == model["uptime"]["5m"] == uptime
    assert model["band"] == "unrated"
    assert model["demotion"] == {"band": "degraded", "failures": 96}
    assert whole["unattributed"]["against"] == {"unauthorized": 1, "not_found": 1}
    assert set(model["ttft_seconds"]) == {"p50", "p75", "p90", "p99"}
    assert model["throughput_tokens_per_second"]["p50"] > 0


async def test_an_account_without_credit_counts_against_the_model(home) -> None:
    async with (
        FakeNode() as node,
        serve(home, configuration([node]), credit_usd="0.000001") as gateway,
    ):
        assert (await gateway.client.post(CHAT, json=ASKED)).status_code == 402
        model = await of_model(gateway)
    assert model["uptime"]["30m"]["against"] == {"payment_required": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_bad_tool_calls_are_found(home, stream: bool) -> None:
    asked = ASKED | {"tools": TOOLS, "stream": stream, "max_tokens": 100}
    faults = [Fault(), Fault(tool_name="whether"), Fault(tool_arguments="{"), Fault()]
    async with FakeNode() as node, serve(home, configuration([node])) as gateway:
        for fault in [*faults, Fault(tool_arguments='{"city": 3}')]:
            await node.inject(fault)
            assert (await gateway.client.post(CHAT, json=asked)).status_code == 200
        await gateway.client.post(CHAT, json=asked | {"tool_choice": "none"})
        model = await eventually(
            lambda: of_model(gateway), lambda model: model["tool_calls"]["requests"] == 5
        )
        ratio = await gateway.metric("tollgate_scorecard_tool_error_ratio", model="fake")
    assert model["tool_calls"] == {
        "requests": 5,
        "error_rate": 0.6,
        "errors": {"invalid_json": 1, "unknown_name": 1, "schema_mismatch": 1},
        "unchecked": 0,
    }
    assert ratio == 0.6


async def test_it_is_the_operators_alone(home) -> None:
    async with FakeNode() as node, serve(home, configuration([node])) as gateway:
        assert (await gateway.client.get("/provider/scorecard")).status_code == 403
        nobody = await gateway.client.get("/provider/scorecard", headers={"authorization": ""})
        assert nobody.status_code == 401


async def test_the_command_tells_it(home) -> None:
    (home / "tollgate.toml").write_text(
        '[server]\nport = 1\n[[model]]\nid = "fake"\ncontext_tokens_max = 2048\n'
        'prompt_usd_per_million = "1"\ncompletion_usd_per_million = "1"\n'
    )
    async with FakeNode() as node, serve(home, configuration([node])) as gateway:
        assert (await gateway.client.post(CHAT, json=ASKED)).status_code == 200
        at = ["scorecard", "--home", str(home), "--url", gateway.base_url]
        shown = await asyncio.to_thread(CliRunner().invoke, main, at)
        machine = await asyncio.to_thread(CliRunner().invoke, main, [*at, "--json"])
        nowhere = await asyncio.to_thread(CliRunner().invoke, main, at[:3])
    assert shown.exit_code == 0, shown.output
    assert "100.00%" in shown.output
    assert json.loads(machine.output)["models"][0]["model"] == "fake"
    assert nowhere.exit_code == 1
    assert "cannot be asked" in nowhere.output


async def test_what_fails_after_a_keep_alive_fails_in_a_stream(home) -> None:
    settings = "stream_keep_alive_s = 1\n"
    async with FakeNode() as node, serve(home, configuration([node], server=settings)) as gateway:
        for status in (503, 400):
            await node.inject(Fault(head_delay_ms=1400, status=status))
            answer = await gateway.client.post(CHAT, json=ASKED | {"stream": True})
            assert answer.status_code == 200
            assert '"finish_reason":"error"' in answer.text
            await node.inject(Fault())
            await eventually(
                lambda: gateway.client.post(CHAT, json=ASKED),
                lambda answer: answer.status_code == 200,
            )
        model = await of_model(gateway)
        assert model["uptime"]["30m"]["against"] == {"mid_stream_error": 2}
