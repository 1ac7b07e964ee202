"""What the metrics say of requests played to their end."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import msgspec
import pytest
from served import sample_sum

from gateway import errors
from gateway.exchange.exchange import Exchange
from gateway.home import Home
from gateway.openai.request import Endpoint, read
from gateway.scorecard.rules import End
from gateway.telemetry.report_files import ReportFiles
from gateway.telemetry.reports import Report
from gateway.telemetry.telemetry import Telemetry
from gateway.timeouts import Timeouts
from metering.charge import OpenCharge
from metering.prices import ModelPrice
from metering.usage import Usage
from router.policy import Policy
from router.registry import Registry
from router.router import Router
from router.types import NodeRecord, RequestFeatures

pytestmark = pytest.mark.anyio
PRICE = ModelPrice(
    version="1", prompt_nano_usd=200, cached_prompt_nano_usd=100, completion_nano_usd=600
)
NODE = NodeRecord(
    node_id="n", supplier_id="s", url="http://127.0.0.1:1", model="m", capacity=4, engine="vllm"
)
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}'
FIRST = (
    b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],'
    b'"usage":{"prompt_tokens":7,"total_tokens":8,"completion_tokens":1}}\n\n'
)
LAST = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\ndata: [DONE]\n\n'


class NoTill:
    backlog_rows = 3
    lag_seconds = 1.5
    recording = True
    rows_max = 1000
    posting = True
    held_nano_usd = 250_000_000
    sharing_away = False


def new_router() -> Router:
    registry = Registry()
    registry.update("test", [NODE])
    return Router(registry, Policy(), random.Random(1))


def streamed(router: Router) -> Exchange:
    """First byte after 0.02 s, the last of 3 tokens 0.09 s later, over now."""
    features = RequestFeatures(model="m", prompt_tokens=9, completion_tokens_max=50, stream=True)
    charge = OpenCharge(
        charge_id="c1",
        request_id="r1",
        account="acme",
        key_id="k1",
        model="m",
        price=PRICE,
        hold_nano_usd=100_000,
        prompt_tokens_estimate=9,
        created_ns=1_000,
    )
    exchange = Exchange(
        charge,
        read(Endpoint.CHAT, BODY),
        BODY,
        decision=router.choose(features, 0),
        router=router,
        timeouts=Timeouts(),
        estimate=lambda _, text: Usage(prompt_tokens=5, completion_tokens=len(text)),
    )
    began_ns = time.monotonic_ns() - 200_000_000
    exchange.start(began_ns)
    exchange.durable(None, began_ns)
    exchange.node_head(200, began_ns + 10_000_000)
    exchange.node_body(FIRST, began_ns + 20_000_000)
    exchange.node_body(LAST, began_ns + 110_000_000)
    exchange.durable(None, began_ns + 111_000_000)
    return exchange


def worker(home: Home, index: int, *, run: str = "r1", workers: int = 2) -> Telemetry:
    files = ReportFiles(home, run=run, worker=index, workers=workers)
    return Telemetry(new_router(), NoTill(), lambda: 4, files)


async def told(telemetry: Telemetry) -> str:
    return (await telemetry.exposition()).decode()


async def test_a_stream_moves_every_series_once():
    router = new_router()
    telemetry = Telemetry(router, NoTill(), lambda: 4)
    for _ in range(3):
        telemetry.finished(streamed(router))
    text = await told(telemetry)

    def sample(name: str, **labels: str) -> float:
        return sample_sum(text, name, labels)

    assert sample("tollgate_requests_total", outcome="completed", endpoint="chat") == 3
    assert sample("tollgate_tokens_total", kind="prompt") == 21
    assert sample("tollgate_tokens_total", kind="completion") == 9
    assert sample("tollgate_cost_usd_total") == 3 * (7 * 200 + 3 * 600) / 1e9
    first = "tollgate_time_to_first_token_seconds"
    assert sample(f"{first}_sum") == 0.06
    assert sample(f"{first}_bucket", le="0.01") == 0
    assert sample(f"{first}_bucket", le="0.02") == 3
    between = "tollgate_inter_token_latency_seconds"
    assert sample(f"{between}_sum") == 3 * 0.045
    assert sample(f"{between}_bucket", le="0.03") == 0
    assert sample(f"{between}_bucket", le="0.06") == 3
    assert sample("tollgate_request_duration_seconds_bucket", le="0.1") == 0
    assert sample("tollgate_request_duration_seconds_count") == 3
    assert sample("tollgate_failovers_total") == 0
    assert sample("tollgate_node_requests_total", node="n", supplier="s", result="ok") == 3
    assert sample("tollgate_node_tokens_total", node="n", kind="completion") == 9
    assert sample("tollgate_node_cost_usd_total") == sample("tollgate_cost_usd_total")
    assert sample("tollgate_node_time_to_first_token_seconds_sum") == 0.06
    assert sample("tollgate_node_inter_token_latency_seconds_count") == 3
    assert sample("tollgate_node_capacity") == 4
    assert sample("tollgate_node_standing_ratio", node="n") == 1
    assert sample("tollgate_held_usd") == 0.25
    assert sample("tollgate_requests_in_flight") == 4
    assert sample("tollgate_spool_backlog_rows") == 3
    assert sample("tollgate_ledger_lag_seconds") == 1.5
    assert sample("tollgate_spool_rows_max") == 1000
    assert sample("tollgate_posting") == 1


async def test_classes_of_keys_are_told_apart():
    router = new_router()
    telemetry = Telemetry(router, NoTill(), lambda: 0)
    for batch, usage_always in ((False, False), (False, True), (True, False), (True, True)):
        exchange = streamed(router)
        exchange.question.batch, exchange.question.usage_always = batch, usage_always
        telemetry.finished(exchange)
    text = await told(telemetry)
    for key_class, times in (("direct", 1), ("aggregator", 1), ("batch", 2)):
        labels = {"key_class": key_class}
        assert sample_sum(text, "tollgate_requests_total", labels) == times
        assert sample_sum(text, "tollgate_request_duration_seconds_count", labels) == times
        assert sample_sum(text, "tollgate_tokens_total", labels | {"kind": "prompt"}) == 7 * times


async def test_refusals_go_by_status_and_code():
    telemetry = Telemetry(new_router(), NoTill(), lambda: 0)
    for error in (errors.no_capacity("m", 0), errors.no_capacity("m", 0), errors.not_recording()):
        telemetry.refused("chat", error)
    text = await told(telemetry)
    full = {"code": "no_capacity", "model": "none"}
    assert sample_sum(text, "tollgate_refusals_total", full) == 2
    assert sample_sum(text, "tollgate_refusals_total", {}) == 3


async def test_a_gateway_alone_has_no_worker_label(tmp_path):
    alone = await told(Telemetry(new_router(), NoTill(), lambda: 0))
    assert "worker=" not in alone
    assert sample_sum(alone, "process_open_fds", {}) > 0
    assert sample_sum(alone, "python_gc_collections_total", {"generation": "0"}) > 0


async def test_every_worker_tells_of_all(tmp_path):
    home, router = Home(tmp_path), new_router()
    workers = [worker(home, index) for index in range(2)]
    for telemetry, ended in zip(workers, (3, 4), strict=True):
        for _ in range(ended):
            telemetry.finished(streamed(router))
        telemetry.refused("chat", errors.no_capacity("m", 0))
        await telemetry.publish()
    for telemetry in workers:
        text = await told(telemetry)
        assert sample_sum(text, "tollgate_requests_total", {"outcome": "completed"}) == 7
        assert sample_sum(text, "tollgate_request_duration_seconds_bucket", {"le": "+Inf"}) == 7
        assert sample_sum(text, "tollgate_cost_usd_total", {}) == 7 * (7 * 200 + 3 * 600) / 1e9
        assert sample_sum(text, "tollgate_refusals_total", {}) == 2
        assert sample_sum(text, "tollgate_node_requests_total", {"node": "n"}) == 7
        assert sample_sum(text, "tollgate_node_capacity", {"node": "n"}) == 4
        assert sample_sum(text, "tollgate_node_standing_ratio", {"node": "n"}) == 1
        assert sample_sum(text, "tollgate_held_usd", {}) == 0.5
        assert sample_sum(text, "tollgate_requests_in_flight", {}) == 8
        assert sample_sum(text, "tollgate_spool_backlog_rows", {}) == 6
        assert sample_sum(text, "tollgate_ledger_lag_seconds", {}) == 1.5
        assert sample_sum(text, "tollgate_recording", {}) == 1
        assert sample_sum(text, "tollgate_spool_rows_max", {}) == 2000
        assert sample_sum(text, "tollgate_posting", {}) == 1
        assert sample_sum(text, "tollgate_node_state", {"state": "ready"}) == 1
        assert sample_sum(text, "python_info", {}) == 1
        for label in ("0", "1"):
            assert sample_sum(text, "process_open_fds", {"worker": label}) > 0


async def test_a_successor_goes_on_from_what_was_told_last(tmp_path):
    """Counters never fall, or Prometheus would take their whole height for an increase."""
    home, router = Home(tmp_path), new_router()
    first, other = worker(home, 1), worker(home, 0)
    for _ in range(5):
        first.finished(streamed(router))
    await told(first)
    successor = worker(home, 1)
    successor.finished(streamed(router))
    await successor.publish()
    for telemetry in (successor, other):
        text = await told(telemetry)
        assert sample_sum(text, "tollgate_requests_total", {}) == 6


async def test_another_run_and_a_broken_file_count_for_nothing(tmp_path):
    home, router = Home(tmp_path), new_router()
    before = worker(home, 1, run="r0")
    before.finished(streamed(router))
    await before.publish()
    now = worker(home, 0)
    assert sample_sum(await told(now), "tollgate_requests_total", {}) == 0
    home.metrics_file(1).write_bytes(b"\x93nonsense")
    assert sample_sum(await told(now), "tollgate_requests_in_flight", {}) == 4


def pid_of_the_dead() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


async def test_of_a_dead_worker_stays_what_it_counted_and_its_backlog(tmp_path):
    home = Home(tmp_path)
    dead, living = worker(home, 1), worker(home, 0)
    dead.finished(streamed(new_router()))
    await dead.publish()
    path = home.metrics_file(1)
    report = msgspec.msgpack.decode(path.read_bytes(), type=Report)
    path.write_bytes(msgspec.msgpack.encode(msgspec.structs.replace(report, pid=pid_of_the_dead())))
    text = await told(living)
    assert sample_sum(text, "tollgate_requests_total", {}) == 1
    assert sample_sum(text, "tollgate_requests_in_flight", {}) == 4
    assert sample_sum(text, "tollgate_spool_backlog_rows", {}) == 6
    assert sample_sum(text, "process_open_fds", {"worker": "1"}) == 0


async def test_the_scorecard_is_that_of_all_workers_and_outlives_each(tmp_path):
    home, router = Home(tmp_path), new_router()
    one, other = worker(home, 0), worker(home, 1)
    for telemetry in (one, other, other):
        telemetry.finished(streamed(router))
    other.refused("chat", errors.bad_key())
    await other.publish()
    cards = await one.cards()
    assert sum(counts[End.OK] for counts in cards["m"].minutes.values()) == 3
    assert sum(counts[End.UNAUTHORIZED] for counts in cards[""].minutes.values()) == 1
    successor = worker(home, 1)
    assert await successor.cards() == cards
