"""What a key is told of itself, under the names that OpenRouter's `GET /api/v1/key` has, and ours.

OpenRouter's are numbers of USD, written out in full: no float comes near them. Ours are exact in
nano-USD and as text.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.views.customers import key_json
from gateway.views.fields import usd
from metering.customer_store import CustomerStore
from metering.cycle import Cycle, cycle_end_ns, cycle_start_ns
from metering.key_store import KeyStore
from metering.keys import ApiKey
from metering.money import format_usd
from metering.usage_store import UsageStore

_SECOND_NS = 1_000_000_000


def key_report(
    key: ApiKey, store: KeyStore, usage: UsageStore, customers: CustomerStore, now_ns: int
) -> dict[str, Any]:
    """Blocks. Raises LedgerError."""
    cycles = (Cycle.DAILY, Cycle.WEEKLY, Cycle.MONTHLY)
    starts_ns = [0, *(cycle_start_ns(cycle, now_ns) for cycle in cycles)]
    life, *in_cycles = usage.spent(key.key_id, [*starts_ns, _cap_start_ns(key, now_ns)])
    *in_cycles, in_cap = in_cycles
    left = _left(key, in_cap)
    parent = None if key.parent_key_id is None else store.get(key.parent_key_id)
    if parent is not None and parent.spend_cap_nano_usd is not None:
        (taken,) = usage.spent(parent.key_id, [_cap_start_ns(parent, now_ns)])
        of_parent = _left(parent, taken)
        left = of_parent if left is None or of_parent is None else min(left, of_parent)
    resets_ns = None if key.spend_cycle is None else cycle_end_ns(key.spend_cycle, now_ns)
    report = {
        **key_json(key),
        "label": key.name or key.key_id,
        "limit": _number(key.spend_cap_nano_usd),
        "limit_remaining": _number(left),
        "limit_reset": key.spend_cycle,
        "usage": _number(life),
        **{
            f"usage_{cycle}": _number(spent) for cycle, spent in zip(cycles, in_cycles, strict=True)
        },
        "is_management_key": key.manages_keys,
        "expires_at": _iso(key.expires_ns),
        **usd("spent_in_cycle", in_cap),
        **usd("remaining", left),
        "resets_at": None if resets_ns is None else resets_ns // _SECOND_NS,
    }
    if key.parent_key_id is None:
        account = customers.get(key.account)
        report |= usd("account_available", 0 if account is None else account.balance.available)
    return report


def _cap_start_ns(key: ApiKey, now_ns: int) -> int:
    return 0 if key.spend_cycle is None else cycle_start_ns(key.spend_cycle, now_ns)


def _left(key: ApiKey, spent: int) -> int | None:
    cap = key.spend_cap_nano_usd
    return None if cap is None else max(0, cap - spent)


def _number(nano_usd: int | None) -> msgspec.Raw | None:
    """A JSON number of USD, exact."""
    return None if nano_usd is None else msgspec.Raw(format_usd(nano_usd).encode())


def _iso(time_ns: int | None) -> str | None:
    if time_ns is None:
        return None
    return datetime.fromtimestamp(time_ns // _SECOND_NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
