"""Which of Serve's targets are nodes."""

import copy
from typing import Any

from router.types import NodeState
from serving.ray_discovery import node_records

State = dict[str, Any]


def test_a_replica_is_a_node_keyed_by_its_own_id(replica_state: State) -> None:
    (record,) = node_records(replica_state)
    assert record.node_id == "tollgate-demo-default.Replica.5kx3a7lq"
    assert record.url == "http://127.0.0.1:30000/tollgate-demo-default"
    assert (record.engine, record.state) == ("vllm", NodeState.READY)


def test_serves_proxy_is_no_node(replica_state: State) -> None:
    replica_state["target_groups"][0]["targets"][0]["name"] = "SERVE_PROXY_ACTOR-3f2a"
    assert node_records(replica_state) == []


def test_a_port_that_went_to_another_replica_is_another_node(replica_state: State) -> None:
    later = copy.deepcopy(replica_state)
    later["target_groups"][0]["targets"][0]["name"] = "SERVE_REPLICA::a#Replica#other"
    (before,), (after,) = node_records(replica_state), node_records(later)
    assert before.url == after.url
    assert before.node_id != after.node_id


def test_grpc_targets_and_foreign_applications_are_left_out(replica_state: State) -> None:
    grpc = copy.deepcopy(replica_state)
    grpc["target_groups"][0]["protocol"] = "gRPC"
    assert node_records(grpc) == []
    foreign = replica_state
    foreign["applications"]["tollgate-demo-default"]["deployed_app_config"]["deployments"] = []
    assert node_records(foreign) == []


def test_a_cluster_without_serve_has_no_nodes() -> None:
    assert node_records({"applications": {}, "target_groups": []}) == []
