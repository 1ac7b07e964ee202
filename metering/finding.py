"""What a check of a node's usage found. A finding is evidence, never a correction of a bill."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class FindingKind(StrEnum):
    IMPOSSIBLE = "impossible"
    """More tokens than the request could have come to."""
    COMPLETION_COUNT = "completion_count"
    """One answer: more completion tokens than its text comes to."""
    COMPLETION_DRIFT = "completion_drift"
    """Many answers: each by a little."""
    PROMPT_COUNT = "prompt_count"
    """One request: more prompt tokens than its text and a chat template come to."""
    PROMPT_DRIFT = "prompt_drift"
    """Many requests: each by a little."""
    NODE_COUNTERS = "node_counters"
    """The ledger has more tokens of the node than the node's own counters have."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Kept for ever. Two with one `finding_id` are the same finding."""

    finding_id: str
    kind: FindingKind
    node_id: str
    supplier_id: str
    model: str
    request_id: str | None
    """None of what many requests showed."""
    expected: int
    """Tokens: the most that an honest node would have claimed."""
    claimed: int
    """Tokens: what the node claimed."""
    evidence: dict[str, int | str]
    """What `expected` was worked out from."""
    found_ns: int
    """Wall clock."""
