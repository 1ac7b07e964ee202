"""Whether there are canaries: only then is what they need imported."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from gateway.admission.ids import Ids
from gateway.config import Config
from gateway.nodes.upstream import Upstream
from gateway.openai.request import Endpoint
from router.router import Router


def running(
    config: Config,
    router: Router,
    upstream: Upstream,
    count: Callable[[str, str], None],
    measure: Callable[[str, float], None],
) -> list[Coroutine[Any, Any, None]]:
    """What goes on for the gateway's lifetime, in one of its workers."""
    if config.canaries is None:
        return []
    from gateway.canaries.canaries import Canaries  # here, because few need it

    canaries = Canaries(
        config.canaries,
        router=router,
        upstream=upstream,
        models=[model.id for model in config.model if Endpoint.CHAT in model.kinds],
        count=count,
        measure=measure,
        request_id=Ids().request_id,
    )
    return [canaries.run()]
