"""The audit trail and what is drained as JSON, the same over HTTP and on the command line."""

from __future__ import annotations

from typing import Any

from gateway.audit.trail import AuditLine, value_of
from gateway.drains import Drains
from gateway.routes.views import seconds


def line_json(seq: int, line: AuditLine) -> dict[str, Any]:
    return {
        "object": "audit_line",
        "seq": seq,
        "at": seconds(line.at_ns),
        "via": line.via,
        "who": line.who,
        "source": line.source,
        "action": line.action,
        "subject": line.subject,
        "outcome": line.outcome,
        "detail": line.detail,
        "before": value_of(line.was),
        "after": value_of(line.became),
    }


def drains_json(drains: Drains) -> dict[str, Any]:
    """Since when, by id."""
    return {
        "object": "drains",
        "nodes": {name: seconds(since_ns) for name, since_ns in drains.nodes.items()},
        "models": {name: seconds(since_ns) for name, since_ns in drains.models.items()},
    }
