"""Tokens a day of a category of models, at the door of whole gateways."""

from __future__ import annotations

import asyncio
import time

import pytest
from served import configuration, eventually, serve
from together import REDIS, together, write_config

from gateway.config import ConfigError, parse
from metering.cycle import Cycle, cycle_end_ns
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("same_day")]
CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi there"}]
ASKED = {"model": "fake", "messages": HI, "max_tokens": 12}
MOST = 640
"""Tokens that such a request may come to, or a little more."""
LONG = {**ASKED, "max_tokens": 112, "ignore_eos": True}
"""Uses a quota up in few requests."""
MOST_LONG = MOST + 100
EMBED = {"model": "embed", "input": "hi there"}


def quota(category="chat", models=("fake",), tokens=1000, more="") -> str:
    return (
        f'\n[[quota]]\ncategory = "{category}"\nmodels = {list(models)}\n'
        f"tokens_per_day = {tokens}\n{more}\n"
    )


EMBEDDING_MODEL = """
[[model]]
id = "embed"
context_tokens_max = 2048
prompt_usd_per_million = "0.01"
completion_usd_per_million = "0"
kinds = ["embeddings"]
"""
NODE = """
[[node]]
id = "embedder"
supplier = "s"
url = "{}"
model = "embed"
served_model = "fake"
"""


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


async def used_up(served, asked=ASKED, path=CHAT):
    """The refusal, once there is one; how many tokens were answered before."""
    tokens = 0
    while True:
        answer = await served.client.post(path, json=asked)
        if answer.status_code != 200:
            return answer, tokens
        tokens += answer.json()["usage"]["total_tokens"]


async def test_a_quota_is_of_an_account_and_a_category(tmp_path, driver):
    async with FakeNode() as node:
        model = (
            EMBEDDING_MODEL + NODE.format(node.url) + quota() + quota("embeddings", ["embed"], 700)
        )
        config = configuration([node], model=model)
        async with serve(tmp_path, config, driver=driver) as served:
            refused, tokens = await used_up(served)
            assert refused.status_code == 429
            error = refused.json()["error"]
            assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
            assert f"(TPD): Limit 1000, Used {tokens}, Requested" in error["message"]
            assert "T00:00:00Z" in error["message"]
            assert refused.headers["x-should-retry"] == "false"
            resets_s = (cycle_end_ns(Cycle.DAILY, time.time_ns()) - time.time_ns()) / 1e9
            assert abs(int(refused.headers["retry-after"]) - resets_s) < 60
            stream = await served.client.post(CHAT, json={**ASKED, "stream": True})
            assert stream.status_code == 429

            refused, embedded = await used_up(served, EMBED, "/v1/embeddings")
            assert refused.status_code == 429, "each category is counted by itself"
            assert 0 < embedded <= 700
            seen = await eventually(
                lambda: daily_quotas(served, "/v1/usage"),
                lambda found: sum(each["used"] for each in found) == tokens + embedded,
            )
            assert [(each["category"], each["used"]) for each in seen] == [
                ("chat", tokens),
                ("embeddings", embedded),
            ]
            assert seen[0]["remaining"] == 1000 - tokens
            assert seen[0]["models"] == ["fake"]
            assert seen == await daily_quotas(served, "/v1/key")
            served.server._gateway.admission._ids.now_ns = lambda: time.time_ns() + 86_400 * 10**9
            assert (await served.client.post(CHAT, json=ASKED)).status_code == 200


async def daily_quotas(served, path) -> list:
    told = (await served.client.get(path)).json()
    return (told if path == "/v1/usage" else told["data"])["daily_quotas"]


async def test_many_at_once_do_not_pass_a_quota_and_a_restart_remembers_it(tmp_path):
    async with FakeNode() as node:
        config = configuration([node], model=quota(tokens=6000))
        await node.inject(Fault(head_delay_ms=1000, requests=5))
        async with serve(tmp_path, config) as served:
            answers = await asyncio.gather(
                *(served.client.post(CHAT, json=LONG) for _ in range(60))
            )
            statuses = [answer.status_code for answer in answers]
            assert 0 < statuses.count(200) < 60
            assert set(statuses) == {200, 429}
            refused, tokens = await used_up(served, LONG)
            assert refused.status_code == 429
            tokens += sum(
                answer.json()["usage"]["total_tokens"]
                for answer in answers
                if answer.status_code == 200
            )
            assert 6000 - MOST_LONG < tokens <= 6000
        async with serve(tmp_path, config) as served:
            assert (await served.client.post(CHAT, json=LONG)).status_code == 429


async def test_what_is_refused_or_free_of_charge_uses_up_nothing(tmp_path):
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node], model=quota(tokens=MOST))) as served,
    ):
        large = await served.client.post(CHAT, json={**ASKED, "max_tokens": 1000})
        assert large.status_code == 429
        assert "Request too large" in large.json()["error"]["message"]
        assert "retry-after" not in large.headers
        for _ in range(5):
            await node.inject(Fault(status=400, requests=1))
            assert (await served.client.post(CHAT, json=ASKED)).status_code == 400
        _, tokens = await used_up(served)
        assert 0 < tokens <= MOST


async def test_free_tokens_are_of_the_quota_too(tmp_path):
    async with FakeNode() as node:
        config = configuration([node], model="free_tokens_per_day = 700\n" + quota())
        async with serve(tmp_path, config, credit_usd="1") as served:
            _, tokens = await used_up(served)
            charges = await served.charges(tokens // 20)
            free = sum(
                each.prompt_tokens + each.completion_tokens
                for each in charges
                if not each.cost_nano_usd
            )
            assert 0 < free <= 700, free
            assert free < tokens <= 1000, "what is beyond the free ones is paid"


async def test_an_account_may_be_exempt_and_each_model_may_have_its_own(tmp_path):
    async with FakeNode() as node:
        exempt = configuration([node], model=quota(tokens=10, more='exempt_accounts = ["acme"]'))
        async with serve(tmp_path, exempt) as served:
            for _ in range(4):
                assert (await served.client.post(CHAT, json=ASKED)).status_code == 200
            assert await daily_quotas(served, "/v1/usage") == []
        model = EMBEDDING_MODEL + NODE.format(node.url)
        each = quota(models=["fake", "embed"], more="per_model = true")
        async with serve(tmp_path, configuration([node], model=model + each)) as served:
            assert (await used_up(served))[0].status_code == 429
            assert (await served.client.post("/v1/embeddings", json=EMBED)).status_code == 200
            assert len(await daily_quotas(served, "/v1/usage")) == 2


async def test_a_quota_is_that_of_all_workers(tmp_path, redis):
    async with FakeNode() as node:
        write_config(tmp_path, [node], more=quota(tokens=1500) + REDIS)
        async with together(tmp_path, "--workers", "2") as running:
            tokens = refused = 0
            while refused < 40:
                answers = await asyncio.gather(
                    *(running.client.post(CHAT, json=LONG) for _ in range(10))
                )
                for answer in answers:
                    assert answer.status_code in (200, 429)
                    refused = refused + 1 if answer.status_code == 429 else 0
                    if answer.status_code == 200:
                        tokens += answer.json()["usage"]["total_tokens"]
            assert 1500 - MOST_LONG < tokens <= 1500
            await running.end()


@pytest.mark.parametrize(
    ("sections", "found"),
    [
        (quota("Chat"), "is no name"),
        (quota() + quota(models=["fake"]), "configured twice"),
        (quota() + quota("other"), "a model is of one category"),
        (quota(models=["none"]), "is no .*model"),
        (quota(models=[]), "names no models"),
        (quota(tokens=0), "tokens_per_day"),
    ],
)
async def test_a_quota_that_cannot_be_meant_is_refused(sections, found):
    model = '[[model]]\nid = "fake"\ncontext_tokens_max = 10\nprompt_usd_per_million = "1"\n'
    with pytest.raises(ConfigError, match=found):
        parse(model + 'completion_usd_per_million = "1"\n' + sections)
