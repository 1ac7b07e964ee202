"""The market and the fleet of a scenario, day by day: what an epoch learns from outside. Pure.

Everything is drawn from one seeded generator, once a day, so the epochs of a day see one market.
Prices and quantities are integers; floats only shape noise and ramps, and end as millionths.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import msgspec

from ide.epoch import NO_USAGE, Outside, SupplierTime, UsageColumns
from ide.gpu_table import gpu_table
from ide.params import DAY_S, MONTH_S
from ide.simulator.scenario import MODEL, Event, Scenario, What
from metering.money import PPM, parse_usd

_DAYS_A_YEAR = 365.25


class Chance(Protocol):
    """What noise is drawn from: random.Random, seeded by the caller."""

    def randint(self, a: int, b: int) -> int: ...

    def gauss(self, mu: float, sigma: float) -> float: ...


class Day(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One day's market, in millionths of the start: with what happens, and as if it did not."""

    price_nano_usd: int
    unshocked_price_nano_usd: int
    oracle: bool
    demand_ppm: int
    unshocked_demand_ppm: int
    compute_price_ppm: int
    gpus_ppm: int


def days_of(scenario: Scenario, days: int, rng: Chance, *, central: bool) -> list[Day]:
    """The market of each day. The central path follows the scenario, others walk around it."""
    market = scenario.market
    start = parse_usd(market.price_usd)
    prices = _walk(rng, days, 0 if central else market.price_volatility_ppm_per_year)
    demands = _walk(rng, days, 0 if central else market.demand_volatility_ppm_per_year)
    moved = {what: [PPM] * days for what in What}
    for event in scenario.events:
        _apply(event, moved[event.what])
    found = []
    for price_ppm, price_moved, demand_ppm, demand_moved, compute, gpus, oracle in zip(
        prices,
        moved[What.PRICE],
        demands,
        moved[What.DEMAND],
        moved[What.COMPUTE_PRICE],
        moved[What.GPUS],
        moved[What.ORACLE],
        strict=True,
    ):
        noise = PPM + rng.randint(-market.demand_noise_ppm, market.demand_noise_ppm)
        unshocked = demand_ppm * noise // PPM
        demand = unshocked * demand_moved // PPM
        if compute not in (0, PPM) and market.demand_elasticity_ppm:
            demand = round(demand * (compute / PPM) ** (-market.demand_elasticity_ppm / PPM))
        price = start * price_ppm // PPM
        found.append(
            Day(
                price_nano_usd=price * price_moved // PPM,
                unshocked_price_nano_usd=price,
                oracle=oracle > 0,
                demand_ppm=demand,
                unshocked_demand_ppm=unshocked,
                compute_price_ppm=compute,
                gpus_ppm=gpus,
            )
        )
    return found


def _walk(rng: Chance, days: int, volatility_ppm_per_year: int) -> list[int]:
    """Geometric Brownian motion without drift of its mean, in millionths of the start."""
    if volatility_ppm_per_year == 0:
        return [PPM] * days
    sigma = volatility_ppm_per_year / PPM / math.sqrt(_DAYS_A_YEAR)
    log, walked = 0.0, []
    for _ in range(days):
        walked.append(round(PPM * math.exp(log)))
        log += rng.gauss(-sigma * sigma / 2, sigma)
    return walked


def _apply(event: Event, factors: list[int]) -> None:
    until = len(factors) if event.until_day is None else min(event.until_day, len(factors))
    for day in range(event.from_day, until):
        part = min(1.0, (day - event.from_day + 1) / (event.ramp_days or 1))
        if event.what is What.PRICE and event.to_ppm:
            factor = round(PPM * math.exp(part * math.log(event.to_ppm / PPM)))
        else:
            factor = round(PPM + part * (event.to_ppm - PPM))
        factors[day] = factors[day] * factor // PPM


class Fleet:
    """The suppliers of a scenario, one a GPU class: their time and their tokens of an epoch."""

    def __init__(self, scenario: Scenario, epoch_s: int) -> None:
        table = gpu_table(scenario.params.gpu_table)
        assert table is not None
        self._epoch_s = epoch_s
        self._counts = {name: count for name, count in sorted(scenario.fleet.items()) if count}
        self._market = scenario.market
        serving = [name for name in self._counts if table.pool.get(name) == "enterprise"]
        self._serving = tuple(serving or self._counts)
        self._models = (MODEL,) * len(self._serving)
        self._no_prompts = (0,) * len(self._serving)
        self._charges = (1,) * len(self._serving)
        weights = [
            self._counts[name] * table.multiplier_ppm.get(name, PPM) for name in self._serving
        ]
        common = math.gcd(*weights) or 1  # the same shares, worked out with smaller integers
        self._weights = [weight // common for weight in weights]
        self._whole_weight = sum(self._weights)
        revenue = parse_usd(scenario.market.revenue_usd_per_month)
        self._tokens = revenue * epoch_s // (MONTH_S * scenario.market.tokens_nano_usd)
        self._there: tuple[int, tuple[SupplierTime, ...]] | None = None

    def epoch(self, day: Day, there_ppm: int) -> tuple[UsageColumns, Outside]:
        """One epoch of that day with `there_ppm` of the fleet active."""
        there_ppm = there_ppm * day.gpus_ppm // PPM
        most_ppm = self._market.headroom_ppm * there_ppm // PPM
        served_ppm = min(day.demand_ppm, most_ppm)
        return self._usage(served_ppm, day.compute_price_ppm), Outside(
            io_price_nano_usd=day.price_nano_usd if day.oracle else None,
            availability=self._availability(there_ppm),
        )

    def unshocked(self, day: Day) -> UsageColumns:
        """The usage of the same epoch if nothing had happened; its availability is `whole`."""
        return self._usage(day.unshocked_demand_ppm, PPM)

    def whole(self) -> tuple[SupplierTime, ...]:
        """The availability of an epoch in which all of the fleet is there."""
        return self._availability(PPM)

    def _usage(self, served_ppm: int, compute_price_ppm: int) -> UsageColumns:
        tokens = self._tokens * served_ppm // PPM
        price = self._market.tokens_nano_usd * compute_price_ppm // PPM
        whole = self._whole_weight
        if not tokens or not whole:
            return NO_USAGE
        shares = [tokens * weight // whole for weight in self._weights]
        costs = [share * price for share in shares]
        return UsageColumns(
            self._serving, self._models, self._no_prompts, shares, costs, costs, self._charges
        )

    def _availability(self, there_ppm: int) -> tuple[SupplierTime, ...]:
        if self._there is None or self._there[0] != there_ppm:
            rows = _availability(tuple(self._counts.items()), self._epoch_s, there_ppm)
            self._there = (there_ppm, rows)
        return self._there[1]


@lru_cache(maxsize=512)
def _availability(
    counts: tuple[tuple[str, int], ...], epoch_s: int, there_ppm: int
) -> tuple[SupplierTime, ...]:
    """Kept, so that the paths of a process share these rows, and what is known of them."""
    if not there_ppm:
        return ()
    each_s = epoch_s * there_ppm
    return tuple([SupplierTime(name, name, count * each_s // PPM, PPM) for name, count in counts])


def epochs_a_day(epoch_s: int) -> int:
    """How many epochs a day has; `epoch_s` divides it."""
    return DAY_S // epoch_s
