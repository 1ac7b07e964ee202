"""A line of the audit trail as JSON, the same over HTTP and on the command line."""

from __future__ import annotations

from typing import Any

from gateway.audit.trail import AuditLine, value_of
from gateway.views.fields import seconds


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
