"""One Serve application per (model, pool): its configuration, and what its state says.

Pure: dictionaries in Ray's REST schema in, values out.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from serving.engine_spec import Device, EngineSpec, block_size, engine_argv, engine_env


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of one kind that serve one model; the labels that each of its node records carries."""

    name: str = "default"
    supplier_id: str = "local"
    gpu: str = ""
    region: str = ""
    tier: int = 0
    replicas: int = 1
    gpus_per_replica: int = 1
    label_selector: Mapping[str, str] = {}
    """Ray node labels that a replica's machine must have."""


class AppPhase(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"


class AppState(msgspec.Struct, frozen=True, kw_only=True):
    phase: AppPhase
    detail: str
    """What Serve says of it, on one line; with the reason when it failed."""


def app_name(spec: EngineSpec, pool: Pool) -> str:
    """Serve's name of the application, made of letters, digits and dashes."""
    text = f"{spec.served_name}-{pool.name}".lower()
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text)


def app_config(spec: EngineSpec, pool: Pool) -> dict[str, Any]:
    """The application in Serve's schema. `args.node` is what discovery reads back."""
    actor: dict[str, Any] = {"num_cpus": 1}
    if spec.device is Device.GPU:
        actor["num_gpus"] = pool.gpus_per_replica
    if pool.label_selector:
        actor["label_selector"] = dict(pool.label_selector)
    deployment = {
        "num_replicas": pool.replicas,
        # Serve must not refuse what the gateway has admitted: the engine queues, the router counts.
        "max_ongoing_requests": spec.requests_max * 4,
        "ray_actor_options": actor,
    }
    node = {
        "supplier_id": pool.supplier_id,
        "model": spec.served_name,
        "pool": pool.name,
        "gpu": pool.gpu,
        "region": pool.region,
        "tier": pool.tier,
        "capacity": spec.requests_max,
        "block_size": block_size(spec),
    }
    return {
        "name": app_name(spec, pool),
        "route_prefix": f"/{app_name(spec, pool)}",
        "import_path": "serving.vllm_replica:build",
        "args": {"argv": engine_argv(spec), "deployment": deployment, "node": node},
        "runtime_env": {"env_vars": engine_env(spec)},
    }


def serve_config(apps: Sequence[dict[str, Any]], proxy_port: int) -> dict[str, Any]:
    """All that Serve is to run. Its proxy is only there to wake applications from zero."""
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": proxy_port},
        "applications": list(apps),
    }


def app_state(state: Mapping[str, Any], name: str) -> AppState:
    """What `GET /api/serve/applications/` says of one application."""
    app = state.get("applications", {}).get(name)
    if app is None:
        return AppState(phase=AppPhase.STARTING, detail="Serve starts its controller")
    status = str(app.get("status", ""))
    if status == "RUNNING":
        return AppState(phase=AppPhase.RUNNING, detail="running")
    messages = [str(app.get("message", ""))]
    messages += [str(d.get("message", "")) for d in app.get("deployments", {}).values()]
    detail = " ".join(" ".join(messages).split())
    if status in ("DEPLOY_FAILED", "UNHEALTHY"):
        return AppState(phase=AppPhase.FAILED, detail=detail)
    return AppState(phase=AppPhase.STARTING, detail=detail or status.lower())
