"""What is told of the decisions that were noted."""

from __future__ import annotations

import random

from router.decision_log import DecisionLog
from router.policy import Policy
from router.registry import Registry
from router.router import Router
from router.types import NodeRecord, RequestFeatures


def test_a_choice_made_again_before_anything_was_sent_is_told_once_and_each_refusal() -> None:
    registry, log = Registry(), DecisionLog(100)
    router = Router(registry, Policy(), random.Random(1), log=log)
    asked = RequestFeatures(
        model="m", prompt_tokens=1, completion_tokens_max=1, stream=True, request_id="r"
    )
    records = [
        NodeRecord(node_id=name, supplier_id="s", url="http://h", capacity=4, model="m")
        for name in ("a", "b")
    ]
    registry.update("test", records)
    first = [router.choose(asked, now_ns) for now_ns in range(1, 4)][-1]
    assert first.node_id is not None
    second = router.choose(asked, 9, frozenset({first.node_id}))
    nobody = [router.choose(asked, now_ns, frozenset({"a", "b"})) for now_ns in (10, 20)]
    assert [each.node_id for each in nobody] == [None, None]
    assert log.of("r") == [first, second, *nobody]
    assert log.latest(3) == [*reversed(nobody), second]
    assert log.latest(9) == [*reversed(nobody), second, first]
