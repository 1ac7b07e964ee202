"""A charge whose answer several nodes gave, divided: for each node a charge of its own. Pure.

    node 1   the prompt, and what it delivered     charge C       outcome `resumed`
    node 2   what it delivered                     charge C.2     outcome `resumed`, or the end's
    ...                                            charge C.3

They are booked one after the other in one transaction, the first in place of the hold, the others
beside it, so the customer pays once, what one node would have been paid for the same tokens: the
prompt once, the price of the request once, at most the hold. What a node computes again to go on
is nobody's to pay. Only the last is counted as a request, and has its time to the first token.
"""

from __future__ import annotations

from msgspec.structs import replace

from metering.charge import ChargeOutcome, CloseCharge, OpenCharge, finished
from metering.prices import ModelPrice, named_price, price_named
from metering.usage import Usage

Part = tuple[OpenCharge, CloseCharge]

REQUEST_SQL = f"CASE WHEN outcome = '{ChargeOutcome.RESUMED}' THEN 0 ELSE 1 END"
"""Of a charge's row: 1 if it counts as a request."""


def parts_of(charge: OpenCharge, close: CloseCharge) -> list[Part]:
    """The charge itself, if one node served it or nothing is to be paid. Raises MoneyError."""
    if not close.legs or close.usage is None:
        return [(charge, close)]
    rest, parts = close.usage, list[Part]()
    hold = charge.hold_nano_usd
    for number, leg in enumerate(close.legs, start=1):
        rest = less(rest, leg.usage)
        ended = replace(
            close,
            outcome=ChargeOutcome.RESUMED,
            node_id=leg.node_id,
            supplier_id=leg.supplier_id,
            usage=leg.usage,
            ttft_ns=None,
            legs=(),
        )
        parts.append(_part(charge, ended, number, hold))
        hold -= finished(*parts[-1]).charged_nano_usd
    parts.append(_part(charge, replace(close, usage=rest, legs=()), len(parts) + 1, hold))
    return parts


def less(whole: Usage, part: Usage) -> Usage:
    """What is left of it. Raises UsageError if the part is larger."""
    return Usage(
        prompt_tokens=whole.prompt_tokens - part.prompt_tokens,
        cached_tokens=whole.cached_tokens - part.cached_tokens,
        completion_tokens=whole.completion_tokens - part.completion_tokens,
        reasoning_tokens=whole.reasoning_tokens - part.reasoning_tokens,
    )


def _part(charge: OpenCharge, close: CloseCharge, number: int, hold: int) -> Part:
    if number == 1:
        return charge, close
    charge_id = f"{charge.charge_id}.{number}"
    price = _without_request(charge.price)
    part = replace(charge, charge_id=charge_id, price=price, hold_nano_usd=hold, draws=())
    return part, replace(close, charge_id=charge_id)


def _without_request(price: ModelPrice) -> ModelPrice:
    if not price.request_nano_usd:
        return price
    name, tokens = price_named(price.version), price.amounts[:3]
    return named_price(*tokens, 0, name.reduction, name.discount_ppm)
