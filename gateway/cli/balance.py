"""A balance as commands on accounts tell it."""

from __future__ import annotations

from metering.ledger import Balance
from metering.money import format_usd


def balance_line(account: str, balance: Balance) -> dict[str, object]:
    return {
        "account": account,
        "available_nano_usd": balance.available,
        "balance_nano_usd": balance.posted,
        "held_nano_usd": balance.debits_pending,
        "paid_in_nano_usd": balance.credits_posted,
        "spent_nano_usd": balance.debits_posted,
        "available_usd": format_usd(balance.available),
    }
