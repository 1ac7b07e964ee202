"""The Ray Serve deployment: one replica is one vLLM engine with vLLM's own OpenAI app.

Serve starts, watches and replaces replicas; a request never passes through Serve's proxy, for each
replica listens on a port of its own (direct ingress, see `ray_node.py`).
"""

import argparse
from typing import Any

from ray import serve

from serving import vllm_adapter
from serving.ray_app import DEPLOYMENT
from serving.replica_port import keep_internal_port_on_loopback


@serve.deployment(name=DEPLOYMENT, health_check_period_s=2, health_check_timeout_s=10)
@serve.ingress()  # late bound: Serve asks __serve_build_asgi_app__ once the engine is there
class VLLMReplica:
    async def __init__(self, argv: list[str]) -> None:  # type: ignore[misc]  # Serve awaits it
        keep_internal_port_on_loopback()
        # Not awaiting anything, but the engine wants the replica's event loop to be running.
        self._args: argparse.Namespace = vllm_adapter.parse_args(argv)
        self._engine = vllm_adapter.start_engine(self._args)

    async def __serve_build_asgi_app__(self) -> Any:
        return await vllm_adapter.build_asgi_app(self._engine, self._args)

    def reconfigure(self, _user_config: dict[str, Any]) -> None:
        """The node's record has changed, which is discovery's to read: the engine stays."""

    async def check_health(self) -> None:
        """Raises when an engine process has died; Serve then replaces the replica."""
        await self._engine.check_health()

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.shutdown()


def build(args: dict[str, Any]) -> serve.Application:
    """What Serve's `import_path` names; `argv` of the application's `args` is vLLM's arguments."""
    deployment: Any = VLLMReplica  # the decorator made it one
    return deployment.bind(args["argv"])
