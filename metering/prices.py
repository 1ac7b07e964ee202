"""The price of a model, the cost of a request and the most that it can come to."""

from __future__ import annotations

import msgspec

from metering.money import INT64_MAX, MoneyError, checked
from metering.usage import Usage


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
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
    hold = (
        prompt_tokens_max * max(price.prompt_nano_usd, price.cached_prompt_nano_usd)
        + completion_tokens_max * price.completion_nano_usd
        + price.request_nano_usd
    )
    return hold if hold <= INT64_MAX else checked(hold)
