"""A gateway that chooses by forecast, over real sockets: what it learns, keeps and explains."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner
from customer_api import ADMIN_KEY
from msgspec import structs
from served import configuration, serve

from gateway.cli import main
from gateway.config import parse
from gateway.config_error import ConfigError
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"


def asked(text: str, **more: object) -> dict:
    return {
        "model": "fake",
        "max_tokens": 8,
        "messages": [{"role": "user", "content": text}],
    } | more


def forecasting(nodes):
    config = configuration(nodes)
    router = structs.replace(config.router, policy="forecast", decisions_kept=50)
    return structs.replace(config, router=router)


async def test_a_decision_is_explained_and_made_again(home) -> None:
    async with (
        FakeNode() as one,
        FakeNode() as two,
        serve(home, forecasting([one, two])) as gateway,
    ):
        client = gateway.client
        long = "The same beginning of a long conversation. " * 60
        for turn in range(12):
            streamed = turn % 3 > 0
            answer = await client.post(CHAT, json=asked(f"{long} {turn}", stream=streamed))
            assert answer.status_code == 200, answer.text
        request_id = answer.headers["x-request-id"]
        url = f"/admin/v1/decisions/{request_id}"
        admin = {"authorization": f"Bearer {ADMIN_KEY}"}
        told = (await client.get(url, headers=admin)).json()
        (decision,) = told["decisions"]
        assert decision["replayed"] is True
        nodes = {node["node"]: node for node in decision["nodes"]}
        assert set(nodes) == {"node-0", "node-1"}
        assert nodes[decision["node"]]["chosen"] is True
        assert max(node["cached_tokens"] for node in nodes.values()) > 500
        assert {node["prefill_us_per_token"] for node in nodes.values()} != {300}, "learned"
        assert (await client.get(url)).status_code == 403, "a customer's key"
        unknown = await client.get("/admin/v1/decisions/none", headers=admin)
        assert unknown.status_code == 404
        assert "decisions_kept" in unknown.json()["error"]["message"]

        (home / "tollgate.toml").write_text('[[model]]\nid="fake"\ncontext_tokens_max=9\n'
            'prompt_usd_per_million="1"\ncompletion_usd_per_million="1"\n')  # fmt: skip
        shown = await asyncio.to_thread(
            CliRunner().invoke,
            main,
            ["route", "explain", request_id, "--home", str(home), "--url", gateway.base_url],
        )
        assert shown.exit_code == 0, shown.output
        assert "the same again" in shown.output
        assert f"{decision['node']} *" in shown.output


async def test_what_ends_badly_leaves_nothing_counted(home) -> None:
    async with (
        FakeNode() as one,
        FakeNode() as two,
        serve(home, forecasting([one, two])) as gateway,
    ):
        assert (await gateway.client.post(CHAT, json=asked("x", n=0))).status_code == 400
        await one.stop()
        for turn in range(6):
            answer = await gateway.client.post(CHAT, json=asked(f"hello {turn}", stream=True))
            assert answer.status_code == 200
        router = gateway.server._gateway.admission._router
        for node in router._known.values():
            assert (node.in_flight, node.pending_tokens, node.tokens) == (0, 0, 0)
            assert not node.pending


def test_the_section_is_judged() -> None:
    with pytest.raises(ConfigError, match="fastest"):
        parse('[router]\npolicy = "fastest"\n')


def test_simulate_tells_one_object_a_policy_and_seed(tmp_path) -> None:
    trace = tmp_path / "trace.csv"
    lines = [f"2023-11-16 18:15:{n % 60:02}.0000000,{100 + n},{20 + n % 9}" for n in range(40)]
    trace.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *sorted(lines)]) + "\n")
    words = ["route", "simulate", "--trace", str(trace), "--policies", "oracle,tollgate,llm-d"]
    words += ["--seeds", "2", "--requests", "40", "--nodes", "4", "--scenario", "wan"]
    shown = CliRunner(catch_exceptions=False).invoke(main, [*words, "--json"])
    told = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(each["policy"], each["seed"]) for each in told] == [
        (policy, seed) for policy in ("oracle", "tollgate", "llm-d") for seed in (0, 1)
    ]
    wanted = {"ttft_p50_ms", "ttft_p99_ms", "e2e_p99_ms", "goodput_rps", "prefix_hit_ratio"}
    assert wanted | {"failed"} <= set(told[0])
    drawn = CliRunner(catch_exceptions=False).invoke(main, [*words, "--plots", str(tmp_path / "p")])
    assert "Against the bars" in drawn.stdout
    names = sorted(file.name for file in (tmp_path / "p").iterdir())
    assert names == ["wan-hits.png", "wan-load.png", "wan-ttft.png"]
    assert all(file.stat().st_size > 5_000 for file in (tmp_path / "p").iterdir())
    wrong = CliRunner().invoke(main, [*words[:4], "--policies", "best"])
    assert wrong.exit_code == 2
    assert "'best' is none of" in wrong.output
    (tmp_path / "no.csv").write_text("a\n")
    none = CliRunner().invoke(main, ["route", "simulate", "--trace", str(tmp_path / "no.csv")])
    assert none.exit_code == 1
    assert "neither Azure's head" in none.output
