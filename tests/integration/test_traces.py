"""Traces over OTLP to a real receiver: from acceptance into the ledger; counts as metrics."""

from __future__ import annotations

import subprocess
import sys
import time

import msgspec
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from otlp_receiver import OtlpReceiver, attributes_of
from served import Served, configuration, serve

from gateway.config import Config
from gateway.traces.config import TracesConfig
from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
SECRET = "Planted-prompt-5711"
ASKED = {"model": "fake", "max_tokens": 8, "messages": [{"role": "user", "content": SECRET}]}


def traced(node: FakeNode, url: str, one_in: int = 1) -> Config:
    traces = TracesConfig(otlp_url=url, one_in=one_in)
    return msgspec.structs.replace(configuration([node]), traces=traces)


def by_trace(spans: list[Span]) -> list[dict[str, Span]]:
    """The spans of each trace by name, in the order of their beginnings."""
    traces: dict[bytes, dict[str, Span]] = {}
    for span in sorted(spans, key=lambda span: span.start_time_unix_nano):
        traces.setdefault(span.trace_id, {})[span.name] = span
    return list(traces.values())


async def ask(gateway: Served, **fields: object) -> str:
    answer = await gateway.client.post(CHAT, json=ASKED | fields)
    return answer.headers["x-request-id"]


async def test_a_trace_goes_from_acceptance_into_the_ledger(tmp_path) -> None:
    began_ns = time.time_ns()
    with OtlpReceiver() as receiver:
        async with FakeNode() as node, serve(tmp_path, traced(node, receiver.url)) as gateway:
            ids = [await ask(gateway), await ask(gateway, stream=True)]
            charges = await gateway.charges(2)
        # a stop sends what is left
    ended_ns = time.time_ns()
    assert receiver.resources[0]["service.name"] == "tollgate"
    traces = by_trace(receiver.spans)
    assert len(traces) == 2
    for trace, request_id, charge in zip(traces, ids, charges, strict=True):
        assert set(trace) == {f"POST {CHAT}", "chat fake", "record", "book"}
        whole, call = trace[f"POST {CHAT}"], trace["chat fake"]
        assert whole.kind == Span.SPAN_KIND_SERVER
        assert call.kind == Span.SPAN_KIND_CLIENT
        for span in trace.values():
            assert began_ns <= whole.start_time_unix_nano <= span.start_time_unix_nano
            assert span.start_time_unix_nano <= span.end_time_unix_nano
            assert span.end_time_unix_nano <= whole.end_time_unix_nano <= ended_ns
            assert span is whole or span.parent_span_id == whole.span_id
        assert call.end_time_unix_nano == trace["record"].start_time_unix_nano
        assert trace["record"].end_time_unix_nano == trace["book"].start_time_unix_nano
        told = attributes_of(whole)
        assert told["tollgate.request_id"] == request_id == charge.request_id
        assert told["tollgate.cost_nano_usd"] == charge.cost_nano_usd
        assert told["tollgate.booked"] is True
        told = attributes_of(call)
        assert told["gen_ai.operation.name"] == "chat"
        assert told["gen_ai.provider.name"] == "vllm"
        assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "fake"
        assert told["gen_ai.request.max_tokens"] == 8
        assert told["gen_ai.usage.input_tokens"] == charge.prompt_tokens
        assert told["gen_ai.usage.output_tokens"] == charge.completion_tokens
        assert f"http://{told['server.address']}:{told['server.port']}" == node.url
        (first,) = call.events
        assert first.name == "gen_ai.first_token"
        assert call.start_time_unix_nano < first.time_unix_nano <= call.end_time_unix_nano
    said = b"".join(span.SerializeToString() for span in receiver.spans)
    assert SECRET.encode() not in said
    assert gateway.secret.encode() not in said


async def test_a_failure_is_an_error_of_its_kind(tmp_path) -> None:
    with OtlpReceiver() as receiver:
        async with FakeNode() as node, serve(tmp_path, traced(node, receiver.url)) as gateway:
            await node.inject(Fault(status=500))
            await ask(gateway)
    (trace,) = by_trace(receiver.spans)
    assert trace["chat fake"].status.code == Status.STATUS_CODE_ERROR
    assert attributes_of(trace["chat fake"])["error.type"] == "node_error"
    assert "gen_ai.usage.input_tokens" not in attributes_of(trace["chat fake"])


async def test_counts_go_out_as_metrics(tmp_path) -> None:
    with OtlpReceiver() as receiver:
        async with FakeNode() as node, serve(tmp_path, traced(node, receiver.url)) as gateway:
            for stream in (False, True, True):
                await ask(gateway, stream=stream)
            charges = await gateway.charges(3)
            await node.inject(Fault(status=500))
            await ask(gateway)
            prometheus = await gateway.metric("tollgate_request_duration_seconds_sum")
        # a stop sends the last ones
    durations = points(receiver, "gen_ai.server.request.duration")
    well, failed = durations
    assert (well.count, failed.count) == (3, 1)
    assert sum(each.sum for each in durations) == pytest.approx(prometheus)
    assert well.explicit_bounds[0] == 0.01
    assert len(well.bucket_counts) == len(well.explicit_bounds) + 1
    assert sum(well.bucket_counts) == 3
    assert not well.HasField("min")
    told = attributes_of(well)
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "fake"
    assert "error.type" not in told
    assert attributes_of(failed)["error.type"] == "node_error"
    (ttft,) = points(receiver, "gen_ai.server.time_to_first_token")
    (gap,) = points(receiver, "gen_ai.server.time_per_output_token")
    assert ttft.count == gap.count == 2
    tokens = points(receiver, "gen_ai.client.token.usage")
    used = {attributes_of(each)["gen_ai.token.type"]: each.sum for each in tokens}
    assert used == {
        "input": sum(charge.prompt_tokens for charge in charges),
        "output": sum(charge.completion_tokens for charge in charges),
    }


def points(receiver: OtlpReceiver, name: str) -> list[HistogramDataPoint]:
    """The most first."""
    metric = receiver.metrics[name]
    assert metric.unit == ("{token}" if name.endswith("usage") else "s")
    return sorted(metric.histogram.data_points, key=lambda point: -point.count)


async def test_one_in_so_many_is_traced(tmp_path) -> None:
    with OtlpReceiver() as receiver:
        async with FakeNode() as node, serve(tmp_path, traced(node, receiver.url, 4)) as gateway:
            for _ in range(9):
                await ask(gateway)
    assert len(by_trace(receiver.spans)) == 3


async def test_a_receiver_that_is_away_costs_no_request_and_no_charge(tmp_path) -> None:
    with OtlpReceiver() as receiver:
        url = receiver.url
    async with FakeNode() as node, serve(tmp_path, traced(node, url)) as gateway:
        for _ in range(3):
            assert (await gateway.client.post(CHAT, json=ASKED)).status_code == 200
        assert len(await gateway.charges(3)) == 3


def test_where_they_are_off_nothing_of_it_is_imported() -> None:
    look = (
        "import sys, gateway.wiring, gateway.server;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests',"
        " 'gateway.traces.otlp', 'gateway.traces.traces'))])"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
