"""Costs to the nano-dollar, and holds that no usage can exceed."""

from __future__ import annotations

import pytest
from books import PRICE

from metering.money import MoneyError
from metering.prices import ModelPrice, cost_nano_usd, hold_nano_usd
from metering.usage import Usage, UsageError


def test_cached_prompt_tokens_have_their_own_price():
    usage = Usage(prompt_tokens=100, cached_tokens=40, completion_tokens=7)
    assert cost_nano_usd(PRICE, usage) == 60 * 200 + 40 * 50 + 7 * 600


def test_a_request_can_cost_something_as_such():
    price = ModelPrice(
        version="v", prompt_nano_usd=1, cached_prompt_nano_usd=1, completion_nano_usd=1,
        request_nano_usd=1000,
    )  # fmt: skip
    assert cost_nano_usd(price, Usage(prompt_tokens=1)) == 1001


@pytest.mark.parametrize("cached", [0, 5, 10])
@pytest.mark.parametrize("cached_price", [0, 50, 900])
def test_a_hold_covers_any_usage_within_its_bounds(cached, cached_price):
    price = ModelPrice(
        version="v",
        prompt_nano_usd=200,
        cached_prompt_nano_usd=cached_price,
        completion_nano_usd=600,
    )
    usage = Usage(prompt_tokens=10, cached_tokens=cached, completion_tokens=20)
    hold = hold_nano_usd(price, prompt_tokens_max=10, completion_tokens_max=20)
    assert cost_nano_usd(price, usage) <= hold


def test_a_cost_beyond_64_bits_is_refused():
    with pytest.raises(MoneyError, match="64 bits"):
        cost_nano_usd(PRICE, Usage(prompt_tokens=2**60))
    with pytest.raises(MoneyError, match="64 bits"):
        hold_nano_usd(PRICE, prompt_tokens_max=2**60, completion_tokens_max=0)


def test_a_negative_price_is_refused():
    with pytest.raises(MoneyError, match="'v9' is negative"):
        ModelPrice(
            version="v9", prompt_nano_usd=-1, cached_prompt_nano_usd=0, completion_nano_usd=0
        )


@pytest.mark.parametrize(
    "counts",
    [
        {"prompt_tokens": -1},
        {"prompt_tokens": 1, "cached_tokens": 2},
        {"prompt_tokens": 1, "cached_tokens": -1},
        {"prompt_tokens": 1, "completion_tokens": -1},
        {"prompt_tokens": 1, "completion_tokens": 1, "reasoning_tokens": 2},
    ],
)
def test_impossible_counts_are_refused(counts):
    with pytest.raises(UsageError):
        Usage(**counts)
