"""What the metrics say of requests played to their end."""

from __future__ import annotations

import random
import time

from prometheus_client.exposition import generate_latest
from served import sample_sum

from gateway import errors
from gateway.exchange import Exchange, Timeouts
from gateway.openai_request import Endpoint, read
from gateway.telemetry import Telemetry
from metering.charge import OpenCharge
from metering.prices import ModelPrice
from metering.usage import Usage
from router.policy import Policy
from router.registry import Registry
from router.router import Router
from router.types import NodeRecord, RequestFeatures

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


def test_a_stream_moves_every_series_once():
    router = new_router()
    telemetry = Telemetry(router, NoTill(), lambda: 4)
    for _ in range(3):
        telemetry.finished(streamed(router))
    text = generate_latest(telemetry.registry).decode()

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
    assert sample("tollgate_requests_in_flight") == 4
    assert sample("tollgate_spool_backlog_rows") == 3
    assert sample("tollgate_ledger_lag_seconds") == 1.5


def test_refusals_go_by_status_and_code():
    telemetry = Telemetry(new_router(), NoTill(), lambda: 0)
    for error in (errors.no_capacity("m", 0), errors.no_capacity("m", 0), errors.not_recording()):
        telemetry.refused("chat", error)
    text = generate_latest(telemetry.registry).decode()
    assert sample_sum(text, "tollgate_refusals_total", {"code": "no_capacity"}) == 2
    assert sample_sum(text, "tollgate_refusals_total", {}) == 3
