"""Every number the engine's designers chose, each with where it comes from.

io.net published the mechanism of its engine but few of its numbers, so each parameter carries a
mark: `published` (io.net said so), `inferred` (worked out from what it said) or `ours` (nobody
said; we chose). The mark and its reason travel with the field, so docs and screens cannot lose
them. Parameters are data: an epoch stores the ones it ran with and replays from them.
"""

from __future__ import annotations

import tomllib
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec

from metering.money import INT64_MAX, IO_UNIT

PPM = 1_000_000
PPB = 1_000_000_000


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


class ParamsError(ValueError):
    """Parameters that cannot be used; the message names the key and the rule it breaks."""


def _marked(mark: Mark, reason: str, ge: int = 0, le: int = INT64_MAX) -> msgspec.Meta:
    return msgspec.Meta(ge=ge, le=le, description=reason, extra={"mark": mark})


def _marked_choice(mark: Mark, reason: str) -> msgspec.Meta:
    return msgspec.Meta(description=reason, extra={"mark": mark})


class IdeParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
        if self.release_ppb_per_hour * self.epoch_s > PPB * 3_600:
            raise ValueError(
                f"release_ppb_per_hour = {self.release_ppb_per_hour} over epoch_s = {self.epoch_s}"
                " releases more than the whole pool in one epoch: lower one of them"
            )
        models = [rate.model for rate in self.token_rates]
        if len(set(models)) < len(models):
            raise ValueError("token_rates names a model twice: keep one row per model")


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
        return ", ".join(rate.model for rate in value) or "none"
    return str(value)
