from __future__ import annotations

import msgspec

from gateway.console.census import census, members
from gateway.console.latency import wait_of, waits_by
from gateway.enrolment.node import Node, Terms
from router.types import NodeRecord, NodeState, NodeView
from serving.enrolment.messages import Hardware, Lease

NOW_NS = 10**18
SAID = Lease(
    state="ready", url="http://n:1", model="m", capacity=1, hardware=Hardware(gpu="B200", gpus=4)
)


def view(node_id: str, **changes: object) -> NodeView:
    record = NodeRecord(
        node_id=node_id, supplier_id="s", url="http://n:1", model="m", capacity=1, gpu="H100"
    )
    return msgspec.structs.replace(NodeView(node=record), **changes)


def enrolled(node_id: str, **changes: object) -> Node:
    node = Node(
        node_id=node_id,
        terms=Terms(supplier_id="s"),
        hardware=Hardware(gpu="B200", gpus=2),
        enrolled_ns=1,
        revoked_ns=None,
        lease=SAID,
        leased_until_ns=NOW_NS + 1,
    )
    return msgspec.structs.replace(node, **changes)


def counted(views=(), nodes=(), honest=(), in_flight=None) -> tuple:
    found = members(
        views,
        nodes,
        honest=honest,
        in_flight=in_flight or {},
        monotonic_ns=100,
        now_ns=NOW_NS,
    )
    total = census(found).total
    tallies = (total.registered, total.verified, total.active, total.serving)
    return tuple((tally.gpus, tally.nodes, tally.unstated) for tally in tallies)


def test_no_node_is_in_no_count():
    assert counted() == ((0, 0, 0),) * 4
    assert census([]).by_class == ()


def test_registered_is_who_is_listed_or_enrolled_and_not_revoked():
    nodes = [enrolled("a"), enrolled("b", revoked_ns=1), enrolled("c", lease=None)]
    assert counted([view("a"), view("x")], nodes)[0] == (4 + 2, 3, 1)


def test_verified_takes_a_right_answer_and_a_standing():
    views = [view("a"), view("b", standing=0.9), view("c")]
    assert counted(views, honest={"a", "b", "gone"})[1] == (0, 1, 1)
    assert counted(views)[1] == (0, 0, 0)


def test_active_is_who_would_get_a_request_this_moment():
    draining = msgspec.structs.replace(view("d").node, state=NodeState.DRAINING)
    views = [
        view("ready"),
        view("ejected", ejections=1, ejected_until_ns=101),
        view("again", ejections=1, ejected_until_ns=100),
        view("d", node=draining),
    ]
    assert counted(views, [enrolled("silent")])[2] == (0, 2, 2)


def test_serving_is_by_what_is_under_way_here_or_by_a_good_leases_word():
    busy = msgspec.structs.replace(SAID, in_flight=3)
    nodes = [enrolled("a", lease=busy), enrolled("b", lease=busy, leased_until_ns=NOW_NS)]
    assert counted([view("x")], nodes, in_flight={"x": 1})[3] == (4, 2, 1)


def test_classes_are_the_operators_word_else_the_nodes_own():
    found = members([view("x")], [enrolled("a")], honest=(), in_flight={}, monotonic_ns=0, now_ns=0)
    assert [name for name, _ in census(found).by_class] == ["B200", "H100"]


def test_waits_are_of_the_groups_that_are_known():
    first = [("a", 10), ("a", 30), ("b", 20), ("gone", 1)]
    waits = waits_by(first, {"a": "eu", "b": "eu"})
    assert {"eu"} == set(waits)
    assert (waits["eu"].answers, waits["eu"].p50_ns, waits["eu"].p99_ns) == (3, 20, 30)


def test_percentiles_are_values_that_were_seen():
    wait = wait_of(range(1, 101))
    assert (wait.p50_ns, wait.p90_ns, wait.p99_ns) == (50, 90, 99)
    assert wait_of(()).p50_ns is None
