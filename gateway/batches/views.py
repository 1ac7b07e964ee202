"""Batches as OpenAI's API tells them; what is not known yet is left out. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.batches.batch import WINDOW, Batch, Status

_TIMES = (
    "in_progress",
    "expires",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
)


def batch_view(batch: Batch) -> dict[str, Any]:
    """With the counts as they are now."""
    view: dict[str, Any] = {
        "id": batch.batch_id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "input_file_id": batch.input_file_id,
        "completion_window": WINDOW,
        "status": batch.status.value,
        "created_at": batch.created_ns // 10**9,
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
    }
    for name in _TIMES:
        time_ns = getattr(batch, f"{name}_ns")
        if time_ns is not None:
            view[f"{name}_at"] = time_ns // 10**9
    for name in ("model", "output_file_id", "error_file_id"):
        if (value := getattr(batch, name)) is not None:
            view[name] = value
    for name in ("metadata", "errors"):
        if (text := getattr(batch, name)) is not None:
            view[name] = msgspec.json.decode(text)
    if batch.status is not Status.VALIDATING and batch.total:
        view["usage"] = _usage(batch)
    return view


def _usage(batch: Batch) -> dict[str, Any]:
    return {
        "input_tokens": batch.prompt_tokens,
        "input_tokens_details": {"cached_tokens": batch.cached_tokens},
        "output_tokens": batch.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": batch.reasoning_tokens},
        "total_tokens": batch.prompt_tokens + batch.completion_tokens,
    }
