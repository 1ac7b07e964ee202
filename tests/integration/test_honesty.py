"""Honest and dishonest nodes on real sockets: who is found, how soon, and who is left alone."""

from __future__ import annotations

import random

import msgspec
import pytest
from served import configuration, eventually, serve
from word_tokenizer import WORDS, write_word_tokenizer

from gateway.config import Config
from gateway.honesty.config import HonestyConfig
from gateway.honesty.recounts import ALL_ANSWERS
from metering.finding import FindingKind
from metering.finding_store import FindingStore
from metering.sqlite_database import SqliteDatabase
from metering.tokens import TokenCounter
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"


def config(tmp_path, nodes, **honesty: int) -> Config:
    """The usual configuration, with a tokenizer that agrees with the engine."""
    base = configuration(nodes)
    tokenizer = write_word_tokenizer(tmp_path / "tokenizer.json")
    (model,) = base.model
    named = msgspec.structs.replace(model, tokenizer_file=str(tokenizer))
    return msgspec.structs.replace(base, model=(named,), honesty=HonestyConfig(**honesty))


def chat(rng: random.Random, **fields) -> dict:
    """A chat of some length, about nothing."""
    text = " ".join(rng.choices(WORDS, k=rng.randrange(4, 120)))
    messages = [{"role": "user", "content": text}]
    if rng.random() < 0.5:
        messages.insert(0, {"role": "system", "content": "keeps each count"})
    return {
        "model": "fake",
        "messages": messages,
        "max_tokens": rng.randrange(8, 60),
        "seed": rng.randrange(10**6),
        "stream": rng.random() < 0.5,
        **fields,
    }


def findings(home) -> list:
    database = SqliteDatabase(home / "ledger.db")
    try:
        return [finding for _, finding in FindingStore(database).newest(limit=1000)]
    finally:
        database.close()


async def ask(served, rng, count: int, **fields) -> None:
    for _ in range(count):
        answer = await served.client.post(CHAT, json=chat(rng, **fields))
        assert answer.status_code == 200, answer.text


async def checked(served, count: int) -> None:
    """Once so many samples were judged."""
    await eventually(lambda: served.metric("tollgate_recounts_total"), lambda n: n >= count)


def test_the_words_tokenizer_agrees_with_the_engine(tmp_path):
    counter = TokenCounter.from_tokenizer_json(write_word_tokenizer(tmp_path / "t.json"))
    rng = random.Random(1)
    for _ in range(100):
        words = rng.choices(WORDS, k=rng.randrange(1, 50))
        assert counter.count(" ".join(words)) == len(words)


@pytest.mark.parametrize("driver", ["protocol", "asgi"])
async def test_an_honest_node_is_left_alone(tmp_path, driver):
    async with (
        FakeNode() as node,
        serve(tmp_path, config(tmp_path, [node]), driver=driver) as served,
    ):
        await ask(served, random.Random(2), 120)
        await ask(served, random.Random(3), 30, n=3)
        await checked(served, 150)
        assert await served.metric("tollgate_recounts_total", result="honest") == 150
        assert await served.metric("tollgate_findings_total") == 0
        assert findings(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(inflate_usage_percent=100), FindingKind.COMPLETION_COUNT),
        (Fault(inflate_usage_percent=10), FindingKind.COMPLETION_DRIFT),
        (Fault(inflate_prompt_percent=10), FindingKind.PROMPT_DRIFT),
        (Fault(claim_prompt_tokens=300), FindingKind.PROMPT_COUNT),
        (Fault(claim_prompt_tokens=100_000), FindingKind.IMPOSSIBLE),
    ],
)
async def test_a_dishonest_node_is_found_within_two_hundred_requests(tmp_path, fault, kind):
    async with FakeNode() as node, serve(tmp_path, config(tmp_path, [node])) as served:
        await node.inject(fault)
        await ask(served, random.Random(4), 60)
        await eventually(
            lambda: served.metric("tollgate_findings_total", node="node-0", kind=kind),
            lambda n: n >= 1,
        )
        found = await eventually(
            lambda: [f for f in findings(tmp_path) if f.kind is kind], lambda f: bool(f)
        )
    first = found[-1]
    assert (first.node_id, first.supplier_id, first.model) == ("node-0", "supplier-0", "fake")
    assert first.claimed > first.expected
    with_request = (FindingKind.COMPLETION_COUNT, FindingKind.PROMPT_COUNT, FindingKind.IMPOSSIBLE)
    assert (first.request_id is not None) == (kind in with_request)


async def test_a_finding_corrects_no_bill_and_the_liar_gets_less_to_do(tmp_path):
    async with (
        FakeNode() as liar,
        FakeNode() as honest,
        serve(tmp_path, config(tmp_path, [liar, honest])) as served,
    ):
        await liar.inject(Fault(inflate_usage_percent=100))
        rng = random.Random(5)
        for asked in range(2, 62, 2):
            await ask(served, rng, 2)
            await checked(served, asked)
        charges = await served.charges(60)
        of_liar = [charge for charge in charges if charge.node_id == "node-0"]
        assert of_liar
        assert sum(c.completion_tokens for c in of_liar) == 2 * liar.engine.generation_tokens
        assert len(of_liar) < 15 < len(charges) - len(of_liar)


async def test_nothing_is_checked_where_it_is_off(tmp_path):
    off = {"recount_one_in": 0, "counters_interval_s": 0}
    async with FakeNode() as node, serve(tmp_path, config(tmp_path, [node], **off)) as served:
        await node.inject(Fault(inflate_usage_percent=100, claim_prompt_tokens=2_000))
        await ask(served, random.Random(6), 5)
        await served.charges(5)
        assert await served.metric("tollgate_recounts_total") == 0
        assert await served.metric("tollgate_findings_total") == 0


async def test_after_the_first_answers_one_in_so_many_is_checked(tmp_path):
    async with FakeNode() as node:
        rare = config(tmp_path, [node], recount_one_in=4)
        async with serve(tmp_path, rare) as served:
            await ask(served, random.Random(7), ALL_ANSWERS + 100, max_tokens=2, stream=False)
            await served.charges(ALL_ANSWERS + 100)
            await checked(served, ALL_ANSWERS + 5)
            assert await served.metric("tollgate_recounts_total") < ALL_ANSWERS + 60
