"""What is read out of Serve's answer about pools."""

from typing import Any

from serving.pool_state import pool_states
from serving.ray_app import AppPhase

State = dict[str, Any]


def test_a_pool_and_its_replicas(replica_state: State) -> None:
    (pool,) = pool_states(replica_state)
    assert (pool.model, pool.pool, pool.supplier_id) == ("tollgate-demo", "default", "local")
    assert (pool.phase, pool.running, pool.target) == (AppPhase.RUNNING, 1, 1)
    assert (pool.replicas_min, pool.replicas_max) == (1, 1)
    assert pool.replicas[0].ray_node_id == "641a0349"
    assert not pool.wake_url


def test_a_pool_without_a_replica_says_where_to_wake_it(replica_state: State) -> None:
    app = replica_state["applications"]["tollgate-demo-default"]
    (wanted,) = app["deployed_app_config"]["deployments"]
    del wanted["num_replicas"]
    wanted["autoscaling_config"] = {"min_replicas": 0, "max_replicas": 3}
    app["deployments"]["Replica"].update(replicas=[], target_num_replicas=0)
    replica_state["target_groups"][0]["targets"] = [
        {"ip": "127.0.0.1", "port": 8000, "instance_id": "", "name": "SERVE_PROXY_ACTOR-3f2a"}
    ]
    (pool,) = pool_states(replica_state)
    assert (pool.running, pool.replicas_min, pool.replicas_max) == (0, 0, 3)
    assert pool.wake_url == "http://127.0.0.1:8000/tollgate-demo-default"


def test_a_replica_that_leaves_or_comes_does_not_count(replica_state: State) -> None:
    app = replica_state["applications"]["tollgate-demo-default"]
    replicas = app["deployments"]["Replica"]["replicas"]
    replicas += [
        {"replica_id": "a", "state": "STOPPING", "node_id": "1"},
        {"replica_id": "b", "state": "STARTING", "node_id": None},
    ]
    (pool,) = pool_states(replica_state)
    assert (pool.running, len(pool.replicas)) == (1, 3)
    assert pool.replicas[2].ray_node_id == ""


def test_an_unwell_pool_has_not_failed(replica_state: State) -> None:
    app = replica_state["applications"]["tollgate-demo-default"]
    app["status"] = "UNHEALTHY"
    assert not pool_states(replica_state)[0].has_failed
    app["status"] = "DEPLOY_FAILED"
    assert pool_states(replica_state)[0].has_failed


def test_applications_of_others_are_no_pools(replica_state: State) -> None:
    replica_state["applications"]["tollgate-demo-default"]["deployed_app_config"] = None
    assert pool_states(replica_state) == []
    assert pool_states({}) == []
