"""What is drained as JSON."""

from __future__ import annotations

from typing import Any

from gateway.drain_store import Drains
from gateway.views.fields import seconds


def drains_json(drains: Drains) -> dict[str, Any]:
    """Since when, by id."""
    return {
        "object": "drains",
        "nodes": {name: seconds(since_ns) for name, since_ns in drains.nodes.items()},
        "models": {name: seconds(since_ns) for name, since_ns in drains.models.items()},
    }
