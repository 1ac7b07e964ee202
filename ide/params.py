"""Every number the engine's designers chose, each with where it comes from.

io.net published the mechanism of its engine but few of its numbers, so each parameter carries a
mark: `published` (io.net said so), `inferred` (worked out from what it said) or `ours` (nobody
said; we chose). The mark and its reason travel with the field, so docs and screens cannot lose
them. Parameters are data: an epoch stores the ones it ran with and replays from them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec

from ide.gpu_table import gpu_table
from metering.money import INT64_MAX, IO_UNIT, PPM

PPB = 1_000_000_000
HOUR_S = 3_600
DAY_S = 86_400
YEAR_H = 8_766
"""Hours in a year of 365.25 days."""
MONTH_S = 2_629_800
"""Seconds in a twelfth of it."""


class Mark(StrEnum):
    PUBLISHED = "published"
    INFERRED = "inferred"
    OURS = "ours"


class PaymentOrder(StrEnum):
    """Which vault pays first; the other fills the gap."""

    REWARD_FIRST = "reward_first"
    REVENUE_FIRST = "revenue_first"


class ShortfallRule(StrEnum):
    """What becomes of USD that neither vault could pay."""

    CARRY_DEBT = "carry_debt"
    WRITE_OFF = "write_off"


class TokenRate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a supplier earns for a token of one model, whatever the customer paid for it."""

    model: Annotated[str, msgspec.Meta(min_length=1)]
    prompt_nano_usd: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
    completion_nano_usd: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class Stipend(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an hour of one verified GPU of a class earns, in place of the table's."""

    gpu_class: Annotated[str, msgspec.Meta(min_length=1)]
    nano_usd_per_hour: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class ParamsError(ValueError):
    """Parameters that cannot be used; the message names the key and the rule it breaks."""


def _marked(mark: Mark, reason: str, ge: int = 0, le: int = INT64_MAX) -> msgspec.Meta:
    return msgspec.Meta(ge=ge, le=le, description=reason, extra={"mark": mark})


def _marked_choice(mark: Mark, reason: str) -> msgspec.Meta:
    return msgspec.Meta(description=reason, extra={"mark": mark})


class IdeParams(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, cache_hash=True
):
    """The rules of an epoch. `_io` counts base units, `_nano_usd` 1e-9 USD, `_ppm` millionths."""

    version: Annotated[
        str, _marked_choice(Mark.OURS, "Names this set of numbers; change it with any of them.")
    ] = "1"
    order: Annotated[
        PaymentOrder,
        _marked_choice(Mark.PUBLISHED, "The Reward Vault pays first, the Fee Vault next."),
    ] = PaymentOrder.REWARD_FIRST
    cap_io: Annotated[int, _marked(Mark.PUBLISHED, "800,000,000 IO can ever exist.", ge=1)] = (
        800_000_000 * IO_UNIT
    )
    unemitted_opening_io: Annotated[
        int,
        _marked(
            Mark.INFERRED,
            "Published as 231M: the 300M pool less the 68,684,533 IO of 23 monthly emissions.",
        ),
    ] = 231_315_467 * IO_UNIT
    retire_target_io: Annotated[
        int,
        _marked(
            Mark.PUBLISHED,
            "At least 115M of the 231M must never be emitted: the release stops before them.",
        ),
    ] = 115_000_000 * IO_UNIT
    epoch_s: Annotated[
        int,
        _marked(Mark.OURS, "Length of an epoch; block rewards, its forerunner, were hourly.", ge=1),
    ] = 3_600
    release_ppb_per_hour: Annotated[
        int,
        _marked(
            Mark.OURS,
            "Most of what may still be released that one hour may pay out: the fixed schedule's"
            " pace in June 2026 (1.14% of its pool a month), without the part to be retired.",
            le=PPB,
        ),
    ] = 15_600
    price_floor_nano_usd: Annotated[
        int,
        _marked(
            Mark.OURS,
            "Below 0.001 USD per IO (1% of its lowest price so far) the price counts as missing.",
            ge=1,
        ),
    ] = 1_000_000
    retire_ppb_per_hour: Annotated[
        int,
        _marked(
            Mark.OURS,
            "Part of what is to be retired that one hour retires: the pace of the release, so that"
            " each IO that may be emitted goes with about one that never will be.",
            le=PPB,
        ),
    ] = 15_600
    gpu_table: Annotated[
        str, _marked_choice(Mark.PUBLISHED, "Version of the multipliers of GPU classes.")
    ] = "2025-07"
    hardware_nano_usd: Annotated[
        int,
        _marked(
            Mark.OURS,
            "Price of hardware of multiplier 1 that stipends go by: 525.96 USD, with the next line"
            " 0.03 USD an hour. Published as a lever, without a figure.",
            le=10**15,
        ),
    ] = 525_960_000_000
    target_roi_ppm_per_year: Annotated[
        int,
        _marked(
            Mark.OURS,
            "What availability alone earns of that price a year: paid back in two years."
            " Published as a lever, without a figure.",
            le=100 * PPM,
        ),
    ] = 500_000
    stipends: Annotated[
        tuple[Stipend, ...],
        _marked_choice(
            Mark.OURS, "USD for an hour of a GPU by class, where the table's will not do."
        ),
    ] = ()
    usage_share_ppm: Annotated[
        int,
        _marked(
            Mark.OURS,
            "A supplier's share of the list cost of what its nodes served, for models without a"
            " token rate.",
            le=PPM,
        ),
    ] = 700_000
    token_rates: Annotated[
        tuple[TokenRate, ...],
        _marked_choice(
            Mark.OURS,
            "USD owed per token by model: keeps a supplier's income apart from customer prices.",
        ),
    ] = ()
    fee_vault_floor_nano_usd: Annotated[
        int,
        _marked(Mark.OURS, "USD the Fee Vault keeps, whatever is owed or left over."),
    ] = 0
    burn_share_ppm: Annotated[
        int,
        _marked(
            Mark.PUBLISHED,
            "At least half of the surplus buys IO and burns it; the rest stays as reserve.",
            ge=500_000,
            le=PPM,
        ),
    ] = 500_000
    reserve_low_months: Annotated[
        int,
        _marked(
            Mark.PUBLISHED,
            "Above this many months of obligations in reserve the share to burn rises.",
            le=1_200,
        ),
    ] = 6
    reserve_high_months: Annotated[
        int,
        _marked(
            Mark.PUBLISHED,
            "From here on all of the surplus is burned; in between the share rises evenly (ours).",
            le=1_200,
        ),
    ] = 12
    smoothing_s: Annotated[
        int,
        _marked(
            Mark.OURS,
            "Revenue and obligations are smoothed exponentially over 30 days for psi and runway.",
            ge=1,
        ),
    ] = 30 * DAY_S
    runway_warning_months: Annotated[
        int,
        _marked(Mark.INFERRED, "A shorter runway is warned of: the low end of the buffer.", le=120),
    ] = 6
    proposal_after_s: Annotated[
        int,
        _marked(Mark.OURS, "Smoothed psi below 1 for 7 days is lasting: a proposal is made."),
    ] = 7 * DAY_S
    shortfall: Annotated[
        ShortfallRule,
        _marked_choice(Mark.OURS, "USD that could not be paid is owed on, or written off."),
    ] = ShortfallRule.CARRY_DEBT

    def __post_init__(self) -> None:
        if self.unemitted_opening_io > self.cap_io:
            raise ValueError(
                f"unemitted_opening_io = {self.unemitted_opening_io} is above"
                f" cap_io = {self.cap_io}: the opening pool is a part of the cap"
            )
        for name in ("release_ppb_per_hour", "retire_ppb_per_hour"):
            if getattr(self, name) * self.epoch_s > PPB * HOUR_S:
                raise ValueError(
                    f"{name} = {getattr(self, name)} over epoch_s = {self.epoch_s}"
                    " takes more than the whole pool in one epoch: lower one of them"
                )
        if self.reserve_low_months > self.reserve_high_months:
            raise ValueError(
                f"reserve_low_months = {self.reserve_low_months} is above"
                f" reserve_high_months = {self.reserve_high_months}"
            )
        if gpu_table(self.gpu_table) is None:
            raise ValueError(f"gpu_table = '{self.gpu_table}' is not in this release")
        _each_once("token_rates", "model", [rate.model for rate in self.token_rates])
        _each_once("stipends", "class", [row.gpu_class for row in self.stipends])


def _each_once(table: str, what: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"{table} names a {what} twice: keep one row per {what}")


@lru_cache(maxsize=64)
def stipend_rates(params: IdeParams) -> Mapping[str, int]:
    """Nano-USD for an hour of one GPU by class, rounded down. A class not in it earns nothing."""
    table = gpu_table(params.gpu_table)
    assert table is not None  # checked when the parameters were made
    per_year = params.hardware_nano_usd * params.target_roi_ppm_per_year
    rates = {
        gpu_class: per_year * multiplier // (PPM * PPM * YEAR_H)
        for gpu_class, multiplier in table.multiplier_ppm.items()
    }
    return rates | {row.gpu_class: row.nano_usd_per_hour for row in params.stipends}


class Parameter(NamedTuple):
    """One row of the parameter table."""

    name: str
    value: str
    mark: Mark
    reason: str


def params_from_dict(values: dict[str, Any]) -> IdeParams:
    """Parameters with every rule checked; a key left out keeps its default.

    Raises ParamsError for an unknown key, a wrong type, or a value out of its bounds.
    """
    try:
        return msgspec.convert(values, IdeParams)
    except msgspec.ValidationError as error:
        raise ParamsError(f"IDE parameters: {error}") from error


def params_from_toml(text: str) -> IdeParams:
    """As `params_from_dict`, from the text of a TOML file."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParamsError(f"IDE parameters: not TOML: {error}") from error
    return params_from_dict(values)


def parameter_table(params: IdeParams) -> list[Parameter]:
    """Every parameter with its value, mark and reason, in the order of `IdeParams`."""
    described = msgspec.inspect.type_info(IdeParams)
    assert isinstance(described, msgspec.inspect.StructType)
    return [_parameter(field, getattr(params, field.name)) for field in described.fields]


def _parameter(field: msgspec.inspect.Field, value: object) -> Parameter:
    described = field.type
    assert isinstance(described, msgspec.inspect.Metadata)
    extra, schema = described.extra or {}, described.extra_json_schema or {}
    return Parameter(field.name, _text(value), extra["mark"], schema["description"])


def _text(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple):
        names = (row.model if isinstance(row, TokenRate) else row.gpu_class for row in value)
        return ", ".join(names) or "none"
    return str(value)
