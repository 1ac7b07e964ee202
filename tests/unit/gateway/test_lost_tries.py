"""Requests that more than one node was asked: what metrics and traces say of each of those."""

from __future__ import annotations

import pytest
from exchange_play import CLOSING, DONE, PRICE, SECOND, Play, event
from served import sample_sum

from gateway.exchange.failover import Failover
from gateway.exchange.hedges import SAMPLES_MIN, Hedges
from gateway.telemetry.telemetry import Telemetry
from gateway.traces.spans import Ended, Span, trace_of
from metering.prices import cost_nano_usd
from router.types import Termination

from .test_resume import begun, closing, more, part
from .test_telemetry import NoTill

pytestmark = pytest.mark.anyio


async def told(play: Play) -> str:
    telemetry = Telemetry(play.router, NoTill(), lambda: 0)
    telemetry.finished(play.exchange)
    return (await telemetry.exposition()).decode()


def calls(play: Play) -> list[Span]:
    ended = Ended(exchange=play.exchange, ended_ns=play.now_ns, spool_seq=1)
    return [span for span in trace_of(ended, None) if span.calls]


def answered(play: Play) -> Play:
    return play.head().body(event("a", 1), CLOSING + DONE).closed()


async def test_every_node_that_failed_is_given_up_and_has_a_span():
    play = Play(nodes=3).opened().failed(Termination.CONNECT_ERROR).failed(Termination.TIMEOUT)
    answered(play)
    text = await told(play)
    given_up = {
        node: sample_sum(text, "tollgate_node_given_up_total", {"node": node})
        for node in ("n0", "n1", "n2")
    }
    last = play.exchange.attempt.node.node_id
    assert given_up == {node: 0.0 if node == last else 1.0 for node in given_up}
    first, second, third = calls(play)
    assert [span.failed for span in (first, second, third)] == ["connect_error", "timeout", ""]
    assert third.attributes["tollgate.node"] == last
    assert first.start_ns <= first.end_ns <= second.start_ns <= second.end_ns <= third.start_ns
    counted = ["gen_ai.usage.input_tokens" in span.attributes for span in (first, second, third)]
    assert counted == [False, False, True]


async def test_the_last_node_is_not_given_up_and_has_one_span():
    play = Play(nodes=2).opened().failed().failed(Termination.BROKEN).closed()
    text = await told(play)
    assert sample_sum(text, "tollgate_node_given_up_total", {}) == 1
    assert sample_sum(
        text, "tollgate_node_given_up_total", {"node": play.exchange.first.node_id}
    ) == 1  # fmt: skip
    assert [span.failed for span in calls(play)] == ["connect_error", "no_capacity"]


async def test_a_node_that_was_only_slower_did_not_fail():
    hedges = Hedges(100)
    for _ in range(SAMPLES_MIN * 2):
        hedges.saw("m", 9, 1_000_000)
    play = Play(failover=Failover(hedges=hedges)).opened().head()
    play.now_ns += SECOND
    play.do(play.exchange.hedge(play.now_ns))
    play.exchange.rival_head()
    assert play.exchange.rival_answers(play.tick())
    answered(play)
    text = await told(play)
    assert sample_sum(text, "tollgate_node_given_up_total", {}) == 0
    assert [span.failed for span in calls(play)] == ["", ""]


async def test_the_tokens_of_a_stream_gone_on_with_belong_to_who_made_them():
    play = begun(part("a", [1], 1), part("b", [2], 2)).failed(Termination.BROKEN)
    play.head().body(more("c", [3], 1, "stop"), closing(1) + b"data: [DONE]\n\n").closed()
    first, last = play.exchange.first.node_id, play.exchange.attempt.node.node_id
    text = await told(play)

    def tokens(node: str, kind: str) -> float:
        return sample_sum(text, "tollgate_node_tokens_total", {"node": node, "kind": kind})

    assert (tokens(first, "prompt"), tokens(first, "completion")) == (2, 2)
    assert (tokens(last, "prompt"), tokens(last, "completion")) == (0, 1)
    (leg,) = play.close.legs
    costs = [
        sample_sum(text, "tollgate_node_cost_usd_total", {"node": node}) for node in (first, last)
    ]
    assert costs == [cost_nano_usd(PRICE, leg.usage) / 1e9, 600 / 1e9]
    assert sample_sum(text, "tollgate_requests_total", {}) == 1
    assert sample_sum(text, "tollgate_node_requests_total", {}) == 1
