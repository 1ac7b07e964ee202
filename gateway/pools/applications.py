"""The Serve applications that a configuration asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.config import Config, ModelConfig
from gateway.config_error import ConfigError
from gateway.openai.request import Endpoint
from gateway.pools.config import GpuClassConfig, PoolConfig, RayConfig
from serving.engine_spec import Device, EngineSpec, ModelFacts, ModelKind
from serving.model_files import ModelError, read_facts
from serving.ray_app import MANAGED_BY, Pool, Scaling, app_config

_KINDS = {
    Endpoint.CHAT: ModelKind.CHAT,
    Endpoint.COMPLETIONS: ModelKind.COMPLETIONS,
    Endpoint.EMBEDDINGS: ModelKind.EMBEDDINGS,
    Endpoint.RERANK: ModelKind.EMBEDDINGS,
    Endpoint.SCORE: ModelKind.EMBEDDINGS,
}
"""vLLM runs models that generate, and models that pool."""


def applications(config: Config) -> list[dict[str, Any]]:
    """In Serve's schema, one for each pool of each model. Raises ConfigError."""
    assert config.ray is not None, "the caller has looked"
    classes = {gpu_class.name: gpu_class for gpu_class in config.gpu_class}
    found: dict[str, str] = {}
    wanted = []
    for model in config.model:
        for order, pool in enumerate(model.pool):
            gpu_class = classes[pool.gpu_class]
            app = app_config(
                _spec(model, pool, gpu_class, config.ray), _pool(order, pool, gpu_class)
            )
            other = found.setdefault(app["name"], model.id)
            if other != model.id:
                raise ConfigError(
                    f"models '{other}' and '{model.id}' would both be the application "
                    f"'{app['name']}'; give one another id"
                )
            wanted.append(app)
    return wanted


def _pool(order: int, pool: PoolConfig, gpu_class: GpuClassConfig) -> Pool:
    return Pool(
        name=gpu_class.name,
        supplier_id=gpu_class.supplier,
        gpu=gpu_class.gpu,
        region=gpu_class.region,
        tier=gpu_class.tier,
        scaling=Scaling(
            replicas_min=pool.replicas_min,
            replicas_max=pool.replicas_max,
            target_ongoing_requests=pool.target_ongoing_requests,
            upscale_delay_s=pool.upscale_delay_s,
            downscale_delay_s=pool.downscale_delay_s,
            downscale_to_zero_delay_s=pool.downscale_to_zero_delay_s,
        ),
        cpus_per_replica=pool.cpus_per_replica or gpu_class.cpus_per_replica,
        gpus_per_replica=_gpus(pool, gpu_class),
        label_selector=gpu_class.labels,
        drain_s=pool.drain_s,
        surge_percent=pool.surge_percent,
        wake_order=order,
        simulation=pool.simulated,
        managed_by=MANAGED_BY,
    )


def _gpus(pool: PoolConfig, gpu_class: GpuClassConfig) -> float:
    own = pool.gpus_per_replica
    return gpu_class.gpus_per_replica if own is None else own


def _spec(
    model: ModelConfig, pool: PoolConfig, gpu_class: GpuClassConfig, ray: RayConfig
) -> EngineSpec:
    device = Device.GPU if _gpus(pool, gpu_class) else Device.CPU
    return EngineSpec(
        model_path=model.path,
        served_name=model.id,
        facts=_facts(model, device, simulated=pool.simulated is not None),
        device=device,
        cache_dir=ray.cache_dir,
        requests_max=pool.requests_max or gpu_class.requests_max,
        threads=max(1, int(pool.cpus_per_replica or gpu_class.cpus_per_replica)),
        extra_args=(*gpu_class.vllm_args, *pool.vllm_args),
    )


def _facts(model: ModelConfig, device: Device, *, simulated: bool) -> ModelFacts:
    """Of the configuration; a CPU's cache is sized by what the model's own files say."""
    kv_bytes_per_token = 0
    if device is Device.CPU and not simulated:
        try:
            kv_bytes_per_token = read_facts(Path(model.path)).kv_bytes_per_token
        except ModelError as error:
            raise ConfigError(f"model '{model.id}': {error}") from None
    return ModelFacts(
        kinds=tuple(dict.fromkeys(_KINDS[kind] for kind in model.kinds)),
        context_tokens_max=model.context_tokens_max,
        kv_bytes_per_token=kv_bytes_per_token,
    )
