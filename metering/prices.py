"""The price of a model, its name, the cost of a request and the most that it can come to.

A price's version is its content: `200/50/600` is 200 nano-USD for a prompt token, 50 for a cached
one and 600 for a completion token (reasoning is completion); `200/50/600/1000000` also takes 0.001
USD for each request; `100/25/300~batch:500000` is what a discount of 500,000 ppm left of a price.
So equal prices have equal names, and a name on an old charge can be read without asking anybody.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from metering.money import INT64_MAX, PPM, MoneyError, checked, mul_div_floor
from metering.usage import Usage


class PriceError(ValueError):
    """A price or a discount that cannot be; the message says what to write."""


class PriceTakenError(PriceError):
    """Something else was set under this id."""


class Reduction(StrEnum):
    """Why a price is below the list price."""

    BATCH = "batch"
    OFF_PEAK = "off-peak"
    FREE_TOKENS = "free-tokens"
    NODE = "node"
    """The node that served asks for less."""


class ModelPrice(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """Nano-USD for one token of each kind, and for the request as such.

    `version` names this price for ever: a charge keeps it. Raises MoneyError on a negative price.
    """

    version: str
    prompt_nano_usd: int
    cached_prompt_nano_usd: int
    completion_nano_usd: int
    request_nano_usd: int = 0

    def __post_init__(self) -> None:
        if (
            self.prompt_nano_usd < 0
            or self.cached_prompt_nano_usd < 0
            or self.completion_nano_usd < 0
            or self.request_nano_usd < 0
        ):
            raise MoneyError(f"a price of version '{self.version}' is negative")

    @property
    def amounts(self) -> tuple[int, int, int, int]:
        """Nano-USD for a prompt, a cached prompt, a completion token, and for a request."""
        return (
            self.prompt_nano_usd,
            self.cached_prompt_nano_usd,
            self.completion_nano_usd,
            self.request_nano_usd,
        )


def named_price(
    prompt: int,
    cached_prompt: int,
    completion: int,
    request: int = 0,
    reduction: Reduction | None = None,
    discount_ppm: int = 0,
) -> ModelPrice:
    """The price of these nano-USD, named by them and by the discount that led to them."""
    version = f"{prompt}/{cached_prompt}/{completion}"
    if request:
        version += f"/{request}"
    if reduction is not None:
        version += f"~{reduction}:{discount_ppm}"
    return ModelPrice(
        version=version,
        prompt_nano_usd=prompt,
        cached_prompt_nano_usd=cached_prompt,
        completion_nano_usd=completion,
        request_nano_usd=request,
    )


class PriceName(msgspec.Struct, frozen=True, kw_only=True):
    """A version, read: the price and why it is below the list price, if it is."""

    price: ModelPrice
    reduction: Reduction | None
    discount_ppm: int


_AMOUNT = r"(0|[1-9]\d{0,18})"
_VERSION = re.compile(
    rf"{_AMOUNT}/{_AMOUNT}/{_AMOUNT}(?:/([1-9]\d{{0,18}}))?"
    r"(?:~(batch|off-peak|free-tokens|node):([1-9]\d{0,6}))?",
    re.ASCII,
)


def price_named(version: str) -> PriceName:
    """The price that a charge of this version was made at. Raises PriceError if it names none."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise PriceError(
            f"'{version}' is no version of a price: it looks like 200/50/600, or "
            "100/25/300~batch:500000; a charge shows its own (`tollgate usage`)"
        )
    prompt, cached, completion, request, label, ppm = match.groups()
    reduction = Reduction(label) if label else None
    discount_ppm = int(ppm or 0)
    if discount_ppm > PPM:
        raise PriceError(f"'{version}' is no version of a price: a discount is at most {PPM} ppm")
    amounts = (int(prompt), int(cached), int(completion), int(request or 0))
    price = named_price(*amounts, reduction, discount_ppm)
    return PriceName(price=price, reduction=reduction, discount_ppm=discount_ppm)


def reduced(price: ModelPrice, reduction: Reduction, discount_ppm: int) -> ModelPrice:
    """The price less a discount in millionths. Each amount is rounded down to whole nano-USD, so
    nobody pays more than the discount promises. Raises PriceError if that makes it free.
    """
    if not 0 < discount_ppm <= PPM:
        raise PriceError(f"a discount is 1 to {PPM} ppm of the price, not {discount_ppm}")
    left = [mul_div_floor(amount, PPM - discount_ppm, PPM) for amount in price.amounts]
    for amount, rest in zip(price.amounts, left, strict=True):
        if amount and not rest and discount_ppm != PPM:
            raise PriceError(
                f"a discount of {discount_ppm} ppm leaves less than 1 of {amount} nano-USD, which "
                f"would be free: take a smaller discount, or {PPM} to make it free"
            )
    prompt, cached, completion, request = left
    return named_price(prompt, cached, completion, request, reduction, discount_ppm)


def cost_nano_usd(price: ModelPrice, usage: Usage) -> int:
    """What this usage costs: tokens times price, exact. Raises MoneyError beyond 64 bits."""
    cost = (
        (usage.prompt_tokens - usage.cached_tokens) * price.prompt_nano_usd
        + usage.cached_tokens * price.cached_prompt_nano_usd
        + usage.completion_tokens * price.completion_nano_usd
        + price.request_nano_usd
    )
    return cost if cost <= INT64_MAX else checked(cost)


def hold_nano_usd(price: ModelPrice, *, prompt_tokens_max: int, completion_tokens_max: int) -> int:
    """The most that a request within these bounds can cost, whatever the node finds cached.

    The tokens of all choices are to be in `completion_tokens_max`. Raises MoneyError.
    """
    prompt, cached = price.prompt_nano_usd, price.cached_prompt_nano_usd
    hold = (
        prompt_tokens_max * (prompt if prompt > cached else cached)
        + completion_tokens_max * price.completion_nano_usd
        + price.request_nano_usd
    )
    return hold if hold <= INT64_MAX else checked(hold)
