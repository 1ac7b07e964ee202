"""Batches over a real socket, by the official SDK."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import openai
import pytest
from batch_lines import check_once, create, jsonl, line, lines_of, sdk, until_over
from served import Served, configuration, eventually, serve, stranger

from gateway.config import Config
from metering.charge import ChargeRecord
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.limits import Limits
from metering.sqlite_database import SqliteDatabase
from serving.fake_faults import Fault
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio


def half_price(nodes: list[FakeNode], **options) -> Config:
    """What batches cost is half of what the rest does."""
    config = configuration(nodes, **options)
    (model,) = config.model
    discounted = msgspec.structs.replace(model, batch_discount_ppm=500_000)
    return msgspec.structs.replace(config, model=(discounted,))


def client_of(gateway: Served, key: str | None = None) -> openai.AsyncOpenAI:
    return sdk(gateway.base_url, key or gateway.secret)


def new_key(gateway: Served, **terms) -> str:
    with contextlib.closing(SqliteDatabase(gateway.home / "ledger.db")) as database:
        return KeyStore(database).create("acme", "batches", KeyTerms(**terms))[1]


async def paid(gateway: Served, count: int) -> list[ChargeRecord]:
    """The charges that cost something, once there are so many."""

    def look() -> list[ChargeRecord]:
        with gateway.ledger() as ledger:
            return [charge for charge in ledger.charges() if charge.usage_source is not None]

    return await eventually(look, lambda found: len(found) >= count)


async def test_a_batch_is_answered_and_charged_at_its_own_price(tmp_path: Path) -> None:
    async with FakeNode() as node, serve(tmp_path, half_price([node])) as gateway:
        async with client_of(gateway) as client:
            lines = [line(number, seed=number) for number in range(5)]
            created = await create(client, *lines, metadata={"job": "nightly"})
            assert created.status == "validating"
            batch = await until_over(client, created.id)
            answers = await lines_of(client, batch.output_file_id)
            listed = await client.files.list(purpose="batch_output")
        charges = await paid(gateway, 5)
    assert batch.status == "completed"
    assert batch.model == "fake"
    assert batch.error_file_id is None
    assert batch.metadata == {"job": "nightly"}
    assert (batch.request_counts.total, batch.request_counts.completed) == (5, 5)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert batch.expires_at == batch.created_at + 24 * 3600
    assert [file.id for file in listed.data] == [batch.output_file_id]
    check_once(answers, charges, 5)
    for charge in charges:
        assert "~batch:500000" in charge.price_version
        fresh = charge.prompt_tokens - charge.cached_tokens
        assert charge.cost_nano_usd == 100 * fresh + 50 * charge.cached_tokens + 300 * 8
    assert batch.usage.output_tokens == 40
    assert batch.usage.input_tokens == sum(charge.prompt_tokens for charge in charges)


async def test_completions_and_embeddings_run_in_batches_too(tmp_path: Path) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        async with client_of(gateway) as client:
            asked = {
                "/v1/completions": {"model": "fake", "prompt": "one two", "max_tokens": 4},
                "/v1/embeddings": {"model": "fake", "input": ["one", "two"]},
            }
            kinds = {}
            for endpoint, body in asked.items():
                request = line(0, endpoint) | {"body": body}
                batch = await create(client, request, endpoint=endpoint)
                batch = await until_over(client, batch.id)
                (answer,) = await lines_of(client, batch.output_file_id)
                kinds[endpoint] = answer["response"]["body"]["object"]
        await paid(gateway, 2)
    assert kinds == {"/v1/completions": "text_completion", "/v1/embeddings": "list"}


async def test_a_line_that_a_node_refuses_or_fails_is_in_the_error_file(tmp_path: Path) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        async with client_of(gateway) as client:
            lines = [line(0), line(1, temperature=9.5), line(2, max_tokens=100_000)]
            batch = await until_over(client, (await create(client, *lines)).id)
            answers = await lines_of(client, batch.output_file_id)
            failures = await lines_of(client, batch.error_file_id)
        await paid(gateway, 1)
    assert batch.status == "completed"
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 2)
    assert [answer["custom_id"] for answer in answers] == ["line-0"]
    assert [failure["custom_id"] for failure in failures] == ["line-1", "line-2"]
    told = [failure["response"] for failure in failures]
    assert [response["status_code"] for response in told] == [400, 400]
    assert told[0]["body"]["error"]["param"] == "temperature"
    assert told[1]["body"]["error"]["code"] == "context_length_exceeded"


async def test_a_node_that_fails_for_a_while_costs_no_line(tmp_path: Path) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        await node.inject(Fault(status=503, requests=4))
        async with client_of(gateway) as client:
            lines = [line(number, seed=number) for number in range(6)]
            batch = await until_over(client, (await create(client, *lines)).id)
            answers = await lines_of(client, batch.output_file_id)
        check_once(answers, await paid(gateway, 6), 6)


BAD_INPUTS = {
    "invalid_json_line": b"{oops\n",
    "invalid_request_line": b'{"custom_id": "1", "method": "POST"}\n',
    "invalid_method": line(0) | {"method": "GET"},
    "invalid_url": line(0, "/v1/embeddings"),
    "invalid_request_body": line(0) | {"body": {"messages": []}},
    "streaming_unsupported": line(0, stream=True),
    "model_not_found": line(0, model="nobodys"),
    "empty_file": b"\n\n",
}


@pytest.mark.parametrize("code", [*BAD_INPUTS, "duplicate_custom_id", "mismatched_model"])
async def test_an_input_that_is_no_batch_fails_and_says_which_line(
    code: str, tmp_path: Path
) -> None:
    bad = BAD_INPUTS.get(code, b"")
    content = jsonl([bad]).read() if isinstance(bad, dict) else bad
    if code == "duplicate_custom_id":
        content = jsonl([line(1), line(1)]).read()
    if code == "mismatched_model":
        content = jsonl([line(1), line(2, model="other")]).read()
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        async with client_of(gateway) as client:
            file = await client.files.create(file=("x.jsonl", content), purpose="batch")
            batch = await client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
            )
            batch = await until_over(client, batch.id)
        assert batch.status == "failed"
        (problem,) = batch.errors.data
        assert problem.code == code
        assert problem.line == {"duplicate_custom_id": 2, "mismatched_model": 2}.get(
            code, None if code == "empty_file" else 1
        )
        assert not node.received


async def test_a_cancelled_batch_gives_out_what_it_has(tmp_path: Path) -> None:
    lines = [line(number, seed=number, max_tokens=4) for number in range(400)]
    async with (
        FakeNode(pace=Pace(ttft_ms=30)) as node,
        serve(tmp_path, configuration([node])) as gateway,
    ):
        async with client_of(gateway) as client:
            batch_id = (await create(client, *lines)).id
            await eventually(
                lambda: client.batches.retrieve(batch_id),
                lambda batch: batch.request_counts.completed >= 10,
                within_s=30,
            )
            cancelling = await client.batches.cancel(batch_id)
            assert cancelling.status == "cancelling"
            batch = await until_over(client, batch_id)
            answers = await lines_of(client, batch.output_file_id)
            failures = await lines_of(client, batch.error_file_id)
            with pytest.raises(openai.ConflictError):
                await client.batches.cancel(batch_id)
        charges = await paid(gateway, len(answers))
    assert batch.status == "cancelled"
    assert batch.cancelled_at >= batch.cancelling_at
    assert batch.request_counts.completed == len(answers) >= 10
    assert len(answers) + len(failures) == 400
    assert {failure["error"]["code"] for failure in failures} == {"batch_cancelled"}
    assert {charge.request_id for charge in charges} == {
        answer["response"]["request_id"] for answer in answers
    }


async def test_a_batch_that_is_not_done_in_its_window_expires(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gateway.routes.batches.WINDOW_NS", 4 * 10**9)
    lines = [line(number, seed=number) for number in range(300)]
    async with (
        FakeNode(pace=Pace(ttft_ms=200)) as node,
        serve(tmp_path, configuration([node])) as gateway,
        client_of(gateway) as client,
    ):
        batch = await until_over(client, (await create(client, *lines)).id)
        answers = await lines_of(client, batch.output_file_id) if batch.output_file_id else []
        failures = await lines_of(client, batch.error_file_id)
    assert batch.status == "expired"
    assert batch.expired_at >= batch.expires_at
    assert len(answers) + len(failures) == 300
    assert {failure["error"]["code"] for failure in failures} == {"batch_expired"}


async def test_lines_wait_for_the_limits_of_their_key(tmp_path: Path) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        key = new_key(gateway, limits=Limits(concurrent_requests=1))
        async with client_of(gateway, key) as client:
            lines = [line(number, seed=number) for number in range(8)]
            batch = await until_over(client, (await create(client, *lines)).id)
            answers = await lines_of(client, batch.output_file_id)
        check_once(answers, await paid(gateway, 8), 8)
    assert batch.request_counts.failed == 0


async def test_lines_fail_when_the_credit_is_used_up(tmp_path: Path) -> None:
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node]), credit_usd="0.0004") as gateway,
    ):
        async with client_of(gateway) as client:
            lines = [line(number, seed=number) for number in range(40)]
            batch = await until_over(client, (await create(client, *lines)).id)
            failures = await lines_of(client, batch.error_file_id)
        charges = await paid(gateway, batch.request_counts.completed)
    assert batch.request_counts.failed == len(failures) > 0
    assert batch.request_counts.completed == len(charges) > 0
    assert {each["response"]["status_code"] for each in failures} == {402}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"endpoint": "/v1/moderations"}, 400),
        ({"completion_window": "1h"}, 400),
        ({"input_file_id": "file-nobodys"}, 404),
        ({"metadata": {"k": 1}}, 400),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, 400),
    ],
)
async def test_a_batch_that_makes_no_sense_is_refused(
    change: dict, status: int, tmp_path: Path
) -> None:
    async with serve(tmp_path, configuration([])) as gateway, client_of(gateway) as client:
        file = await client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch")
        asked = {
            "input_file_id": file.id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        answer = await gateway.client.post("/v1/batches", json=asked | change)
        assert answer.status_code == status, answer.text


async def test_batches_are_listed_page_by_page_to_their_account(tmp_path: Path) -> None:
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node])) as gateway,
        client_of(gateway) as client,
        client_of(gateway, stranger(gateway)) as other,
    ):
        ids = [(await create(client, line(n))).id for n in range(3)]
        assert [batch.id async for batch in client.batches.list(limit=2)] == ids[::-1]
        assert not (await other.batches.list()).data
        with pytest.raises(openai.NotFoundError):
            await other.batches.retrieve(ids[0])
        with pytest.raises(openai.NotFoundError):
            await other.batches.cancel(ids[0])


async def test_a_stop_leaves_a_batch_to_go_on_after_the_next_start(tmp_path: Path) -> None:
    lines = [line(number, seed=number) for number in range(60)]
    async with FakeNode(pace=Pace(ttft_ms=50)) as node:
        async with serve(tmp_path, configuration([node])) as gateway:
            secret = gateway.secret
            async with client_of(gateway) as client:
                batch_id = (await create(client, *lines)).id
                await eventually(
                    lambda: client.batches.retrieve(batch_id),
                    lambda batch: batch.request_counts.completed >= 5,
                )
        async with serve(tmp_path, configuration([node])) as gateway:
            async with client_of(gateway, secret) as client:
                batch = await until_over(client, batch_id)
                answers = await lines_of(client, batch.output_file_id)
            check_once(answers, await paid(gateway, 60), 60)
