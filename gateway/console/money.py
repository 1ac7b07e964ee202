"""Customers, keys and budgets as the operator sees them. It blocks: not for the loop."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.books import Books
from metering.cycle import Cycle, cycle_end_ns, cycle_start_ns
from metering.keys import ApiKey
from metering.usage_store import GroupBy, UsageFilter

_ROWS = 100
_DEPOSITS = 20
_KEYS_READ = 1_000


class CapLine(msgspec.Struct, frozen=True, kw_only=True):
    key: ApiKey
    spent_nano_usd: int
    """In the cycle that goes on, or ever; sub-keys with it."""
    until_ns: int | None
    """When the cycle ends; None: the cap is for life."""

    @property
    def permille(self) -> int:
        cap = self.key.spend_cap_nano_usd or 1
        return min(1000, 1000 * self.spent_nano_usd // cap)


def customer_page(books: Books, account: str, now_ns: int) -> dict[str, Any] | None:
    """None: there is no such account. Raises AccountError, LedgerError."""
    customer = books.customers.get(account)
    if customer is None:
        return None
    month = UsageFilter(
        account=account, from_ns=cycle_start_ns(Cycle.MONTHLY, now_ns), until_ns=now_ns
    )
    return {
        "customer": customer,
        "keys": books.keys.page(account=account, limit=_ROWS),
        "used": books.usage.total(month),
        "by_model": books.usage.rows(month, [GroupBy.MODEL], limit=_ROWS),
        "deposits": books.billing.deposits.deposits(account, limit=_DEPOSITS),
    }


def budgets(books: Books, now_ns: int) -> dict[str, Any]:
    """Accounts whose balance was warned of, and keys with a cap, the most used first."""
    capped = [
        key
        for key in books.keys.page(limit=_KEYS_READ)
        if key.spend_cap_nano_usd is not None and key.revoked_ns is None
    ]
    caps = [_cap(books, key, now_ns) for key in capped[:_ROWS]]
    customers = books.customers.page(limit=_KEYS_READ)
    return {
        "caps": sorted(caps, key=lambda line: -line.permille),
        "low": [each for each in customers if each.warned_ns is not None],
        "lent": [each for each in customers if each.credit_line_nano_usd],
        "warnings": books.customers.warnings(limit=_ROWS),
    }


def _cap(books: Books, key: ApiKey, now_ns: int) -> CapLine:
    start_ns, until_ns = 0, None
    if key.spend_cycle is not None:
        start_ns = cycle_start_ns(key.spend_cycle, now_ns)
        until_ns = cycle_end_ns(key.spend_cycle, now_ns)
    (spent,) = books.usage.spent(key.key_id, [start_ns])
    return CapLine(key=key, spent_nano_usd=spent, until_ns=until_ns)
