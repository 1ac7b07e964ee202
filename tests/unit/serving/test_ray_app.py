"""Applications in Ray's schema, out and back."""

import json
from typing import Any

import pytest

from serving.engine_spec import EngineSpec
from serving.ray_app import (
    AppPhase,
    Pool,
    Scaling,
    Simulation,
    app_config,
    app_name,
    app_state,
    serve_config,
)
from serving.ray_discovery import node_records

NAME = "tollgate-demo-default"


def test_the_name_is_fit_for_a_route(tiny_spec: EngineSpec) -> None:
    assert app_name(tiny_spec, Pool(name="h100")) == "tollgate-demo-h100"


def test_the_configuration_is_json_and_binds_loopback(tiny_spec: EngineSpec) -> None:
    config = serve_config([app_config(tiny_spec, Pool())], proxy_port=4321)
    assert json.loads(json.dumps(config)) == config
    assert config["http_options"] == {"host": "127.0.0.1", "port": 4321}


def test_a_cpu_replica_asks_for_no_gpu_and_a_pool_for_its_labels(tiny_spec: EngineSpec) -> None:
    pool = Pool(label_selector={"gpu-type": "h100"})
    (deployment,) = app_config(tiny_spec, pool)["deployments"]
    assert deployment["ray_actor_options"] == {
        "num_cpus": 1.0,
        "label_selector": {"gpu-type": "h100"},
    }


def test_a_pool_that_scales_says_how_and_one_that_does_not_how_many(tiny_spec: EngineSpec) -> None:
    def deployment(scaling: Scaling) -> dict[str, Any]:
        (found,) = app_config(tiny_spec, Pool(scaling=scaling))["deployments"]
        return dict(found)

    fixed = deployment(Scaling(replicas_min=2, replicas_max=2))
    assert fixed["num_replicas"] == 2
    assert "autoscaling_config" not in fixed
    scaling = deployment(Scaling(replicas_min=0, replicas_max=3, target_ongoing_requests=8))
    assert "num_replicas" not in scaling
    told = scaling["autoscaling_config"]
    assert (told["min_replicas"], told["max_replicas"]) == (0, 3)
    assert told["target_ongoing_requests"] == 8


def test_a_simulated_engine_differs_in_nothing_but_the_engine(tiny_spec: EngineSpec) -> None:
    real = app_config(tiny_spec, Pool())
    simulated = app_config(tiny_spec, Pool(simulation=Simulation(token_ms=20)))
    differing = {field for field in real if real[field] != simulated[field]}
    assert differing == {"import_path", "args"}
    assert simulated["args"]["token_ms"] == 20


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("DEPLOYING", AppPhase.STARTING),
        ("RUNNING", AppPhase.RUNNING),
        ("DEPLOY_FAILED", AppPhase.FAILED),
        ("UNHEALTHY", AppPhase.FAILED),
    ],
)
def test_serves_words_for_an_application(status: str, phase: AppPhase) -> None:
    state = {
        "applications": {
            NAME: {
                "status": status,
                "message": "",
                "deployments": {"Replica": {"message": "no such\n  model"}},
            }
        }
    }
    found = app_state(state, NAME)
    assert found.phase is phase
    if phase is AppPhase.FAILED:
        assert found.detail == "no such model"


def test_an_application_that_serve_does_not_know_yet_is_starting() -> None:
    assert app_state({}, NAME).phase is AppPhase.STARTING


def test_what_is_deployed_is_what_discovery_reads_back(
    tiny_spec: EngineSpec, replica_state: dict[str, Any]
) -> None:
    pool = Pool(name="h100", supplier_id="acme", gpu="h100", region="eu", tier=2)
    replica_state["applications"][NAME]["deployed_app_config"] = app_config(tiny_spec, pool)
    (record,) = node_records(replica_state)
    assert (record.model, record.supplier_id, record.pool) == ("tollgate-demo", "acme", "h100")
    assert (record.gpu, record.region, record.tier) == ("h100", "eu", 2)
    assert (record.capacity, record.block_size) == (tiny_spec.requests_max, 32)
