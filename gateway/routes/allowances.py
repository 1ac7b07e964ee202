"""What is left today of an account's free tokens, model by model."""

from __future__ import annotations

from typing import Any

from gateway.admission.catalogue import Catalogue
from gateway.views.fields import seconds
from metering.cycle import Cycle, cycle_end_ns, cycle_start_ns
from metering.purse import FREE
from metering.usage_store import GroupBy, UsageFilter, UsageStore

_ROWS_MAX = 100_000


def allowances(
    account: str, catalogue: Catalogue, usage: UsageStore, now_ns: int
) -> list[dict[str, Any]]:
    """Blocks. Raises LedgerError."""
    granted = {
        model.id: model.free_tokens_per_day
        for model in catalogue
        if model.free_tokens_per_day is not None
    }
    if not granted:
        return []
    ends_ns = cycle_end_ns(Cycle.DAILY, now_ns)
    today = UsageFilter(
        account=account, from_ns=cycle_start_ns(Cycle.DAILY, now_ns), until_ns=ends_ns
    )
    used = {
        row.group[0]: row.sum.prompt_tokens + row.sum.completion_tokens
        for row in usage.rows(today, [GroupBy.MODEL], limit=_ROWS_MAX)
        if row.group[1] == FREE.version
    }
    return [
        {
            "model": model,
            "free_tokens_per_day": tokens,
            "used": used.get(model, 0),
            "remaining": max(0, tokens - used.get(model, 0)),
            "resets_at": seconds(ends_ns),
        }
        for model, tokens in granted.items()
    ]
