"""Lines of batches, and what must be true of a batch that is over: for tests and measurements."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import openai
from served import eventually

from metering.charge import ChargeRecord
from metering.sqlite_ledger import SqliteLedger

CHAT = "/v1/chat/completions"
OVER = ("completed", "failed", "expired", "cancelled")


def sdk(base_url: str, key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0)


def line(number: int, url: str = CHAT, **body: object) -> dict:
    asked = {"model": "fake", "max_tokens": 8, "messages": [{"role": "user", "content": "Hi."}]}
    return {"custom_id": f"line-{number}", "method": "POST", "url": url, "body": asked | body}


def jsonl(lines: Iterable[dict]) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(each).encode() + b"\n" for each in lines))


async def create(
    client: openai.AsyncOpenAI, *lines: dict, endpoint: str = CHAT, **options: object
) -> openai.types.Batch:
    file = await client.files.create(file=("in.jsonl", jsonl(lines)), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **options
    )


async def until_over(
    client: openai.AsyncOpenAI, batch_id: str, *, within_s: float = 60
) -> openai.types.Batch:
    return await eventually(
        lambda: client.batches.retrieve(batch_id),
        lambda batch: batch.status in OVER,
        within_s=within_s,
    )


async def lines_of(client: openai.AsyncOpenAI, file_id: str) -> list[dict]:
    content = await client.files.content(file_id)
    return [json.loads(each) for each in content.text.splitlines()]


def charges_of(home: Path) -> list[ChargeRecord]:
    """Of books that add up, with nothing set aside any more."""
    with contextlib.closing(SqliteLedger(home / "ledger.db")) as ledger:
        found = ledger.verify()
        assert found.ok, found.problem
        assert not any(entry.balance.debits_pending for entry in ledger.trial_balance())
        return list(ledger.charges())


def check_once(answers: list[dict], charges: list[ChargeRecord], lines: int) -> None:
    """Each line has one answer, and one charge: of just what the answer says."""
    custom_ids = Counter(answer["custom_id"] for answer in answers)
    assert custom_ids == Counter(f"line-{number}" for number in range(lines))
    paid = [charge for charge in charges if charge.usage_source is not None]
    by_request = {charge.request_id: charge for charge in paid}
    assert len(by_request) == len(paid) == lines
    for answer in answers:
        response = answer["response"]
        assert response["status_code"] == 200
        used, charge = response["body"]["usage"], by_request[response["request_id"]]
        assert used["completion_tokens"] == charge.completion_tokens
        assert used["prompt_tokens"] == charge.prompt_tokens
