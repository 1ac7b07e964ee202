"""Files and batches over a real socket, by the official SDK."""

from __future__ import annotations

import io
import json
from pathlib import Path

import openai
import pytest
from served import Served, configuration, eventually, serve

from gateway.config import Config
from metering.charge import ChargeRecord
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
OVER = ("completed", "failed", "expired", "cancelled")


def sdk(gateway: Served, key: str | None = None) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{gateway.base_url}/v1", api_key=key or gateway.secret, max_retries=0
    )


def line(number: int, url: str = CHAT, **body: object) -> dict:
    asked = {"model": "fake", "max_tokens": 8, "messages": [{"role": "user", "content": "Hi."}]}
    return {
        "custom_id": f"line-{number}",
        "method": "POST",
        "url": url,
        "body": asked | body,
    }


def jsonl(*lines: dict) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(each).encode() + b"\n" for each in lines))


def half_price(nodes: list[FakeNode], **options) -> Config:
    """What batches cost is half of what the rest does."""
    config = configuration(nodes, **options)
    return config.at() if not nodes else _discounted(config)


def _discounted(config: Config) -> Config:
    import msgspec

    (model,) = config.model
    return msgspec.structs.replace(
        config, model=(msgspec.structs.replace(model, batch_discount_ppm=500_000),)
    )


async def run_batch(client: openai.AsyncOpenAI, *lines: dict, endpoint: str = CHAT, **options):
    file = await client.files.create(file=("in.jsonl", jsonl(*lines)), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **options
    )


async def until_over(client: openai.AsyncOpenAI, batch_id: str, *, within_s: float = 30):
    return await eventually(
        lambda: client.batches.retrieve(batch_id),
        lambda batch: batch.status in OVER,
        within_s=within_s,
    )


async def lines_of(client: openai.AsyncOpenAI, file_id: str) -> list[dict]:
    content = await client.files.content(file_id)
    return [json.loads(each) for each in content.text.splitlines()]


def paid(charges: list[ChargeRecord]) -> list[ChargeRecord]:
    return [charge for charge in charges if charge.usage_source is not None]


async def test_a_batch_is_answered_and_charged_at_its_own_price(tmp_path: Path) -> None:
    async with FakeNode() as node, serve(tmp_path, half_price([node])) as gateway:
        async with sdk(gateway) as client:
            lines = [line(number, seed=number) for number in range(5)]
            created = await run_batch(client, *lines, metadata={"job": "nightly"})
            assert created.status == "validating"
            batch = await until_over(client, created.id)
            assert batch.status == "completed"
            answers = await lines_of(client, batch.output_file_id)
            listed = await client.files.list(purpose="batch_output")
        charges = await gateway.charges(5)
    assert batch.error_file_id is None
    assert batch.metadata == {"job": "nightly"}
    assert (batch.request_counts.total, batch.request_counts.completed) == (5, 5)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert batch.expires_at == batch.created_at + 24 * 3600
    assert [answer["custom_id"] for answer in answers] == [f"line-{n}" for n in range(5)]
    assert [file.id for file in listed.data] == [batch.output_file_id]
    by_id = {charge.request_id: charge for charge in charges}
    for answer in answers:
        assert answer["error"] is None
        response = answer["response"]
        assert response["status_code"] == 200
        charge = by_id.pop(response["request_id"])
        assert "~batch:500000" in charge.price_version
        used = response["body"]["usage"]
        assert used["completion_tokens"] == charge.completion_tokens == 8
        assert (
            charge.cost_nano_usd
            == 100 * (charge.prompt_tokens - charge.cached_tokens)
            + 50 * charge.cached_tokens
            + 300 * 8
        )
    assert not by_id
    assert batch.usage.output_tokens == 40
