"""OpenRouter's counting rules, percentiles within their error, cards that add up."""

from __future__ import annotations

import json
import random
from math import log

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from unit.gateway.test_exchange import CLOSING, Play, event

from gateway import errors
from gateway.scorecard.card import MINUTE_NS, MINUTES, SLOTS, Card, Cards, total
from gateway.scorecard.figures import figures_of
from gateway.scorecard.rules import (
    AGAINST,
    Band,
    End,
    ToolEnd,
    band_of,
    end_of_outcome,
    end_of_status,
    failures_to_demotion,
)
from gateway.scorecard.scores import Scores
from gateway.sketch import ERROR, PER_E, percentile
from gateway.telemetry.scorecard_series import series
from metering.charge import ChargeOutcome

S = 1_000_000_000
START_NS = 5_000 * MINUTE_NS


@pytest.mark.parametrize(
    ("status", "end"),
    [
        (400, End.USER_ERROR),
        (401, End.UNAUTHORIZED),
        (402, End.PAYMENT_REQUIRED),
        (403, End.FORBIDDEN),
        (404, End.NOT_FOUND),
        (413, End.USER_ERROR),
        (429, End.RATE_LIMITED),
        (500, End.SERVER_ERROR),
        (502, End.SERVER_ERROR),
        (503, End.SERVER_ERROR),
        (504, End.SERVER_ERROR),
    ],
)
def test_what_a_status_counts_as(status: int, end: End) -> None:
    assert end_of_status(status) is end


def test_against_a_provider_count_exactly_these() -> None:
    against = {status for status in range(400, 600) if end_of_status(status) in AGAINST}
    assert against == {401, 402, 404, *range(500, 600)}
    assert End.MID_STREAM_ERROR in AGAINST
    assert End.ERROR_FINISH in AGAINST


@pytest.mark.parametrize(
    ("outcome", "streaming", "end"),
    [
        (ChargeOutcome.COMPLETED, True, End.OK),
        (ChargeOutcome.EMPTY, False, End.OK),
        (ChargeOutcome.CLIENT_GONE, True, End.CLIENT_GONE),
        (ChargeOutcome.NODE_BROKEN, True, End.MID_STREAM_ERROR),
        (ChargeOutcome.NODE_ERROR, True, End.MID_STREAM_ERROR),
        (ChargeOutcome.NODE_ERROR, False, End.SERVER_ERROR),
        (ChargeOutcome.REFUSED_BY_NODE, False, End.USER_ERROR),
        (ChargeOutcome.NO_CAPACITY, False, End.RATE_LIMITED),
        (ChargeOutcome.TIMED_OUT, False, End.RATE_LIMITED),
        (ChargeOutcome.UNRECORDED, False, End.RATE_LIMITED),
        (ChargeOutcome.UNRECORDED, True, End.MID_STREAM_ERROR),
        (ChargeOutcome.NO_CAPACITY, True, End.MID_STREAM_ERROR),
        (ChargeOutcome.TIMED_OUT, True, End.MID_STREAM_ERROR),
        (ChargeOutcome.REFUSED_BY_NODE, True, End.MID_STREAM_ERROR),
    ],
)
def test_what_an_outcome_counts_as(outcome: ChargeOutcome, streaming: bool, end: End) -> None:
    assert end_of_outcome(outcome, streaming=streaming) is end


def test_every_outcome_of_an_exchange_has_an_end() -> None:
    for outcome in set(ChargeOutcome) - {ChargeOutcome.GATEWAY_CRASH, ChargeOutcome.RESUMED}:
        assert end_of_outcome(outcome, streaming=False) in End


@pytest.mark.parametrize(
    ("ok", "against", "band"),
    [
        (0, 99, Band.UNRATED),
        (100, 0, Band.NORMAL),
        (95, 5, Band.NORMAL),
        (949, 51, Band.DEGRADED),
        (80, 20, Band.DEGRADED),
        (799, 201, Band.DOWN),
    ],
)
def test_bands_begin_where_openrouter_says(ok: int, against: int, band: Band) -> None:
    assert band_of(ok, against) is band


@pytest.mark.parametrize("ok", [0, 50, 80, 95, 99, 100, 950, 1000, 12_345])
@pytest.mark.parametrize("against", [0, 1, 4, 20, 49, 600, 5000])
def test_the_failures_to_a_demotion_are_as_few_as_said(ok: int, against: int) -> None:
    told = failures_to_demotion(ok, against)
    worse = {Band.DEGRADED, Band.DOWN} if band_of(ok, against) is not Band.DEGRADED else {Band.DOWN}
    if told is None:
        assert band_of(ok, against) is Band.DOWN
        return
    _, failures = told
    assert band_of(ok, against + failures) in worse
    assert band_of(ok, against + failures - 1) not in worse


def test_percentiles_are_within_their_error() -> None:
    rng = random.Random(4)
    values = sorted(int(rng.lognormvariate(18, 2)) + 1 for _ in range(5000))
    sketch: dict[int, int] = {}
    for value in values:
        bucket = int(log(value) * PER_E)
        sketch[bucket] = sketch.get(bucket, 0) + 1
    for percent in (50, 75, 90, 99):
        exact = values[-(-len(values) * percent // 100) - 1]
        assert abs(percentile(sketch, percent) - exact) <= ERROR * exact * 1.0001


def play(cards: Cards, model: str, end: End | ToolEnd, now_ns: int, times: int = 1) -> None:
    card = cards.setdefault(model, Card())
    card.slot(now_ns).counts[end] += times
    card.minute(now_ns)[end] += times


def test_windows_forget_and_memory_is_bounded() -> None:
    cards: Cards = {}
    now_ns = START_NS
    for _ in range(4000):
        now_ns += 7 * S
        play(cards, "m", End.OK, now_ns)
    card = cards["m"]
    assert len(card.slots) <= SLOTS
    assert len(card.minutes) <= MINUTES
    figures = figures_of("m", card, now_ns)
    assert figures.uptime_30s.requests in range(4, 7)
    assert figures.uptime_5m.requests in range(42, 45)
    assert figures.uptime_30m.requests in range(257, 268)
    later = figures_of("m", card, now_ns + 6 * 60 * S)
    assert later.uptime_5m.requests == 0
    assert later.uptime_5m.uptime is None
    assert later.ttft_seconds == {}


def test_a_sum_of_workers_says_what_one_would_have() -> None:
    rng = random.Random(2)
    one: Cards = {}
    several: list[Cards] = [{}, {}, {}]
    now_ns = START_NS
    for _ in range(3000):
        now_ns += rng.randrange(S)
        end = rng.choice([*End, *ToolEnd])
        for cards in (one, rng.choice(several)):
            play(cards, "m", end, now_ns)
            slot = cards["m"].slot(now_ns)
            slot.ttft[end] = slot.ttft.get(end, 0) + 1
    coded = [msgspec.msgpack.decode(msgspec.msgpack.encode(cards), type=Cards) for cards in several]
    assert figures_of("m", total(coded)["m"], now_ns) == figures_of("m", one["m"], now_ns)
    assert coded == several


def test_the_band_is_told_with_its_beginning_and_its_end() -> None:
    cards: Cards = {}
    for minute in range(120):
        play(cards, "m", End.OK, START_NS + minute * MINUTE_NS, 100)
    now_ns = START_NS + 119 * MINUTE_NS
    well = figures_of("m", cards["m"], now_ns)
    assert well.band is Band.NORMAL
    assert well.since_is_known
    assert well.since_ns == START_NS
    assert well.demotion is not None
    assert well.demotion.band is Band.DEGRADED
    assert well.demotion.failures == 3100 * 100 // 95 - 3100 + 1
    play(cards, "m", End.SERVER_ERROR, now_ns + MINUTE_NS, well.demotion.failures + 100)
    ill = figures_of("m", cards["m"], now_ns + 5 * MINUTE_NS)
    assert ill.band is Band.DEGRADED
    assert ill.since_is_known
    assert ill.since_ns == now_ns + MINUTE_NS
    assert ill.uptime_30m.against == {"server_error": well.demotion.failures + 100}


def test_an_outage_of_half_a_minute_shows_at_once() -> None:
    cards: Cards = {}
    play(cards, "m", End.OK, START_NS, 10_000)
    now_ns = START_NS + 60 * S
    play(cards, "m", End.MID_STREAM_ERROR, now_ns, 10)
    figures = figures_of("m", cards["m"], now_ns)
    assert figures.outage
    assert figures.uptime_30s.uptime == 0
    assert figures.band is Band.NORMAL
    assert not figures_of("m", cards["m"], now_ns + 40 * S).outage


def test_tool_errors_are_a_share_of_what_was_checked() -> None:
    cards: Cards = {}
    play(cards, "m", ToolEnd.VALID, START_NS, 6)
    play(cards, "m", ToolEnd.INVALID_JSON, START_NS, 1)
    play(cards, "m", ToolEnd.SCHEMA_MISMATCH, START_NS, 1)
    play(cards, "m", ToolEnd.UNCHECKED, START_NS, 50)
    told = figures_of("m", cards["m"], START_NS).tool_calls
    assert (told.requests, told.error_rate, told.unchecked) == (8, 0.25, 50)
    assert told.errors == {"invalid_json": 1, "schema_mismatch": 1}


def test_a_refusal_counts_for_the_model_that_it_is_about() -> None:
    scores = Scores({}, lambda: START_NS)
    about = errors.no_credit("none")
    about.model = "m"
    scores.refused(about)
    scores.refused(errors.bad_key())
    scores.refused(errors.unknown_model("x"))
    named = figures_of("m", scores.cards["m"], START_NS).uptime_30m
    nameless = figures_of("", scores.cards[""], START_NS).uptime_30m
    assert named.against == {"payment_required": 1}
    assert nameless.against == {"unauthorized": 1, "not_found": 1}
    assert set(scores.cards) == {"m", ""}, "a client's words are no label"


def test_series_have_bounded_labels() -> None:
    cards: Cards = {}
    for end in (*End, *ToolEnd):
        play(cards, "m", end, START_NS, 20)
        play(cards, "", end, START_NS)
    cards["m"].slot(START_NS).ttft[400] = 5
    cards["m"].slot(START_NS).throughput[400] = 5

    class Told(Collector):
        def collect(self):
            return series(cards, START_NS)

    registry = CollectorRegistry()
    registry.register(Told())
    lines = generate_latest(registry).decode().splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert len(samples) == 3 + 2 * len(End) + 4 + 4 + 4 + 1
    assert 'tollgate_scorecard_band{band="down",model="m"} 1.0' in samples
    assert 'tollgate_scorecard_requests{counted="unauthorized",model=""} 1.0' in samples


@pytest.mark.parametrize(
    ("finish", "stream", "engine", "end"),
    [
        ("stop", False, "vllm", End.OK),
        ("error", False, "vllm", End.ERROR_FINISH),
        ("stop", True, "openai", End.OK),
        ("error", True, "openai", End.ERROR_FINISH),
    ],
)
def test_an_answer_that_finishes_with_an_error_counts_against(
    finish: str, stream: bool, engine: str, end: End
) -> None:
    play = Play(stream=stream, engine=engine).opened().head()
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    said = "delta" if stream else "message"
    choice = {"index": 0, said: {"content": "Hi"}, "finish_reason": finish}
    answer = json.dumps({"choices": [choice], "usage": usage})
    play.body(f"data: {answer}\n\ndata: [DONE]\n\n".encode() if stream else answer.encode())
    play.node_end().closed()
    scores = Scores({}, lambda: START_NS)
    scores.ended(play.exchange, START_NS)
    assert scores.cards["m"].slot(START_NS).counts[end] == 1


def test_speed_is_counted_from_acceptance_to_the_last_byte() -> None:
    play = Play().opened().head().body(event("a", 1), CLOSING + b"data: [DONE]\n\n")
    play.node_end().closed()
    began_ns = play.exchange.started_ns
    now_ns = began_ns + 1_500_000_000
    scores = Scores({}, lambda: now_ns)
    scores.ended(play.exchange, now_ns)
    figures = figures_of("m", scores.cards["m"], now_ns)
    assert figures.throughput_tokens_per_second["p50"] == pytest.approx(2, rel=ERROR)
    assert figures.ttft_seconds["p99"] == pytest.approx(play.exchange.ttft_ns / 1e9, rel=ERROR)


def test_lines_of_batches_do_not_count() -> None:
    play = Play().opened().head().failed()
    play.exchange.question.batch = True
    play.failed()
    scores = Scores({}, lambda: START_NS)
    assert play.exchange.outcome is not None
    scores.ended(play.exchange, START_NS)
    assert scores.cards == {}
