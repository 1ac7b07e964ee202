"""What is left today of an account's quotas, category by category."""

from __future__ import annotations

from typing import Any

from gateway.admission.catalogue import Catalogue
from gateway.views.fields import seconds
from metering.cycle import Cycle, cycle_end_ns, cycle_start_ns
from metering.usage_store import GroupBy, UsageFilter, UsageStore

_ROWS_MAX = 100_000


def daily_quotas(
    account: str, catalogue: Catalogue, usage: UsageStore, now_ns: int
) -> list[dict[str, Any]]:
    """Blocks. Raises LedgerError."""
    quotas = {
        model.quota.name: model.quota
        for model in catalogue
        if model.quota is not None and account not in model.quota.exempt
    }
    if not quotas:
        return []
    ends_ns = cycle_end_ns(Cycle.DAILY, now_ns)
    today = UsageFilter(
        account=account, from_ns=cycle_start_ns(Cycle.DAILY, now_ns), until_ns=ends_ns
    )
    used: dict[str, int] = {}
    for row in usage.rows(today, [GroupBy.MODEL], limit=_ROWS_MAX):
        tokens = row.sum.prompt_tokens + row.sum.completion_tokens
        used[str(row.group[0])] = used.get(str(row.group[0]), 0) + tokens
    told = []
    for quota in quotas.values():
        taken = sum(used.get(model, 0) for model in quota.models)
        told.append(
            {
                "category": quota.category,
                "models": list(quota.models),
                "tokens_per_day": quota.tokens_per_day,
                "used": taken,
                "remaining": max(0, quota.tokens_per_day - taken),
                "resets_at": seconds(ends_ns),
            }
        )
    return told
