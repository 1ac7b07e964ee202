"""The price of IO out of several sources: median, step limit, time-weighted average. Pure.

Each round takes the median of the fresh quotes and moves at most a step from the round before, so
one source, or one bad minute, cannot set the price. What an epoch settles at is the average over a
window. No fresh round, or a price that is near zero, is no price at all: then nothing is released
or bought and obligations stay in USD.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from metering.money import PPM

SECOND_NS = 1_000_000_000

_Positive = Annotated[int, msgspec.Meta(ge=1)]


class OracleParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a price is trusted. All of these are ours: nothing of it was published."""

    sources_min: _Positive = 2
    """Fresh quotes that a round needs."""
    stale_after_s: _Positive = 900
    """A quote, or the last round, that is older does not count."""
    ahead_max_s: _Positive = 60
    """A quote from further in the future does not count."""
    window_s: _Positive = 3_600
    """What the price is averaged over."""
    step_max_ppm: Annotated[int, msgspec.Meta(ge=1, le=PPM)] = 200_000
    """The most a round may differ from the one before it."""
    price_floor_nano_usd: _Positive = 1_000_000
    """Below it a quote counts as missing; as `IdeParams.price_floor_nano_usd`."""


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What one source said: nano-USD for one whole IO, and when it was so."""

    source: str
    price_nano_usd: int
    at_ns: int


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """The price agreed on at one moment."""

    price_nano_usd: int
    at_ns: int


def fresh(quotes: Sequence[Quote], now_ns: int, params: OracleParams) -> list[Quote]:
    """The newest quote of each source that is neither stale, from the future nor near zero."""
    newest: dict[str, Quote] = {}
    for quote in sorted(quotes, key=lambda quote: quote.at_ns):
        age_ns = now_ns - quote.at_ns
        in_time = -params.ahead_max_s * SECOND_NS <= age_ns <= params.stale_after_s * SECOND_NS
        if in_time and quote.price_nano_usd >= params.price_floor_nano_usd:
            newest[quote.source] = quote
    return list(newest.values())


def median_nano_usd(prices: Sequence[int]) -> int:
    """The middle price; of two in the middle their mean, rounded down. `prices` is not empty."""
    ordered = sorted(prices)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) // 2


def next_rounds(
    rounds: Sequence[Round], quotes: Sequence[Quote], now_ns: int, params: OracleParams
) -> tuple[Round, ...]:
    """The rounds with a new one where enough sources agree that there is a price.

    Rounds that the window no longer needs are left out. A clock that went back adds nothing.
    """
    start_ns = now_ns - params.window_s * SECOND_NS
    needed = [*[row for row in rounds if row.at_ns <= start_ns][-1:]]
    needed += [row for row in rounds if row.at_ns > start_ns]
    counted = fresh(quotes, now_ns, params)
    if len(counted) < params.sources_min or (needed and needed[-1].at_ns >= now_ns):
        return tuple(needed)
    price = median_nano_usd([quote.price_nano_usd for quote in counted])
    if needed and not _stale(needed[-1], now_ns, params):
        last = needed[-1].price_nano_usd
        step = last * params.step_max_ppm // PPM
        price = min(max(price, last - step), last + step)
    return (*needed, Round(price_nano_usd=price, at_ns=now_ns))


def price_nano_usd(rounds: Sequence[Round], now_ns: int, params: OracleParams) -> int | None:
    """The time-weighted average over the window; None without a round that is fresh.

    A round holds until the next one, but no longer than it takes to go stale.
    """
    if not rounds or _stale(rounds[-1], now_ns, params):
        return None
    start_ns = now_ns - params.window_s * SECOND_NS
    ends = [*[row.at_ns for row in rounds[1:]], now_ns]
    weighted = held_ns = 0
    for row, end_ns in zip(rounds, ends, strict=True):
        until_ns = min(end_ns, row.at_ns + params.stale_after_s * SECOND_NS)
        for_ns = max(0, until_ns - max(row.at_ns, start_ns))
        weighted += row.price_nano_usd * for_ns
        held_ns += for_ns
    average = weighted // held_ns if held_ns else rounds[-1].price_nano_usd
    return average if average >= params.price_floor_nano_usd else None


def _stale(row: Round, now_ns: int, params: OracleParams) -> bool:
    return now_ns - row.at_ns > params.stale_after_s * SECOND_NS
