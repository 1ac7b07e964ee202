"""What only a real engine can show: grammars hold, caches are not shared, counts are honest."""

from __future__ import annotations

import asyncio

import httpx
import openai
from structured.asking import TIMEOUT_S, faults

LONG = "The ledger is a book that nobody can rub out. " * 20


def test_tool_calls_and_answers_of_a_schema_are_valid(stack):
    async def wrong() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=stack.base_url, api_key=stack.api_key, timeout=TIMEOUT_S
        ) as ai:
            asked = [found async for found in faults(ai, stack.model, each=8)]
        assert len(asked) == 16
        return [f"{ask}: {fault}" for ask, fault in asked if fault is not None]

    assert asyncio.run(wrong()) == []


def test_accounts_share_no_prefix_cache_and_keys_of_one_do(stack):
    origin = stack.base_url.removesuffix("/v1")
    admin = {"Authorization": f"Bearer {stack.state['admin_key']}"}

    def made(path: str, **fields) -> dict:
        answer = httpx.post(f"{origin}/admin/v1/{path}", headers=admin, json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def cached(key: str) -> int:
        asked = {"model": stack.model, "messages": [{"role": "user", "content": LONG}]}
        with openai.OpenAI(base_url=stack.base_url, api_key=key) as client:
            told = client.chat.completions.create(**asked, max_tokens=1)
        return told.usage.prompt_tokens_details.cached_tokens

    made("accounts", account="other", credit_line_nano_usd=1_000_000_000)
    one, two = (made("keys", account="other", name=name)["api_key"] for name in ("one", "two"))
    assert cached(stack.api_key) == 0
    assert cached(stack.api_key) > 100
    assert cached(one) == 0
    assert cached(two) > 100


def test_an_honest_engine_is_found_honest_and_its_counters_agree(stack, client):
    stack.tollgate("ledger", "reconcile", "--json")
    asked = {"model": stack.model, "messages": [{"role": "user", "content": "What is a node?"}]}
    before, charged = stack.engine_tokens(), stack.charged()
    client.chat.completions.create(**asked, n=2, temperature=1)
    list(client.chat.completions.create(**asked, stream=True))
    two, one = stack.usage_after(charged, 2)
    after = stack.engine_tokens()
    assert after.generation - before.generation == sum(c["completion_tokens"] for c in (two, one))
    # vLLM counts the prompt for each of its choices; it is sold once.
    assert after.prompt - before.prompt == 2 * two["prompt_tokens"] + one["prompt_tokens"]
    said = stack.tollgate("ledger", "reconcile", "--json")
    assert said["agrees"]
    assert said["findings"]["counts"] == []
    (node,) = said["nodes"]
    assert node["verdict"] == "agrees"
