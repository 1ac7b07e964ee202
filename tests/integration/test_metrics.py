"""`/metrics` of a gateway that serves: what docs/metrics.md has, with the labels told there."""

from __future__ import annotations

import contextlib
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import configuration, eventually, serve

from gateway.telemetry.all_metrics import ALL_METRICS
from gateway.telemetry.definition import Kind
from ide.params import IdeParams
from ide.settlement import settle
from metering.credit_line import set_line
from metering.cycle import Cycle
from metering.key_patch import KeyPatch
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.sqlite_database import SqliteDatabase
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("same_day")]
CHAT = "/v1/chat/completions"
ASKED = {"model": "fake", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello."}]}
STREAMED = ASKED | {"stream": True}


async def test_what_is_told_is_what_is_listed(tmp_path) -> None:
    listed = {metric.name: metric for metrics in ALL_METRICS.values() for metric in metrics}
    async with (
        FakeNode() as node,
        FakeNode() as other,
        serve(tmp_path, configuration([node, other])) as gateway,
    ):
        await other.inject(Fault(status=500))
        asked = 0
        while asked < 6 or not await gateway.metric("tollgate_failovers_total"):
            assert asked < 100
            words = [{"role": "user", "content": f"Hello {asked}."}]  # each a session of its own
            body = (STREAMED if asked % 2 else ASKED) | {"messages": words}
            (await gateway.client.post(CHAT, json=body)).raise_for_status()
            asked += 1
        assert (await gateway.client.post(CHAT, json=ASKED | {"model": "x"})).status_code == 404
        await gateway.charges(asked)
        with gateway.ledger() as ledger:
            settle(ledger, IdeParams(), io_price_nano_usd=10**8, now_ns=time.time_ns())
        await eventually(
            lambda: gateway.metric("tollgate_epoch"), lambda epoch: epoch == 1, within_s=15
        )
        text = (await gateway.client.get("/metrics")).text
    told = {}
    for family in text_string_to_metric_families(text):
        name = family.name.removesuffix("_created")
        assert name in listed, f"{family.name} is in no list of gateway/telemetry"
        told[name] = listed[name]
        if family.name.endswith("_created"):
            continue
        assert family.type == listed[name].kind
        assert family.documentation == listed[name].help
        for sample in family.samples:
            extra = {"le"} if listed[name].kind is Kind.HISTOGRAM else set()
            assert set(sample.labels) - extra == set(listed[name].labels), sample
    assert set(listed) - set(told) <= {
        "tollgate_node_requests_waiting",
        "tollgate_node_requests_running",
        "tollgate_node_kv_cache_usage_ratio",
        "tollgate_canaries",
        "tollgate_findings",
        "tollgate_hedges",
        "tollgate_resumes",
        "tollgate_recounts",
        "tollgate_oracle_price_usd",
        "tollgate_oracle_stale",
        "tollgate_oracle_sources_failing",
    }


async def test_an_aggregators_key_is_of_another_class(tmp_path) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        database = SqliteDatabase(tmp_path / "ledger.db")
        _, secret = KeyStore(database).create("acme", "or", terms=KeyTerms(usage_always=True))
        database.close()
        keys = (secret, gateway.secret, secret)
        for key in keys:
            headers = {"authorization": f"Bearer {key}"}
            (await gateway.client.post(CHAT, json=STREAMED, headers=headers)).raise_for_status()
        for key_class, times in (("aggregator", 2), ("direct", 1)):
            name = "tollgate_time_to_first_token_seconds_count"
            assert await gateway.metric(name, key_class=key_class) == times


async def test_how_full_budgets_are(tmp_path) -> None:
    quota = '[[quota]]\ncategory = "chat"\nmodels = ["fake"]\ntokens_per_day = 10_000\n'
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node], model=quota)) as gateway,
        contextlib.AsyncExitStack() as stack,
    ):
        database = stack.enter_context(contextlib.closing(SqliteDatabase(tmp_path / "ledger.db")))
        keys = KeyStore(database)
        made = [keys.create("acme") for _ in range(4)]
        for _, secret in made:
            headers = {"authorization": f"Bearer {secret}"}
            (await gateway.client.post(CHAT, json=ASKED, headers=headers)).raise_for_status()
        charges = await gateway.charges(len(made))
        cost = {charge.key_id: charge.charged_nano_usd for charge in charges}
        for (key, _), percent in zip(made, (100, 108, 180, 300), strict=True):
            cap = cost[key.key_id] * percent // 100
            keys.update(key.key_id, KeyPatch(spend_cap_nano_usd=cap, spend_cycle=Cycle.MONTHLY))
        with gateway.ledger() as ledger:
            assert set_line(ledger, "test", "bob", 1_000)
        bands = ("full", "nine_tenths", "half", "under_half")
        for use in bands:
            await eventually(
                lambda use=use: gateway.metric("tollgate_spend_caps", use=use),
                lambda count: count == 1,
                within_s=20,
            )
        lines = [await gateway.metric("tollgate_credit_lines", use=use) for use in bands]
        assert lines == [0, 0, 0, 1]
        tokens = sum(charge.prompt_tokens + charge.completion_tokens for charge in charges)
        used = await gateway.metric("tollgate_quota_use_ratio", quota="chat")
        assert used == pytest.approx(tokens / 10_000)
