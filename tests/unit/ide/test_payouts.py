from __future__ import annotations

import msgspec

from ide.epoch import NO_USAGE, SupplierTime, SupplierUsage, UsageColumns
from ide.params import IdeParams, Stipend, TokenRate, stipend_rates
from ide.payouts import earned, pay_io, pay_usd, releasable_io, release_limit_io, retired_io
from ide.state import opening_state
from metering.money import IO_UNIT

CENTS_16 = 160_000_000
CAP = 800_000_000 * IO_UNIT


def usage(supplier: str, model: str, cost: int) -> SupplierUsage:
    return SupplierUsage(
        supplier_id=supplier,
        model=model,
        prompt_tokens=10,
        completion_tokens=5,
        cost_nano_usd=cost,
        charged_nano_usd=cost,
        charges=1,
    )


def gpus(supplier: str, gpu_class: str, gpu_s: int, quality_ppm: int = 1_000_000) -> SupplierTime:
    return SupplierTime(
        supplier_id=supplier, gpu_class=gpu_class, gpu_s=gpu_s, quality_ppm=quality_ppm
    )


def test_usage_earns_the_share_of_list_cost_added_over_models() -> None:
    rows = [usage("a", "m", 1_000), usage("a", "n", 101), usage("b", "m", 1)]
    worked = earned(UsageColumns.of(rows), (), IdeParams())
    assert worked.obligation == {"a": 770, "b": 0}
    assert (worked.list_share, worked.stipend) == (770, {})


def test_a_token_rate_pays_tokens_whatever_the_customer_paid() -> None:
    rate = TokenRate(model="m", prompt_nano_usd=30, completion_nano_usd=200)
    rows = [usage("a", "m", 1), usage("a", "other", 1_000)]
    worked = earned(UsageColumns.of(rows), (), IdeParams(token_rates=(rate,)))
    assert worked.obligation == {"a": 10 * 30 + 5 * 200 + 700}
    assert worked.list_share == 700


def test_a_stipend_is_rate_times_verified_time_times_quality() -> None:
    rates = stipend_rates(IdeParams())
    assert (rates["H100-PCIe"], rates["L4"]) == (300_000_000, 7_500_000)
    there = (
        gpus("a", "H100-PCIe", 8 * 3_600),
        gpus("a", "L4", 1_800),
        gpus("b", "H100-PCIe", 3_600, quality_ppm=900_000),
        gpus("c", "A10", 3_600),  # dropped from the table
        gpus("c", "abacus", 3_600),
    )
    worked = earned(NO_USAGE, there, IdeParams())
    assert worked.stipend == {"a": 2_400_000_000 + 3_750_000, "b": 270_000_000, "c": 0}


def test_a_stipend_of_ones_own_stands_in_for_the_tables() -> None:
    own = Stipend(gpu_class="abacus", nano_usd_per_hour=7_200)
    params = IdeParams(stipends=(own,))
    worked = earned(NO_USAGE, (gpus("a", "abacus", 1_800),), params)
    assert worked.stipend == {"a": 3_600}


def test_the_same_time_earns_by_the_parameters_of_each_epoch() -> None:
    there = (gpus("a", "H100-PCIe", 3_600),)
    dearer = IdeParams(hardware_nano_usd=2 * IdeParams().hardware_nano_usd)
    earnings = [
        earned(NO_USAGE, there, params).stipend for params in (IdeParams(), dearer, IdeParams())
    ]
    assert earnings == [{"a": 300_000_000}, {"a": 600_000_000}, {"a": 300_000_000}]


def test_io_is_floored_for_the_payee_and_the_rest_is_rounding() -> None:
    # 1,000 nano-USD at 1.6 nano-USD a base unit is 625 exactly, 1,001 is 625.6.
    paid = pay_io([1_000, 1_001, 1], limit_io=CAP, vault_io=0, price=CENTS_16, cap_io=CAP)
    assert paid.io == [625, 625, 0]
    assert paid.value_nano_usd == [1_000, 1_000, 0]
    assert paid.rounding_nano_usd == [0, 1, 1]
    assert paid.needed_io == 1_251
    assert paid.released_io == 1_251


def test_what_the_vault_holds_is_used_before_more_is_released() -> None:
    paid = pay_io([1_000], limit_io=CAP, vault_io=600, price=CENTS_16, cap_io=CAP)
    assert (paid.io, paid.released_io) == ([625], 25)
    paid = pay_io([1_000], limit_io=CAP, vault_io=900, price=CENTS_16, cap_io=CAP)
    assert (paid.io, paid.released_io) == ([625], 0)


def test_the_limit_is_shared_pro_rata_to_the_base_unit() -> None:
    paid = pay_io([3_000, 1_000], limit_io=101, vault_io=0, price=CENTS_16, cap_io=CAP)
    assert paid.io == [76, 25]
    assert paid.released_io == 101
    assert paid.needed_io == 2_500
    assert paid.rounding_nano_usd == []
    assert paid.value_nano_usd == [122, 40]


def test_a_limit_one_unit_short_never_overpays_anyone() -> None:
    owed = [3, 3, 3]  # 1.875 base units each: 5 in all, 1 for each once floored
    paid = pay_io(owed, limit_io=4, vault_io=0, price=CENTS_16, cap_io=CAP)
    assert paid.io == [1, 1, 1]
    assert all(worth <= usd for worth, usd in zip(paid.value_nano_usd, owed, strict=True))


def test_a_need_beyond_all_io_is_reported_as_the_cap() -> None:
    paid = pay_io([2**62], limit_io=5, vault_io=0, price=1, cap_io=CAP)
    assert (paid.needed_io, paid.io) == (CAP, [5])


def test_usd_pro_rata_sums_to_what_there_is() -> None:
    assert pay_usd([5, 7], 12) == ([5, 7], [])
    assert pay_usd([1, 1, 1], 2) == ([1, 1, 0], [0, 0, 1])
    assert pay_usd([10, 20], 0) == ([0, 0], [10, 20])
    assert pay_usd([], 0) == ([], [])


def test_the_release_stops_before_what_is_to_be_retired() -> None:
    params = IdeParams()
    state = opening_state(params)
    assert releasable_io(state, params) == 116_315_467 * IO_UNIT
    # 116,315,467 IO x 15,600 ppb.
    assert release_limit_io(state, params) == 181_452_128_520
    drained = msgspec.structs.replace(state, unemitted_io=params.retire_target_io)
    assert release_limit_io(drained, params) == 0
    retired = msgspec.structs.replace(drained, retired_unemitted_io=params.retire_target_io)
    assert releasable_io(retired, params) == params.retire_target_io


def test_what_is_never_to_be_emitted_leaves_the_pool_at_its_own_pace() -> None:
    params = IdeParams()
    state = opening_state(params)
    assert retired_io(state, params) == 115_000_000 * IO_UNIT * 15_600 // 10**9
    done = msgspec.structs.replace(state, retired_unemitted_io=params.retire_target_io)
    assert retired_io(done, params) == 0
    little = msgspec.structs.replace(state, unemitted_io=10**9)
    assert retired_io(little, params) == 15_600
