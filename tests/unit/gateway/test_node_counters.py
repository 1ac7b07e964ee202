"""What a node says of itself is believed only as far as it can be kept."""

from __future__ import annotations

import pytest

from gateway.honesty.node_counters import CountersUnreadError, NodeCounters, counters_in
from router.types import NodeRecord

TOLD = """vllm:prompt_tokens_total{{model_name="m"}} {prompt}
vllm:generation_tokens_total{{model_name="m"}} 5
vllm:prompt_tokens_created{{model_name="m"}} {created}
"""


@pytest.mark.parametrize(
    "said",
    [
        {"prompt": "1e300", "created": 1},
        {"prompt": -1, "created": 1},
        {"prompt": "NaN", "created": 1},
        {"prompt": 1, "created": "1e300"},
        {"prompt": 1, "created": "+Inf"},
    ],
)
def test_numbers_that_no_database_keeps_are_unread(said):
    with pytest.raises(CountersUnreadError):
        counters_in(TOLD.format(**said), "m")


def test_a_host_that_is_none_is_unread():
    record = NodeRecord(node_id="n", supplier_id="s", url="http://a..b:1", model="m", capacity=1)
    with pytest.raises(CountersUnreadError):
        NodeCounters({}, {}).read(record)
