"""One Serve application per (model, pool): its configuration, and what its state says.

Pure: dictionaries in Ray's REST schema in, values out. What concerns the engine stands in `args`
and `runtime_env`: a change of it starts new replicas and drains the old. How many there are, and
what their node records say, stands in `deployments`: a change of that restarts nothing.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from serving.engine_spec import Device, EngineSpec, block_size, engine_argv, engine_env

MANAGED_BY = "tollgate pools"
DEPLOYMENT = "Replica"
"""What every application calls its only deployment."""

LOOK_BACK_S = 5.0
"""Over which Serve takes the mean of ongoing requests; the delays are what damps it."""


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """How many replicas a pool has: by the requests that run on them, between two bounds."""

    replicas_min: int = 1
    replicas_max: int = 1
    target_ongoing_requests: float = 16.0
    """Of each replica; more of them bring another one."""
    upscale_delay_s: float = 10.0
    downscale_delay_s: float = 300.0
    downscale_to_zero_delay_s: float = 900.0
    """For the last one, where the least is none."""


class Simulation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine without a model that answers words at a pace: to try a cluster without GPUs."""

    ttft_ms: float = 0.0
    """Until the first token."""
    token_ms: float = 0.0
    """For each further one."""
    seed: int = 0
    """Of the words' chance."""


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of one kind that serve one model; the labels that each of its node records carries."""

    name: str = "default"
    supplier_id: str = "local"
    gpu: str = ""
    region: str = ""
    tier: int = 0
    scaling: Scaling = Scaling()
    cpus_per_replica: float = 1.0
    gpus_per_replica: float = 1.0
    label_selector: Mapping[str, str] = {}
    """Ray node labels that a replica's machine must have."""
    drain_s: float = 30.0
    """How long a replica that is to end goes on with the requests that it has."""
    surge_percent: int = 0
    """Replicas that an update may start before it ends old ones, in percent of all."""
    wake_order: int = 0
    """Of a model's pools that have no replica, the one with the least is woken first."""
    simulation: Simulation | None = None
    managed_by: str = ""


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
    """The application in Serve's schema. `user_config` is what discovery reads back."""
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
    import_path, args = "serving.vllm_replica:build", {"argv": engine_argv(spec)}
    if pool.simulation is not None:
        import_path, args = "serving.simulated_replica:build", _simulated(spec, pool.simulation)
    return {
        "name": app_name(spec, pool),
        "route_prefix": f"/{app_name(spec, pool)}",
        "import_path": import_path,
        "args": args,
        "runtime_env": {"env_vars": engine_env(spec)},
        "deployments": [
            {
                "name": DEPLOYMENT,
                **_replicas(pool.scaling),
                # Serve must not refuse what the gateway has admitted: the engine queues, the
                # router counts.
                "max_ongoing_requests": spec.requests_max * 4,
                "graceful_shutdown_timeout_s": pool.drain_s,
                "max_surge_percent": pool.surge_percent,
                "ray_actor_options": _actor(spec, pool),
                "user_config": {
                    "node": node,
                    "wake_order": pool.wake_order,
                    "managed_by": pool.managed_by,
                },
            }
        ],
    }


def _simulated(spec: EngineSpec, simulation: Simulation) -> dict[str, Any]:
    return {
        "model": spec.served_name,
        "context_tokens_max": spec.facts.context_tokens_max,
        **msgspec.structs.asdict(simulation),
    }


def _actor(spec: EngineSpec, pool: Pool) -> dict[str, Any]:
    actor: dict[str, Any] = {"num_cpus": pool.cpus_per_replica}
    if spec.device is Device.GPU:
        actor["num_gpus"] = pool.gpus_per_replica
    if pool.label_selector:
        actor["label_selector"] = dict(pool.label_selector)
    return actor


def _replicas(scaling: Scaling) -> dict[str, Any]:
    if scaling.replicas_min == scaling.replicas_max:
        return {"num_replicas": scaling.replicas_max}
    autoscaling = {
        "min_replicas": scaling.replicas_min,
        "max_replicas": scaling.replicas_max,
        "target_ongoing_requests": scaling.target_ongoing_requests,
        "upscale_delay_s": scaling.upscale_delay_s,
        "downscale_delay_s": scaling.downscale_delay_s,
        "downscale_to_zero_delay_s": scaling.downscale_to_zero_delay_s,
        "look_back_period_s": LOOK_BACK_S,
    }
    return {"autoscaling_config": autoscaling}


def serve_config(
    apps: Sequence[dict[str, Any]], proxy_port: int, host: str = "127.0.0.1"
) -> dict[str, Any]:
    """All that Serve is to run. Its proxy is only there to wake applications from zero; replicas
    listen on `host` too.
    """
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": host, "port": proxy_port},
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
