"""The deployment of `vllm_replica.py` with another engine: words at a pace, no model."""

from typing import Any

from ray import serve

from serving.fake_asgi import AsgiNode
from serving.fake_node import FakeNode
from serving.ray_app import DEPLOYMENT
from serving.replica_port import keep_internal_port_on_loopback
from serving.simulated_engine import Pace


@serve.deployment(name=DEPLOYMENT, health_check_period_s=2, health_check_timeout_s=10)
@serve.ingress()
class SimulatedReplica:
    def __init__(self, model: str, context_tokens_max: int, pace: Pace, seed: int) -> None:
        keep_internal_port_on_loopback()
        self._node = FakeNode(
            model=model, context_tokens_max=context_tokens_max, pace=pace, seed=seed
        )

    async def __serve_build_asgi_app__(self) -> Any:
        return AsgiNode(self._node)

    def reconfigure(self, _user_config: dict[str, Any]) -> None:
        """As in `vllm_replica.py`."""


def build(args: dict[str, Any]) -> serve.Application:
    """What Serve's `import_path` names; `args` are the application's."""
    deployment: Any = SimulatedReplica  # the decorator made it one
    pace = Pace(ttft_ms=args["ttft_ms"], token_ms=args["token_ms"])
    return deployment.bind(args["model"], args["context_tokens_max"], pace, args["seed"])
