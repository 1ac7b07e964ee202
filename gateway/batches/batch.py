"""A batch: its record and its states, as OpenAI has them. Pure.

validating   -> in_progress | failed (a line is no request) | cancelling
in_progress  -> finalizing (every line has an answer) | cancelling | expired
finalizing   -> completed
cancelling   -> cancelled
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

WINDOW = "24h"
WINDOW_NS = 24 * 3600 * 10**9
LINES_MAX = 50_000


class Status(StrEnum):
    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


UNFINISHED = frozenset(
    {Status.VALIDATING, Status.IN_PROGRESS, Status.FINALIZING, Status.CANCELLING}
)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One row; the times are wall clock, None until they have come."""

    batch_id: str
    account: str
    key_id: str
    """Whose terms and limits its lines are under."""
    endpoint: str
    input_file_id: str
    metadata: str | None
    """JSON."""
    output_expires_s: int | None
    status: Status
    model: str | None = None
    errors: str | None = None
    """JSON, of a batch whose input was refused."""
    output_file_id: str | None = None
    error_file_id: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    created_ns: int
    expires_ns: int
    in_progress_ns: int | None = None
    finalizing_ns: int | None = None
    completed_ns: int | None = None
    failed_ns: int | None = None
    expired_ns: int | None = None
    cancelling_ns: int | None = None
    cancelled_ns: int | None = None
