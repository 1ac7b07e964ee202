"""How `tollgate stake` shows a stake: lines for people, an object for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ide.stake_journal import Moved
from ide.staking import Stake, active_io
from metering.money import format_io
from metering.month import time_text


def moved_json(moved: Moved) -> dict[str, Any]:
    """All of it; IO in base units."""
    shown: dict[str, Any] = msgspec.to_builtins(moved)
    stake = moved.stake
    return {
        "object": "stake",
        **shown,
        "active_io": active_io(stake),
        "cooling_io": _cooling_io(stake),
        "held_io": _held_io(stake),
    }


def moved_lines(moved: Moved) -> Iterator[str]:
    stake = moved.stake
    yield (
        f"{stake.device}: {stake.processors} x {stake.gpu_class} of '{stake.owner}', "
        f"{format_io(active_io(stake))} IO staked; move {moved.number} was {moved.move}"
    )
    if stake.costake is not None:
        theirs = stake.costake
        yield f"  of it {format_io(theirs.io)} IO of '{theirs.account}'"
    for account, io in moved.paid_io.items():
        yield f"  {format_io(io)} IO went back to '{account}'"
    for cooling in stake.cooling:
        yield (
            f"  {format_io(cooling.io)} IO of '{cooling.account}' cool down until "
            f"{time_text(cooling.free_ns)} UTC"
        )
    for hold in stake.holds:
        yield (
            f"  {format_io(hold.io)} IO of '{hold.account}' held for {hold.offence}, to be burned "
            f"from {time_text(hold.burns_ns)} UTC on; evidence {hold.evidence}"
        )
    if stake.burned_io:
        yield f"  {format_io(stake.burned_io)} IO lost for good"


def stake_row(stake: Stake) -> list[str]:
    amounts = (active_io(stake), _cooling_io(stake), _held_io(stake), stake.burned_io)
    return [stake.device, stake.owner, stake.gpu_class, *map(format_io, amounts)]


def _cooling_io(stake: Stake) -> int:
    return sum(row.io for row in stake.cooling)


def _held_io(stake: Stake) -> int:
    return sum(row.io for row in stake.holds)
