"""Customers and keys as JSON, the same over HTTP and on the command line.

`*_at` is Unix time in seconds; `*_nano_usd` counts 1e-9 USD and `*_usd` is the same as exact text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from metering.customer_store import BalanceWarning, Customer
from metering.keys import ApiKey
from metering.limits import Limits
from metering.money import format_usd

T = TypeVar("T")

_SECOND_NS = 1_000_000_000


def key_json(key: ApiKey) -> dict[str, Any]:
    return {
        "object": "key",
        "key_id": key.key_id,
        "account": key.account,
        "name": key.name,
        **{name: getattr(key.limits, name) for name in Limits.__struct_fields__},
        "models": key.models,
        **usd("spend_cap", key.spend_cap_nano_usd),
        "spend_cycle": key.spend_cycle,
        "manages_keys": key.manages_keys,
        "usage_always": key.usage_always,
        "allows_unknown_parameters": key.allows_unknown_parameters,
        "refuses_waking": key.refuses_waking,
        "parent_key_id": key.parent_key_id,
        "created_at": seconds(key.created_ns),
        "expires_at": seconds(key.expires_ns),
        "revoked_at": seconds(key.revoked_ns),
        "previous_secret_until": seconds(key.previous_until_ns),
    }


def customer_json(customer: Customer) -> dict[str, Any]:
    balance = customer.balance
    return {
        "object": "account",
        "account": customer.account,
        "state": customer.state,
        **usd("available", balance.available),
        **usd("balance", balance.posted),
        **usd("held", balance.debits_pending),
        **usd("paid_in", balance.credits_posted - customer.lender.debits_posted),
        **usd("spent", balance.debits_posted - customer.lender.credits_posted),
        **usd("credit_line", customer.credit_line_nano_usd),
        **usd("credit_drawn", customer.credit_drawn_nano_usd),
        **usd("warn_below", customer.warn_below_nano_usd),
        "warned_at": seconds(customer.warned_ns),
        "created_at": seconds(customer.created_ns),
    }


def warning_json(warning: BalanceWarning) -> dict[str, Any]:
    return {
        "object": "balance_warning",
        "account": warning.account,
        "warned_at": seconds(warning.warned_ns),
        **usd("threshold", warning.threshold_nano_usd),
        **usd("available", warning.available_nano_usd),
    }


def page_json(
    found: Sequence[T], limit: int, show: Callable[[T], dict[str, Any]], cursor: Callable[[T], str]
) -> dict[str, Any]:
    """A list of at most `limit`, of which one more was asked for to see if there is more."""
    shown = found[:limit]
    more = len(found) > limit
    return {
        "object": "list",
        "data": [show(each) for each in shown],
        "has_more": more,
        "next_cursor": cursor(shown[-1]) if more else None,
    }


def usd(name: str, nano_usd: int | None) -> dict[str, int | str | None]:
    text = None if nano_usd is None else format_usd(nano_usd)
    return {f"{name}_nano_usd": nano_usd, f"{name}_usd": text}


def seconds(time_ns: int | None) -> int | None:
    return None if time_ns is None else time_ns // _SECOND_NS
