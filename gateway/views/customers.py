"""Customers and keys as JSON."""

from __future__ import annotations

from typing import Any

from gateway.views.fields import seconds, usd
from metering.customer_store import BalanceWarning, Customer
from metering.keys import ApiKey
from metering.limits import Limits


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
