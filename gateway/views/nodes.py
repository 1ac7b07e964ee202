"""Enrolled nodes as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.enrolment.node import AuditEntry, Node
from gateway.views.fields import seconds


def node_json(node: Node, now_ns: int) -> dict[str, Any]:
    said = node.lease
    return {
        "object": "node",
        "node_id": node.node_id,
        **msgspec.structs.asdict(node.terms),
        "state": state_of(node, now_ns),
        "hardware": msgspec.to_builtins(node.hardware),
        "lease": None
        if said is None
        else {
            "url": said.url,
            "model": said.model,
            "capacity": said.capacity,
            "in_flight": said.in_flight,
            "hardware": msgspec.to_builtins(said.hardware),
            "told_at": seconds(node.told_ns),
            "until": seconds(node.leased_until_ns),
        },
        "enrolled_at": seconds(node.enrolled_ns),
        "revoked_at": seconds(node.revoked_ns),
    }


def state_of(node: Node, now_ns: int) -> str:
    """`revoked`, `silent` (no good lease), `draining` or `ready`."""
    if node.revoked_ns is not None:
        return "revoked"
    if node.lease is None or node.leased_until_ns <= now_ns:
        return "silent"
    return node.lease.state


def audit_json(seq: int, entry: AuditEntry) -> dict[str, Any]:
    return {
        "object": "node_audit",
        "seq": seq,
        "at": seconds(entry.at_ns),
        "actor": entry.actor,
        "action": entry.action,
        "node_id": entry.node_id,
        "detail": entry.detail,
        "times": entry.times,
    }
