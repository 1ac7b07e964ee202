"""The Ray Serve deployment: one replica is one vLLM engine with vLLM's own OpenAI app.

Serve starts, watches and replaces replicas; a request never passes through Serve's proxy, for each
replica listens on a port of its own (direct ingress, see `ray_node.py`).
"""

import argparse
from typing import Any

import ray
from ray import serve
from ray.serve._private import replica

from serving import vllm_adapter


@serve.deployment(
    health_check_period_s=2, health_check_timeout_s=10, graceful_shutdown_timeout_s=30
)
@serve.ingress()  # late bound: Serve asks __serve_build_asgi_app__ once the engine is there
class VLLMReplica:
    async def __init__(self, argv: list[str]) -> None:  # type: ignore[misc]  # Serve awaits it
        _keep_internal_port_on_loopback()
        # Not awaiting anything, but the engine wants the replica's event loop to be running.
        self._args: argparse.Namespace = vllm_adapter.parse_args(argv)
        self._engine = vllm_adapter.start_engine(self._args)

    async def __serve_build_asgi_app__(self) -> Any:
        return await vllm_adapter.build_asgi_app(self._engine, self._args)

    async def check_health(self) -> None:
        """Raises when an engine process has died; Serve then replaces the replica."""
        await self._engine.check_health()

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.shutdown()


def _keep_internal_port_on_loopback() -> None:
    """Binds Serve's port for calls between deployments to the node's own address.

    Serve opens it on every interface of the machine, and there are no such calls here. On a node
    that was started on loopback nothing is then reachable from outside.
    """
    add_port = replica.add_port_to_grpc_server
    host = ray.util.get_node_ip_address()
    replica.add_port_to_grpc_server = lambda server, address: add_port(
        server, address.replace("[::]", host)
    )


def build(args: dict[str, Any]) -> serve.Application:
    """What Serve's `import_path` names; `args` is the `args` of the app's configuration.

    `argv`: vLLM's arguments. `deployment`: options of the deployment (`num_replicas`,
    `max_ongoing_requests`, `ray_actor_options`, `autoscaling_config`). `node` is for discovery.
    """
    deployment: Any = VLLMReplica  # the decorator made it one
    return deployment.options(**args["deployment"]).bind(args["argv"])
