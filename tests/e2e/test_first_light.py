"""One paid answer on real parts: the openai SDK, the gateway, vLLM under Ray Serve, the ledger.

The three meters must agree to the token: what the client was told, what the ledger charged, and
what vLLM's own counters say.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import httpx
import openai
import pytest
from up_stack import ROOT, stays_open

QUESTION = [{"role": "user", "content": "What is Tollgate?"}]
STORY = [{"role": "user", "content": "Tell me a story."}]
PROMPT_NANO_USD, CACHED_NANO_USD, COMPLETION_NANO_USD = 200, 50, 600


def cost(charge: dict) -> int:
    return (
        (charge["prompt_tokens"] - charge["cached_tokens"]) * PROMPT_NANO_USD
        + charge["cached_tokens"] * CACHED_NANO_USD
        + charge["completion_tokens"] * COMPLETION_NANO_USD
    )


def test_plain_and_streamed_answers_are_metered_to_the_token(stack, client):
    before, charged = stack.engine_tokens(), stack.charged()
    plain = client.chat.completions.create(model=stack.model, messages=QUESTION)
    assert len(plain.choices[0].message.content.split()) > 5
    stream = client.chat.completions.create(
        model=stack.model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert len(text.split()) > 5
    charges = stack.usage_after(charged, 2)
    for usage, charge in zip([plain.usage, chunks[-1].usage], charges, strict=True):
        assert charge["prompt_tokens"] == usage.prompt_tokens
        assert charge["completion_tokens"] == usage.completion_tokens
        assert charge["usage_source"] == "node"
        assert charge["outcome"] == "completed"
        assert charge["cost_nano_usd"] == cost(charge)
    after = stack.engine_tokens()
    assert after.prompt - before.prompt == sum(c["prompt_tokens"] for c in charges)
    assert after.generation - before.generation == sum(c["completion_tokens"] for c in charges)


def test_completions_and_tools(stack, client):
    completion = client.completions.create(model=stack.model, prompt="Hello", max_tokens=5)
    assert completion.usage.completion_tokens <= 5
    tool = {
        "type": "function",
        "function": {
            "name": "lookup",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"unit": {"type": "string", "enum": ["usd", "io"]}},
                "required": ["unit"],
                "additionalProperties": False,
            },
        },
    }
    answer = client.chat.completions.create(
        model=stack.model, messages=QUESTION, tools=[tool], tool_choice="required", max_tokens=60
    )
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "lookup"
    assert json.loads(call.function.arguments)["unit"] in ("usd", "io")


def test_context_too_long_is_refused_before_the_engine(stack, client):
    before = stack.engine_tokens()
    long = [{"role": "user", "content": "word " * 20_000}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=stack.model, messages=long)
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.param == "messages"
    assert stack.engine_tokens() == before


def test_hang_up_frees_the_engine_within_a_second_and_is_charged_in_part(stack):
    charged = stack.charged()
    asked = {
        "model": stack.model,
        "messages": STORY,
        "stream": True,
        "max_tokens": 3000,
        "ignore_eos": True,
    }
    url, headers = f"{stack.base_url}/chat/completions", stack.headers
    with httpx.stream("POST", url, json=asked, headers=headers, timeout=60) as answer:
        events = 0
        for line in answer.iter_lines():
            events += line.startswith("data: ")
            if events == 20:
                break
    stack.eventually(lambda: stack.engine_running() == 0, within_s=10)
    (charge,) = stack.usage_after(charged, 1)
    assert charge["outcome"] == "client_gone"
    assert 15 <= charge["completion_tokens"] < 2500
    assert charge["cost_nano_usd"] == cost(charge)


def test_32_streams_at_once_all_complete_and_add_up(stack):
    before, charged = stack.engine_tokens(), stack.charged()

    async def all_of_them() -> list[int]:
        async with openai.AsyncOpenAI(
            base_url=stack.base_url, api_key=stack.api_key, max_retries=0
        ) as client:

            async def one(number: int) -> int:
                stream = await client.chat.completions.create(
                    model=stack.model,
                    messages=[{"role": "user", "content": f"Hello number {number}"}],
                    stream=True,
                    stream_options={"include_usage": True},
                    max_tokens=40,
                )
                return [chunk async for chunk in stream][-1].usage.completion_tokens

            return await asyncio.gather(*(one(number) for number in range(32)))

    completions = asyncio.run(all_of_them())
    charges = stack.usage_after(charged, 32)
    assert sorted(c["completion_tokens"] for c in charges) == sorted(completions)
    after = stack.engine_tokens()
    assert after.generation - before.generation == sum(completions)
    assert after.prompt - before.prompt == sum(c["prompt_tokens"] for c in charges)


def test_kill_of_the_gateway_mid_stream_charges_once_what_was_recorded(stack):
    charged = stack.charged()
    asked = {"model": stack.model, "messages": STORY, "stream": True, "max_tokens": 3000}
    url, headers = f"{stack.base_url}/chat/completions", stack.headers
    with httpx.stream("POST", url, json=asked | {"ignore_eos": True}, headers=headers) as answer:
        lines = answer.iter_lines()
        for _ in range(40):
            next(lines)
        os.kill(stack.gateway_pid(), signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            list(lines)
    stack.eventually(stack.serves, within_s=60)
    (charge,) = stack.usage_after(charged, 1)
    assert charge["outcome"] == "gateway_crash"
    assert charge["usage_source"] == "counted"
    assert 1 <= charge["completion_tokens"] < 3000
    assert charge["cost_nano_usd"] == cost(charge)
    assert stack.tollgate("ledger", "verify", "--json")["ok"] is True
    stack.eventually(lambda: stack.engine_running() == 0, within_s=5)


def test_epoch_pays_and_burns_and_settling_again_changes_nothing(stack, client):
    charged = stack.charged()
    client.chat.completions.create(model=stack.model, messages=QUESTION)
    stack.usage_after(charged, 1)  # booked: what came later would be another epoch's
    first = stack.settle()
    again = stack.settle()
    assert first["status"] == "settled"
    assert again["status"] != "settled"
    assert stack.tollgate("ledger", "verify", "--json")["ok"] is True
    trial = stack.trial_balance()
    assert sum(balance for account, balance in trial.items() if account.startswith("usd:")) == 0
    assert sum(balance for account, balance in trial.items() if account.startswith("io:")) == 0
    issued = -trial["io:issuance"]
    assert issued == 800_000_000 * 10**8
    assert trial["io:supplier:local"] > 0
    assert trial["io:burned"] > 0


def test_an_epoch_settles_by_itself_and_its_supplier_checks_the_proof(stack, client, tmp_path):
    charged = stack.charged()
    burned = stack.trial_balance().get("io:burned", 0)
    client.chat.completions.create(model=stack.model, messages=QUESTION)
    (charge,) = stack.usage_after(charged, 1)
    waiting = stack.tollgate("settle", "status", "--json")
    assert waiting["unsettled_charges"] >= 1
    params = stack.home / "ide.toml"
    params.write_text("epoch_s = 2\n")
    try:
        stack.eventually(
            lambda: not stack.tollgate("settle", "status", "--json")["unsettled_charges"],
            within_s=60,
        )
    finally:
        params.write_text(stays_open())
    file, epoch = tmp_path / "proof.json", (waiting["last_epoch"] or 0) + 1
    shown = stack.tollgate("settle", "show", "--epoch", str(epoch), "--json")
    named = ("--epoch", str(epoch), "--supplier", "local")
    stack.tollgate("settle", "proof", *named, "--output", str(file), "--json")
    check = ("settle", "check-proof", str(file), "--root", shown["seal"]["root"], "--json")
    checked = subprocess.run(
        [sys.executable, "-m", "gateway", *check],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    proved = json.loads(checked.stdout)
    assert proved["ok"]
    assert proved["payout"]["io_paid"] > 0
    charges = json.loads(file.read_text())["charges"]
    assert charge["charge_id"] in [each["charge_id"] for each in charges]
    state = stack.tollgate("settle", "status", "--json")
    assert state["supply"]["ok"]
    assert stack.trial_balance()["io:burned"] > burned
    assert stack.tollgate("settle", "replay", "--json")["ok"]


def test_metrics_of_a_serving_stack(stack, client):
    list(client.chat.completions.create(model=stack.model, messages=QUESTION, stream=True))
    exposition = httpx.get(stack.metrics_url).text
    for name in (
        "tollgate_requests_total",
        "tollgate_tokens_total",
        "tollgate_cost_usd_total",
        "tollgate_requests_in_flight",
        "tollgate_node_state",
        "tollgate_ledger_lag_seconds",
        "tollgate_time_to_first_token_seconds_bucket",
        "tollgate_inter_token_latency_seconds_bucket",
    ):
        assert name in exposition
