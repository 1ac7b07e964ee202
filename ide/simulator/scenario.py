"""A scenario: a market, a fleet, and what happens to them. Data, from TOML."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from importlib.resources import files
from typing import Annotated, Any

import msgspec

from ide.params import IdeParams, stipend_rates
from metering.money import PPM, MoneyError, parse_usd

NAMES = (
    "S1",
    "S2",
    "S3",
    "S4",
    "H1",
    "oracle-outage",
    "no-gpus",
    "no-revenue",
    "cap",
    "launch",
)
MODEL = "compute"
"""The one model that the simulated network serves."""

_Ppm = Annotated[int, msgspec.Meta(ge=0, le=1_000 * PPM)]
_Day = Annotated[int, msgspec.Meta(ge=0, le=100_000)]


class ScenarioError(ValueError):
    """A scenario that cannot be run; the message names the key."""


class What(StrEnum):
    """What an event moves. `oracle` at 0 means that there is no price."""

    PRICE = "price"
    DEMAND = "demand"
    COMPUTE_PRICE = "compute_price"
    GPUS = "gpus"
    ORACLE = "oracle"


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From `from_day` on, over `ramp_days`, to `to_ppm` of what it was; until `until_day`, if any.

    A price moves geometrically over its ramp, all else evenly.
    """

    what: What
    from_day: _Day
    to_ppm: _Ppm
    ramp_days: _Day = 0
    until_day: _Day | None = None

    def __post_init__(self) -> None:
        if self.until_day is not None and self.until_day < self.from_day + max(1, self.ramp_days):
            raise ValueError("until_day comes before the event is in full effect")


class Market(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Price and demand before anything happens; the noise about them.

    `demand_elasticity_ppm` is by how many percent demand rises when compute gets 1% cheaper.
    The volatilities move every path but the first; `headroom_ppm` is what the whole fleet could
    serve, of the demand at the start.
    """

    price_usd: str
    revenue_usd_per_month: str
    tokens_nano_usd: Annotated[int, msgspec.Meta(ge=1)]
    demand_noise_ppm: Annotated[int, msgspec.Meta(ge=0, le=PPM)]
    price_volatility_ppm_per_year: _Ppm
    demand_volatility_ppm_per_year: _Ppm
    demand_elasticity_ppm: _Ppm
    headroom_ppm: _Ppm


class Churn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Suppliers leave day by day while they get less than `break_even_ppm` of what they are used
    to (of their target, under the engine), and come back while they get it."""

    break_even_ppm: _Ppm
    leave_ppm_per_day: _Ppm
    return_ppm_per_day: _Ppm


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a run needs but its length, seed and epoch."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    title: str
    years: Annotated[int, msgspec.Meta(ge=1, le=100)]
    opening_reserve_usd: str
    market: Market
    churn: Churn
    params: IdeParams
    fleet: dict[str, Annotated[int, msgspec.Meta(ge=0, le=10**9)]]
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        for text in (
            self.opening_reserve_usd,
            self.market.price_usd,
            self.market.revenue_usd_per_month,
        ):
            try:
                parse_usd(text)
            except MoneyError as error:
                raise ValueError(str(error)) from error
        unpaid = self.fleet.keys() - stipend_rates(self.params).keys()
        if unpaid:
            raise ValueError(
                f"the fleet has {', '.join(sorted(unpaid))}, which gpu_table"
                f" {self.params.gpu_table} and stipends do not know"
            )


def built_in(name: str) -> Scenario:
    """One of NAMES."""
    return scenario_from_toml(files("ide").joinpath("scenarios", f"{name}.toml").read_text())


def scenario_from_toml(text: str) -> Scenario:
    """A scenario out of TOML that says what differs from `scenarios/base.toml`.

    Raises ScenarioError for an unknown key, a wrong type, or a value out of its bounds.
    """
    base = tomllib.loads(files("ide").joinpath("scenarios", "base.toml").read_text())
    try:
        return msgspec.convert(_over(base, tomllib.loads(text)), Scenario)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ScenarioError(f"scenario: {error}") from error


def _over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` over it, table by table; a fleet is replaced whole."""
    merged = dict(base)
    for key, value in changes.items():
        deeper = key != "fleet" and isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _over(base[key], value) if deeper else value
    return merged
