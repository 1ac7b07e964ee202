"""Ray 2.60's own answer about one running replica (shortened), and a small engine's spec."""

import copy
from typing import Any

import pytest

from serving.engine_spec import Device, EngineSpec, ModelFacts, ModelKind

TINY_SPEC = EngineSpec(
    model_path="/models/tollgate-demo",
    served_name="tollgate-demo",
    facts=ModelFacts(
        kinds=(ModelKind.CHAT, ModelKind.COMPLETIONS),
        context_tokens_max=4096,
        kv_bytes_per_token=1024,
    ),
    device=Device.CPU,
    cache_dir="cache",
)

REPLICA_STATE: dict[str, Any] = {
    "applications": {
        "tollgate-demo-default": {
            "status": "RUNNING",
            "message": "",
            "deployed_app_config": {
                "name": "tollgate-demo-default",
                "args": {"argv": ["--model", "/models/tollgate-demo"]},
                "deployments": [
                    {
                        "name": "Replica",
                        "num_replicas": 1,
                        "user_config": {
                            "node": {
                                "supplier_id": "local",
                                "model": "tollgate-demo",
                                "pool": "default",
                                "gpu": "",
                                "region": "",
                                "tier": 0,
                                "capacity": 64,
                                "block_size": 32,
                            },
                            "wake_order": 0,
                            "managed_by": "",
                        },
                    }
                ],
            },
            "deployments": {
                "Replica": {
                    "message": "",
                    "target_num_replicas": 1,
                    "replicas": [
                        {"replica_id": "5kx3a7lq", "state": "RUNNING", "node_id": "641a0349"}
                    ],
                }
            },
        }
    },
    "target_groups": [
        {
            "app_name": "tollgate-demo-default",
            "route_prefix": "/tollgate-demo-default",
            "protocol": "HTTP",
            "targets": [
                {
                    "ip": "127.0.0.1",
                    "port": 30000,
                    "instance_id": "",
                    "name": "SERVE_REPLICA::tollgate-demo-default#Replica#5kx3a7lq",
                }
            ],
        }
    ],
}


@pytest.fixture
def tiny_spec() -> EngineSpec:
    return TINY_SPEC


@pytest.fixture
def replica_state() -> dict[str, Any]:
    return copy.deepcopy(REPLICA_STATE)
