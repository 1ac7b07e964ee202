from __future__ import annotations

import pytest

from ide.params import (
    IdeParams,
    Mark,
    ParamsError,
    PaymentOrder,
    TokenRate,
    parameter_table,
    params_from_dict,
    params_from_toml,
)
from metering.money import IO_UNIT


def test_every_parameter_carries_a_mark_and_a_reason() -> None:
    table = parameter_table(IdeParams())
    assert [row.name for row in table] == list(IdeParams.__struct_fields__)
    assert {row.mark for row in table} == set(Mark)
    assert all(row.reason.endswith(".") and "\n" not in row.reason for row in table)


def test_the_table_shows_the_values_in_force() -> None:
    rate = TokenRate(model="m", prompt_nano_usd=1, completion_nano_usd=2)
    params = IdeParams(burn_share_ppm=750_000, token_rates=(rate,))
    values = {row.name: row.value for row in parameter_table(params)}
    assert values["burn_share_ppm"] == "750,000"
    assert values["token_rates"] == "m"
    assert values["order"] == "reward_first"


def test_published_figures() -> None:
    params = IdeParams()
    assert params.cap_io == 800_000_000 * IO_UNIT
    assert params.unemitted_opening_io == 231_315_467 * IO_UNIT
    assert params.retire_target_io == 115_000_000 * IO_UNIT
    assert params.burn_share_ppm == 500_000
    assert params.order is PaymentOrder.REWARD_FIRST


def test_toml_overrides_what_it_names_and_keeps_the_rest() -> None:
    params = params_from_toml(
        """
        version = "2026-12"
        order = "revenue_first"
        burn_share_ppm = 750_000
        [[token_rates]]
        model = "m"
        prompt_nano_usd = 100
        completion_nano_usd = 400
        """
    )
    rate = TokenRate(model="m", prompt_nano_usd=100, completion_nano_usd=400)
    assert params == IdeParams(
        version="2026-12",
        order=PaymentOrder.REVENUE_FIRST,
        burn_share_ppm=750_000,
        token_rates=(rate,),
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"burn_share": 500_000}, "unknown field `burn_share`"),
        ({"burn_share_ppm": 499_999}, "burn_share_ppm"),
        ({"burn_share_ppm": 1_000_001}, "burn_share_ppm"),
        ({"burn_share_ppm": 0.5}, "burn_share_ppm"),
        ({"fee_vault_floor_nano_usd": -1}, "fee_vault_floor_nano_usd"),
        ({"price_floor_nano_usd": 0}, "price_floor_nano_usd"),
        ({"order": "fees_first"}, "order"),
        ({"unemitted_opening_io": 9 * 10**16}, "part of the cap"),
        ({"epoch_s": 10**9}, "more than the whole pool"),
        (
            {"token_rates": [{"model": "m", "prompt_nano_usd": 1, "completion_nano_usd": 1}] * 2},
            "names a model twice",
        ),
        ({"stipends": [{"gpu_class": "L4", "nano_usd_per_hour": 1}] * 2}, "names a class twice"),
        ({"gpu_table": "2019-01"}, "is not in this release"),
        ({"retire_ppb_per_hour": 10**9, "epoch_s": 7_200}, "more than the whole pool"),
        ({"reserve_low_months": 13}, "is above reserve_high_months"),
        ({"proposal_after_s": -1}, "proposal_after_s"),
        (
            {"token_rates": [{"model": "m", "prompt_nano_usd": 1, "completion": 1}]},
            "unknown field",
        ),
    ],
)
def test_refuses(values: dict[str, object], says: str) -> None:
    with pytest.raises(ParamsError, match=says):
        params_from_dict(values)


def test_refuses_what_is_not_toml() -> None:
    with pytest.raises(ParamsError, match="not TOML"):
        params_from_toml("burn_share_ppm: 5")
