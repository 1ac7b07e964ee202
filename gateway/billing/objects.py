"""Deposits, refunds and statements as the API and `--json` tell them."""

from __future__ import annotations

from typing import Any

import msgspec

from metering.deposit import Deposit
from metering.deposit_book import BookedDeposit
from metering.money import format_io, format_usd
from metering.refund import Refund
from metering.statement import Statement

_NS = 1_000_000_000


def deposit_object(deposit: Deposit) -> dict[str, Any]:
    """Of the deposit alone, so that it is the same however often it is asked for."""
    price = deposit.io_price
    return {
        "object": "deposit",
        "id": deposit.deposit_id,
        "account": deposit.account,
        "method": deposit.method,
        "reference": deposit.reference,
        "amount_usd": format_usd(deposit.nano_usd),
        "amount_nano_usd": deposit.nano_usd,
        "fee_nano_usd": deposit.fee_nano_usd,
        "net_nano_usd": deposit.net_nano_usd,
        "io": None if price is None else format_io(deposit.io),
        "io_base_units": deposit.io,
        "io_price": None
        if price is None
        else {
            "usd": format_usd(price.nano_usd),
            "nano_usd": price.nano_usd,
            "source": price.source,
            "at": price.at_ns // _NS,
        },
        "created": deposit.booked_ns // _NS,
    }


def booked_object(booked: BookedDeposit) -> dict[str, Any]:
    """With the refunds made of it. `seq` is its place, for `before`."""
    return deposit_object(booked.deposit) | {
        "seq": booked.seq,
        "refunded_nano_usd": sum(refund.nano_usd for refund in booked.refunds),
        "refunds": [refund_object(refund) for refund in booked.refunds],
    }


def refund_object(refund: Refund) -> dict[str, Any]:
    return {
        "object": "refund",
        "id": refund.refund_id,
        "deposit": refund.deposit_id,
        "account": refund.account,
        "method": refund.method,
        "number": refund.number,
        "reference": refund.reference,
        "amount_usd": format_usd(refund.nano_usd),
        "amount_nano_usd": refund.nano_usd,
        "fee_returned_nano_usd": refund.fee_back_nano_usd,
        "paid_nano_usd": refund.paid_nano_usd,
        "io": format_io(refund.io) if refund.io else None,
        "io_base_units": refund.io,
        "created": refund.booked_ns // _NS,
    }


def statement_object(statement: Statement) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(statement)
    return {"object": "statement"} | shown | {"own_nano_usd": statement.own_nano_usd}
