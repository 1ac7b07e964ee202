"""What a body's `provider` asks of the node, in the router's words. Pure.

A node may ask for less than its model costs. What the first node asks is the price of the request,
wherever it ends up, so that nobody pays more than was told.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import msgspec

from gateway.errors import ApiError, no_capacity
from gateway.openai.schema import Provider
from metering.money import PPM, mul_div_floor
from metering.prices import ModelPrice, Reduction, named_price, price_named
from router.filters import PREFERENCES
from router.types import Decision, Reason, RequestFeatures
from router.wants import Wants

_NANO_PER_TOKEN = 1_000
"""Nano-USD a token, of 1 USD per million tokens."""
_NANO_USD = 1_000_000_000

_UNMET = {
    Reason.SUPPLIER: "are of suppliers that it may be sent to ('only', 'ignore')",
    Reason.REGION: "are in a 'region' that it names",
    Reason.TIER: "have the 'min_tier'",
    Reason.PRICE: "cost no more than 'max_price'",
}


def wanting(features: RequestFeatures, provider: Provider, price: ModelPrice) -> RequestFeatures:
    """The same of a request that pays this price at a node that asks for all of it."""
    region = provider.region or []
    wants = Wants(
        regions=frozenset([region] if isinstance(region, str) else region),
        tier_min=provider.min_tier or 0,
        price_ppm_max=_price_ppm_max(provider, price),
        only=frozenset(provider.only or ()),
        ignored=frozenset(provider.ignore or ()),
        sort=provider.sort,
        fallbacks=provider.allow_fallbacks is not False,
    )
    return msgspec.structs.replace(features, wants=wants)


def _price_ppm_max(provider: Provider, price: ModelPrice) -> int:
    most = provider.max_price
    if most is None:
        return PPM
    bounds = (
        (most.prompt, _NANO_PER_TOKEN, max(price.prompt_nano_usd, price.cached_prompt_nano_usd)),
        (most.completion, _NANO_PER_TOKEN, price.completion_nano_usd),
        (most.request, _NANO_USD, price.request_nano_usd),
    )
    return min(
        [PPM, *(_ppm(usd, scale, amount) for usd, scale, amount in bounds if usd is not None)]
    )


def _ppm(usd: Decimal, scale: int, amount: int) -> int:
    """The most of this many nano-USD that `price_at_node` still makes no more than that."""
    nano_usd_max = int(usd * scale)
    if amount <= nano_usd_max:
        return PPM
    return ((nano_usd_max + 1) * PPM - 1) // amount if nano_usd_max else 0


@lru_cache(1024)
def price_at_node(price: ModelPrice, price_ppm: int) -> ModelPrice:
    """What a request pays at a node that asks for so much of the price. Rounded down, but never to
    nothing.
    """
    name = price_named(price.version)
    left = [max(mul_div_floor(amount, price_ppm, PPM), min(amount, 1)) for amount in price.amounts]
    discount_ppm = PPM - mul_div_floor(PPM - name.discount_ppm, price_ppm, PPM)
    prompt, cached, completion, request = left
    label = name.reduction or Reduction.NODE
    return named_price(prompt, cached, completion, request, label, discount_ppm)


def refusal(decision: Decision) -> ApiError:
    """Of a choice that chose none: 404 if no node is what was asked for, else 429."""
    model = decision.ask.features.model
    if decision.reason not in PREFERENCES:
        return no_capacity(model, decision.retry_after_ns)
    unmet = ", or ".join(_UNMET[reason] for reason in decision.refused)
    return ApiError(
        404,
        f"No node of '{model}' is what 'provider' asks for: none of them {unmet}.",
        type="invalid_request_error",
        code="no_matching_node",
        param="provider",
    )
