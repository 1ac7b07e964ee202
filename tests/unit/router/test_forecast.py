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
    token_nearness,
    token_pace,
)
from router.pace import UNKNOWN, Line, Pace
from router.types import Ask, Beside, Load, NodeRecord, NodeView, RequestFeatures

SILENT_NS = int(10 * UNUSED_NS_MAX / UNUSED_WEIGHT)
ASK = Ask(
    RequestFeatures(model="m", prompt_tokens=1_000, completion_tokens_max=1, stream=True),
    SILENT_NS,
    prompt_tokens=1_000,
)
SLOW = Line(3e9, 0.0, 0.0, 0.0, 0.0)


def silent(samples: int) -> NodeView:
    """It was sent nothing for long."""
    record = NodeRecord(node_id="n", supplier_id="s", url="http://h", model="m", capacity=4)
    return NodeView(node=record, pace=Pace(prefill=SLOW, decode=UNKNOWN.decode, samples=samples))


def test_what_few_samples_said_of_a_node_counts_less_the_longer_it_was_sent_nothing() -> None:
    own_ns = 3e9
    assert nearness(silent(HARDLY_KNOWN), ASK) == UNUSED_NS_MAX - own_ns
    hardly = nearness(silent(HARDLY_KNOWN - 1), ASK)
    assert hardly == pytest.approx(UNUSED_NS_MAX - own_ns / 10)


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
def test_what_is_written_out_in_one_is_the_sum_of_its_parts(seen: dict[str, object]) -> None:
    view = replace(silent(HARDLY_KNOWN), standing=0.5, **seen)
    ask = replace(ASK, expected_tokens=100)
    first, rest = token_nearness(view, ask), token_pace(view, ask)
    assert nearness(view, ask) == pytest.approx(
        first + DECODE_WEIGHT * (rest - FIRST_WEIGHT * first)
    )
