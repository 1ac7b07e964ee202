"""What a node's forecast is worth."""

import pytest

from router.forecast import HARDLY_KNOWN, UNUSED_NS_MAX, UNUSED_WEIGHT, nearness
from router.pace import UNKNOWN, Line, Pace
from router.types import Ask, NodeRecord, NodeView, RequestFeatures

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
