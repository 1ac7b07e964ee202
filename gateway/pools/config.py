"""`[ray]`, `[[gpu_class]]`, `[[model.pool]]`: where replicas of a model may run, how many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from gateway.config_error import ConfigError
from serving.ray_app import Simulation

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Amount = Annotated[float, msgspec.Meta(gt=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]
_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,40}$")]
_SupplierId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9._-]{1,64}$")]


class RayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Ray cluster whose Serve replicas are nodes; each application says what it serves."""

    dashboard_url: str
    """Such as "http://127.0.0.1:8265"."""
    token_file: str = ""
    """Empty: the cluster asks for no token."""
    poll_interval_ms: _Positive = 1000
    """How often its replicas are read."""
    wake_wait_s: _Positive = 120
    """The longest that a request waits for the first replica of a model that has none."""
    host: str = "127.0.0.1"
    """Where replicas listen, and Serve's proxy, which only wakes them."""
    proxy_port: _Port = 8000
    """Of Serve's proxy."""
    cache_dir: str = "/var/cache/tollgate"
    """On the machines of the replicas: what vLLM and torch compile."""

    @property
    def token_path(self) -> Path | None:
        return Path(self.token_file) if self.token_file else None


class GpuClassConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Machines of one kind, known by the labels that their Ray nodes were started with."""

    name: _Name
    """What pools call it."""
    labels: Mapping[str, str]
    """Those that a machine must have."""
    gpu: str = ""
    """As the price list and the router call it, such as "H100"."""
    supplier: _SupplierId = "local"
    """Who is paid for its nodes."""
    region: str = ""
    """Where it stands: requests may name it."""
    tier: int = 0
    """What requests may ask for at least."""
    gpus_per_replica: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    """0: vLLM for CPUs."""
    cpus_per_replica: _Amount = 1.0
    """That Ray sets aside."""
    requests_max: _Positive = 64
    """Sequences that a replica runs in one batch."""
    vllm_args: tuple[str, ...] = ()
    """For every model on this class."""


class PoolConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One class of GPUs that a model may run on. The first of a model is woken first."""

    gpu_class: str
    """The `name` of a [[gpu_class]]."""
    replicas_min: _Count = 1
    """0: none while nobody asks."""
    replicas_max: _Positive = 1
    """No more, whatever is asked."""
    target_ongoing_requests: _Amount = 16.0
    """Of each replica, the mean of five seconds; more bring another one."""
    upscale_delay_s: _Seconds = 10.0
    """How long load must be above the target before a replica is added."""
    downscale_delay_s: _Seconds = 300.0
    """How long it must be below before one is ended."""
    downscale_to_zero_delay_s: _Seconds = 900.0
    """The same for the last one."""
    drain_s: _Seconds = 600.0
    """How long a replica that is to end goes on with the requests that it has."""
    surge_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """Replicas that an update may start before it ends old ones; they need free GPUs."""
    gpus_per_replica: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Where this model needs more, or fewer, than the class says."""
    cpus_per_replica: _Amount | None = None
    """In place of the class's."""
    requests_max: _Positive | None = None
    """In place of the class's."""
    vllm_args: tuple[str, ...] = ()
    """After those of the class."""
    simulated: Simulation | None = None
    """Instead of vLLM: words at a pace, to try a cluster without GPUs."""


def check_pools(models: tuple[Any, ...], classes: tuple[GpuClassConfig, ...]) -> None:
    """What no single field can tell, of `[[model]]` sections. Raises ConfigError."""
    names = {gpu_class.name for gpu_class in classes}
    for model in models:
        asked = [pool.gpu_class for pool in model.pool]
        for pool in model.pool:
            where = f"model '{model.id}': pool '{pool.gpu_class}'"
            if pool.gpu_class not in names:
                raise ConfigError(f"{where}: there is no [[gpu_class]] of that name")
            if asked.count(pool.gpu_class) > 1:
                raise ConfigError(f"{where} is configured twice; a model has one on each class")
            if pool.replicas_min > pool.replicas_max:
                raise ConfigError(
                    f"{where}: replicas_min {pool.replicas_min} is above "
                    f"replicas_max {pool.replicas_max}"
                )
            if pool.simulated is None and not model.path:
                raise ConfigError(
                    f"{where}: set the model's path, a directory with its weights on every "
                    "machine of the class"
                )
