"""The ledger against nodes' own counters and against the spool, over real sockets and files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from customer_api import ADMIN_KEY
from served import MODEL, NODE, configuration, eventually, serve

from gateway.cli import main
from gateway.honesty.counter_check import CounterCheck
from gateway.honesty.node_counters import CountersUnreadError, NodeCounters, counters_in
from metering.reading_store import ReadingStore
from metering.reconcile import LAG_NS, Verdict
from metering.spool_check import check_spool
from metering.sqlite_database import SqliteDatabase
from router.types import NodeRecord
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 30}


def record(node: FakeNode, node_id: str = "node-0") -> NodeRecord:
    return NodeRecord(
        node_id=node_id, supplier_id="supplier-0", url=node.url, model="fake", capacity=4
    )


@contextlib.contextmanager
def stores(home: Path):
    with contextlib.closing(SqliteDatabase(home / "ledger.db")) as database:
        yield database


async def compared(served, record_: NodeRecord, *, later_ns: int = 0):
    """The node's counters against the ledger, read so much later than it is."""

    def check():
        with stores(served.home) as database, served.ledger() as ledger:
            at = CounterCheck(
                ReadingStore(database),
                NodeCounters({}, {}),
                ledger.last_seq,
                lambda: time.time_ns() + later_ns,
            )
            (found,) = at.run([record_])
            return found

    return await asyncio.to_thread(check)


async def ask(served, count: int, **fields) -> None:
    for _ in range(count):
        answer = await served.client.post(CHAT, json=ASKED | fields)
        assert answer.status_code == 200, answer.text
    await served.charges(count)


async def test_an_honest_node_agrees_also_with_other_traffic_and_many_choices(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        node_ = record(node, "node-0")
        with stores(tmp_path) as database:
            await eventually(lambda: ReadingStore(database).last("node-0"), bool)
        await ask(served, 4, stream=True)
        await ask(served, 6, n=3)
        await served.charges(10)
        node.engine.generation_tokens += 1_000  # somebody else's
        found = await compared(served, node_, later_ns=2 * LAG_NS)
        assert found.verdict is Verdict.AGREES
        assert found.charges == 10
        assert found.ledger_completion_tokens == node.engine.generation_tokens - 1_000
        assert found.node_prompt_tokens > found.ledger_prompt_tokens > 0


@pytest.mark.parametrize(
    "fault", [Fault(inflate_usage_percent=10), Fault(inflate_prompt_percent=10)]
)
async def test_a_node_whose_counters_are_below_its_claims_is_found(tmp_path, fault):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        with stores(tmp_path) as database:
            await eventually(lambda: ReadingStore(database).last("node-0"), bool)
        await node.inject(fault)
        await ask(served, 5)
        found = await compared(served, record(node), later_ns=2 * LAG_NS)
        assert found.verdict is Verdict.EXCEEDS
        assert found.finding is not None
        assert found.finding.claimed > found.finding.expected
        again = await compared(served, record(node), later_ns=4 * LAG_NS)
        assert (again.verdict, again.charges) == (Verdict.AGREES, 0)


async def test_a_node_that_does_not_tell_is_unread(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        with stores(tmp_path) as database:
            await eventually(lambda: ReadingStore(database).last("node-0"), bool)
        gone = record(node)
        await node.inject(Fault(refuse_connections=True))
        found = await compared(served, gone)
        assert found.verdict is Verdict.UNREAD
        assert "metrics" in found.problem
        assert found.finding is None


def test_counters_are_read_out_of_prometheus_text():
    text = """# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="m"} 5.0
vllm:prompt_tokens_total{engine="1",model_name="m"} 7.0
vllm:prompt_tokens_total{engine="0",model_name="other"} 70.0
# TYPE vllm:prompt_tokens_created gauge
vllm:prompt_tokens_created{engine="0",model_name="m"} 1.5e+09
# TYPE vllm:prompt_tokens_by_source_created gauge
vllm:prompt_tokens_by_source_created{engine="0",model_name="m",source="transfer"} 1.6e+09
# TYPE vllm:prompt_tokens_cached_total counter
vllm:prompt_tokens_cached_total{engine="0",model_name="m"} 3.0
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="m"} 1e+06
"""
    found = counters_in(text, "m")
    assert (found.prompt_tokens, found.completion_tokens) == (12, 10**6)
    assert found.epoch == 1_500_000_000 * 10**9
    for bad in ("", text.replace("1e+06", "many"), text.replace('"m"', '"x"')):
        with pytest.raises(CountersUnreadError):
            counters_in(bad, "m")


async def test_the_command_lists_exits_and_agrees(tmp_path):
    async with FakeNode() as node:
        text = MODEL.format(server="") + NODE.format(
            index=0, url=node.url, engine="vllm", capacity=4
        )
        (tmp_path / "tollgate.toml").write_text(text)
        (tmp_path / "admin_key").write_text(ADMIN_KEY + "\n")
        async with serve(tmp_path, configuration([node])) as served:
            with stores(tmp_path) as database:
                await eventually(lambda: ReadingStore(database).last("node-0"), bool)
            await ask(served, 5)
            code, found = await reconciled(tmp_path)
            assert (code, found["agrees"]) == (0, True)
            assert [entry["verdict"] for entry in found["nodes"]] == ["agrees"]
            (spool,) = found["spools"]
            assert spool["agrees"]
            assert spool["in_spool"] == spool["in_ledger"]
            assert spool["in_spool"]["charges"] == 5
            assert found["findings"] == {"counts": [], "newest": []}
            await node.inject(Fault(inflate_usage_percent=50))
            await ask(served, 10)
            done_ns = max(charge.closed_ns for charge in await served.charges(15))
            await eventually(time.time_ns, lambda now_ns: now_ns > done_ns + LAG_NS)
            code, found = await reconciled(tmp_path)
            assert (code, found["agrees"]) == (1, False)
            assert "node_counters" in [entry["kind"] for entry in found["findings"]["newest"]]
            answer = await served.client.get(
                "/admin/v1/findings?node=node-0&kind=node_counters",
                headers={"authorization": f"Bearer {ADMIN_KEY}"},
            )
            assert answer.status_code == 200, answer.text
            (shown,) = answer.json()["data"]
            assert (shown["kind"], shown["node_id"]) == ("node_counters", "node-0")
            assert shown["claimed"] > shown["expected"]
            plain = await asyncio.to_thread(
                CliRunner().invoke, main, ["ledger", "reconcile", "--home", str(tmp_path)]
            )
            assert plain.exit_code == 0
            assert "node_counters" in plain.stdout
            assert "spool: 15 charges booked, 0 waiting; agrees" in plain.stdout


async def reconciled(home: Path) -> tuple[int, dict]:
    asked = ["ledger", "reconcile", "--json", "--home", str(home)]
    done = await asyncio.to_thread(CliRunner().invoke, main, asked)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.stdout)


async def test_a_charge_that_the_ledger_has_otherwise_is_named(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        await ask(served, 3)
        with stores(tmp_path) as database, served.ledger() as ledger:
            assert check_spool(tmp_path / "spool", ledger.watermark, database).agrees
            database.query("DROP TRIGGER charge_is_final")
            ((wrong,),) = database.query(
                "UPDATE charge SET completion_tokens = 1 WHERE seq = (SELECT max(seq) FROM charge)"
                " RETURNING charge_id"
            )
            found = check_spool(tmp_path / "spool", ledger.watermark, database)
        assert found.first_wrong == wrong
        assert found.in_spool.completion_tokens > found.in_ledger.completion_tokens
