"""What a node's forecast is worth."""

import pytest
from msgspec.structs import replace

from router.forecast import (
    DECODE_WEIGHT,
    FIRST_WEIGHT,
    HARDLY_KNOWN,
    UNUSED_NS_MAX,
    UNUSED_WEIGHT,
    nearness,
    standing,
    token_nearness,
    token_pace,
)
from router.pace import UNKNOWN, Line, Pace
from router.prefix_index import Match
from router.scorers import Scorer
from router.types import Ask, Beside, Load, NodeRecord, NodeView, RequestFeatures

SILENT_NS = int(10 * UNUSED_NS_MAX / UNUSED_WEIGHT)
ASK = Ask(
    RequestFeatures(model="m", prompt_tokens=1_000, completion_tokens_max=1, stream=True),
    SILENT_NS,
    prompt_tokens=1_000,
)
SLOW = Line(3e9, 0.0, 0.0, 0.0, 0.0)
KNOWN = replace(UNKNOWN, samples=HARDLY_KNOWN)


def silent(samples: int) -> NodeView:
    """It was sent nothing for long."""
    record = NodeRecord(node_id="n", supplier_id="s", url="http://h", model="m", capacity=4)
    return NodeView(node=record, pace=Pace(prefill=SLOW, decode=UNKNOWN.decode, samples=samples))


def test_what_few_samples_said_of_a_node_counts_less_the_longer_it_was_sent_nothing() -> None:
    own_ns = 3e9
    known, hardly = nearness([silent(HARDLY_KNOWN), silent(HARDLY_KNOWN - 1)], ASK)
    assert known == UNUSED_NS_MAX - own_ns
    assert hardly == pytest.approx(UNUSED_NS_MAX - own_ns / 10)


@pytest.mark.parametrize("score", [nearness, token_nearness, token_pace])
def test_a_doubted_node_is_asked_again_once_it_was_sent_nothing_for_long(score: Scorer) -> None:
    trusted = replace(silent(HARDLY_KNOWN), pace=KNOWN)
    doubted = replace(trusted, standing=0.25)
    for silent_ns, stands in ((0, 0.25), (20, 0.25), (40, 0.5), (80, 1), (10_000, 1)):
        ask = replace(ASK, now_ns=silent_ns * 10**9)
        assert standing(doubted, ask) == stands
        assert standing(trusted, ask) == 1
        scores = score([doubted, trusted], ask)
        assert scores[0] == scores[1] if stands == 1 else scores[0] < scores[1]


@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"clear_at_ns": SILENT_NS + 10**9},
        {"due_ns": SILENT_NS - 10**9},
        {"beside": Beside(in_flight=3, pending_tokens=2_000), "in_flight": 2},
        {"load": Load(waiting=0, running=9, kv_use=0.1, kv_tokens=10**6), "tokens": 5_000},
        {"load": Load(waiting=0, running=9, kv_use=1.0, kv_tokens=4_000), "tokens": 5_000},
    ],
    ids=["idle", "busy", "late", "others there", "room", "no room"],
)
@pytest.mark.parametrize("matches", [(), ((9, 0b001), (5, 0b011))], ids=["nothing", "prefix"])
def test_what_is_written_out_in_one_is_the_sum_of_its_parts(
    seen: dict[str, object], matches: tuple[Match, ...]
) -> None:
    view = replace(silent(HARDLY_KNOWN), standing=0.5, pace=KNOWN, **seen)
    views = [replace(view, slot=slot) for slot in range(3)]
    features = replace(ASK.features, block_tokens=128)
    ask = replace(ASK, features=features, expected_tokens=100, matches=matches)
    ask = replace(ask, cached_most=max(ask.cached_tokens(slot) for slot in range(3)))
    firsts, rests = token_nearness(views, ask), token_pace(views, ask)
    assert nearness(views, ask) == pytest.approx(
        [
            first + DECODE_WEIGHT * (rest - FIRST_WEIGHT * first)
            for first, rest in zip(firsts, rests, strict=True)
        ]
    )
