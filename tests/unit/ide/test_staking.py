from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ide.gpu_table import GpuTable, gpu_table
from ide.staking import (
    DAY_NS,
    Cooling,
    Offence,
    Stake,
    StakeError,
    StakeParams,
    accept_offer,
    active_io,
    add,
    advance,
    appeal_won,
    costaker_leaves,
    minimum_io,
    slash,
    split_reward_io,
    total_io,
    unstake,
    withdraw_overflow,
)
from metering.money import IO_UNIT

PARAMS = StakeParams()
EVIDENCE = "ab" * 32
NOW = 1_000 * DAY_NS
MINIMUM = 16_000 * IO_UNIT


def table() -> GpuTable:
    found = gpu_table("2025-07")
    assert found is not None
    return found


def stake(own: int = 8_000, theirs: int = 8_000) -> Stake:
    empty = Stake(device="d", owner="owner", gpu_class="H100-PCIe", processors=8)
    mine = add(empty, own * IO_UNIT)
    return accept_offer(mine, "other", theirs * IO_UNIT, 740_000, 0, PARAMS)


@pytest.mark.parametrize(
    ("gpu_class", "processors", "io"),
    [("H100-PCIe", 8, 16_000), ("RTX-4070", 4, 1_200), ("L4", 4, 800), ("B200", 1, 6_000)],
)
def test_minimum(gpu_class: str, processors: int, io: int) -> None:
    assert minimum_io(gpu_class, processors, table(), PARAMS) == io * IO_UNIT


@pytest.mark.parametrize("gpu_class", ["A10", "abacus"])
def test_a_class_that_earns_nothing_has_no_minimum(gpu_class: str) -> None:
    with pytest.raises(StakeError, match="earns nothing"):
        minimum_io(gpu_class, 1, table(), PARAMS)


def test_the_co_staker_gets_the_share_of_the_frozen_terms() -> None:
    assert split_reward_io(stake(), 101) == {"owner": 27, "other": 74}
    leaving = costaker_leaves(stake(), NOW, PARAMS)
    assert split_reward_io(leaving, 101) == {"owner": 101}


@pytest.mark.parametrize(
    ("account", "io", "share", "claimed", "says"),
    [
        ("owner", 1, 0, 0, "its own device"),
        ("other", 8_001 * IO_UNIT, 0, 0, "above its share"),
        ("other", 0, 0, 0, "above its share"),
        ("other", 1, 1_000_001, 0, "between none and all"),
        ("other", 1, 0, 2, "2 at most"),
    ],
)
def test_offers_that_cannot_be(account: str, io: int, share: int, claimed: int, says: str) -> None:
    mine = add(Stake(device="d", owner="owner", gpu_class="T4", processors=1), 8_000 * IO_UNIT)
    with pytest.raises(StakeError, match=says):
        accept_offer(mine, account, io, share, claimed, PARAMS)
    with pytest.raises(StakeError, match="one for each offer"):
        accept_offer(stake(), "third", 1, 0, 0, PARAMS)


def test_overflow_leaves_at_once_and_no_more_than_it() -> None:
    more = stake(own=9_000)
    assert withdraw_overflow(more, 1_000 * IO_UNIT, MINIMUM).own_io == 8_000 * IO_UNIT
    with pytest.raises(StakeError, match="unstake all"):
        withdraw_overflow(more, 1_000 * IO_UNIT + 1, MINIMUM)


def test_unstaking_is_whole_cools_14_days_and_takes_the_co_staker_along() -> None:
    left = unstake(stake(), MINIMUM, NOW, hired=False, params=PARAMS)
    assert active_io(left) == 0
    assert {row.account for row in left.cooling} == {"owner", "other"}
    early, free = advance(left, NOW + 14 * DAY_NS - 1, PARAMS)
    assert (early, free) == (left, {})
    _, free = advance(left, NOW + 14 * DAY_NS, PARAMS)
    assert free == {"owner": 8_000 * IO_UNIT, "other": 8_000 * IO_UNIT}


def test_a_co_staker_that_covers_the_minimum_alone_stays() -> None:
    left = unstake(stake(), 8_000 * IO_UNIT, NOW, hired=False, params=PARAMS)
    assert active_io(left) == 8_000 * IO_UNIT


def test_a_hired_device_cannot_be_unstaked() -> None:
    with pytest.raises(StakeError, match="is hired"):
        unstake(stake(), MINIMUM, NOW, hired=True, params=PARAMS)


def test_a_co_staker_leaves_in_7_and_14_days() -> None:
    leaving = costaker_leaves(stake(), NOW, PARAMS)
    with pytest.raises(StakeError, match="no co-staker"):
        costaker_leaves(leaving, NOW, PARAMS)
    waiting, _ = advance(leaving, NOW + 7 * DAY_NS - 1, PARAMS)
    assert active_io(waiting) == MINIMUM
    cooling, free = advance(leaving, NOW + 7 * DAY_NS, PARAMS)
    assert (active_io(cooling), free) == (8_000 * IO_UNIT, {})
    _, free = advance(cooling, NOW + 21 * DAY_NS, PARAMS)
    assert free == {"other": 8_000 * IO_UNIT}


def test_a_slash_is_held_for_a_month_and_then_burned() -> None:
    cut = slash(stake(), Offence.MINING, EVIDENCE, NOW, PARAMS)
    assert (cut.own_io, active_io(cut)) == (6_400 * IO_UNIT, 12_800 * IO_UNIT)
    assert {row.account: row.io for row in cut.holds} == {
        "owner": 1_600 * IO_UNIT,
        "other": 1_600 * IO_UNIT,
    }
    held, _ = advance(cut, NOW + 30 * DAY_NS - 1, PARAMS)
    assert held.burned_io == 0
    burned, free = advance(cut, NOW + 30 * DAY_NS, PARAMS)
    assert (burned.burned_io, burned.holds, free) == (3_200 * IO_UNIT, (), {})


def test_cooling_down_is_no_way_out_of_a_slash() -> None:
    left = unstake(stake(), MINIMUM, NOW, hired=False, params=PARAMS)
    cut = slash(left, Offence.SPOOFING, EVIDENCE, NOW + DAY_NS, PARAMS)
    assert cut.cooling == ()
    assert sum(row.io for row in cut.holds) == MINIMUM


def test_an_appeal_within_the_month_gives_it_back() -> None:
    cut = slash(stake(), Offence.SPOOFING, EVIDENCE, NOW, PARAMS)
    won = appeal_won(cut, EVIDENCE, NOW + DAY_NS, PARAMS)
    assert won.holds == ()
    assert won.cooling[0] == Cooling(account="owner", io=8_000 * IO_UNIT, free_ns=NOW + 15 * DAY_NS)
    with pytest.raises(StakeError, match="nothing of d is held"):
        appeal_won(cut, EVIDENCE, NOW + 30 * DAY_NS, PARAMS)
    with pytest.raises(StakeError, match="nothing of d is held"):
        appeal_won(cut, "cd" * 32, NOW, PARAMS)


@pytest.mark.parametrize("evidence", ["", "he did it", "AB" * 32])
def test_no_slash_without_evidence(evidence: str) -> None:
    with pytest.raises(StakeError, match="needs evidence"):
        slash(stake(), Offence.DATA, evidence, NOW, PARAMS)


@settings(max_examples=200, deadline=None)
@given(moves=st.lists(st.tuples(st.sampled_from("asulvr"), st.integers(1, 20)), max_size=30))
def test_whatever_happens_no_base_unit_is_lost(moves: list[tuple[str, int]]) -> None:
    now_stake, came, out, now = stake(), MINIMUM, 0, NOW
    for move, number in moves:
        now += number * DAY_NS
        try:
            if move == "a":
                now_stake, came = add(now_stake, number), came + number
            elif move == "s":
                offence = list(Offence)[number % len(Offence)]
                now_stake = slash(now_stake, offence, EVIDENCE, now, PARAMS)
            elif move == "u":
                now_stake = unstake(now_stake, MINIMUM, now, hired=number == 1, params=PARAMS)
            elif move == "l":
                now_stake = costaker_leaves(now_stake, now, PARAMS)
            elif move == "v":
                now_stake = appeal_won(now_stake, EVIDENCE, now, PARAMS)
            else:
                now_stake, free = advance(now_stake, now, PARAMS)
                out += sum(free.values())
        except StakeError:
            continue
        assert total_io(now_stake) + out == came
