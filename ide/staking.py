"""Stakes behind devices: how much, who shares, how one leaves, and how one loses it. Pure.

A device earns while its stake is at least `200 IO x max(1, multiplier) x processors`. Up to half
may come from a co-staker, on terms that are frozen once accepted. Leaving takes a cooldown. A slash
needs evidence; what it takes is held for a month, in which it can be appealed, and then burned.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from ide.gpu_table import GpuTable
from metering.money import IO_UNIT, PPM, mul_div_floor

DAY_NS = 86_400_000_000_000

_Io = Annotated[int, msgspec.Meta(ge=0)]


class StakeError(ValueError):
    """A move that the rules of staking do not allow; nothing has changed."""


class Offence(StrEnum):
    """What may be slashed. The list is published, the shares are not."""

    SPOOFING = "spoofing"
    DATA = "compromising_data"
    SERVICE = "inadequate_service"
    MINING = "excess_utilisation"
    STAKE = "failing_stake"


def _slash_ppm() -> dict[Offence, int]:
    return {
        Offence.SPOOFING: 1_000_000,
        Offence.DATA: 1_000_000,
        Offence.MINING: 200_000,
        Offence.SERVICE: 50_000,
        Offence.STAKE: 50_000,
    }


class StakeParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Published but for `slash_ppm`, which is ours."""

    per_multiplier_io: int = 200 * IO_UNIT
    cooldown_days: int = 14
    costake_wait_days: int = 7
    costake_max_ppm: int = 500_000
    claimed_offers_max: int = 2
    hold_days: int = 30
    slash_ppm: dict[Offence, int] = msgspec.field(default_factory=_slash_ppm)


class CoStake(msgspec.Struct, frozen=True, kw_only=True):
    """A co-staker's part and its frozen terms. `leaves_ns` is set once it has said it goes."""

    account: str
    io: _Io
    reward_share_ppm: int
    leaves_ns: int | None = None


class Cooling(msgspec.Struct, frozen=True, kw_only=True):
    """IO on its way out: free from `free_ns` on."""

    account: str
    io: _Io
    free_ns: int


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Slashed IO that waits out the month of appeal. `evidence` is a sha256 of what was shown."""

    account: str
    io: _Io
    offence: Offence
    evidence: str
    burns_ns: int


class Stake(msgspec.Struct, frozen=True, kw_only=True):
    """All that stands behind one device. Nothing is lost between its parts: see `total_io`."""

    device: str
    owner: str
    gpu_class: str
    processors: Annotated[int, msgspec.Meta(ge=1)]
    own_io: _Io = 0
    costake: CoStake | None = None
    cooling: tuple[Cooling, ...] = ()
    holds: tuple[Hold, ...] = ()
    burned_io: _Io = 0


def minimum_io(gpu_class: str, processors: int, table: GpuTable, params: StakeParams) -> int:
    """The least stake of a device in base units. Raises StakeError for a class without one."""
    multiplier_ppm = table.multiplier_ppm.get(gpu_class)
    if not multiplier_ppm:
        raise StakeError(
            f"{gpu_class} has no multiplier in table {table.version}: it earns nothing"
        )
    weight_ppm = max(PPM, multiplier_ppm) * processors
    return mul_div_floor(params.per_multiplier_io, weight_ppm, PPM)


def active_io(stake: Stake) -> int:
    """What counts towards the minimum: both parts, the co-staker's also while it waits to go."""
    return stake.own_io + (stake.costake.io if stake.costake else 0)


def total_io(stake: Stake) -> int:
    """All IO that ever came in and was not paid out, burned part included."""
    leaving = sum(row.io for row in stake.cooling) + sum(row.io for row in stake.holds)
    return active_io(stake) + leaving + stake.burned_io


def add(stake: Stake, io: int) -> Stake:
    """The owner stakes more."""
    if io <= 0:
        raise StakeError(f"{io} base units is no stake")
    return msgspec.structs.replace(stake, own_io=stake.own_io + io)


def accept_offer(
    stake: Stake, account: str, io: int, reward_share_ppm: int, claimed: int, params: StakeParams
) -> Stake:
    """A co-staker takes the owner's offer; its terms are frozen from here.

    `claimed` is how many offers the account has taken already.
    """
    if account == stake.owner:
        raise StakeError(f"{account} owns {stake.device}: an owner cannot co-stake its own device")
    if stake.costake:
        raise StakeError(f"{stake.device} has a co-staker: one for each offer")
    if claimed >= params.claimed_offers_max:
        raise StakeError(
            f"{account} has taken {claimed} offers: {params.claimed_offers_max} at most"
        )
    if not 0 <= reward_share_ppm <= PPM:
        raise StakeError(f"a share of {reward_share_ppm} ppm is not between none and all")
    if io <= 0 or io * PPM > (stake.own_io + io) * params.costake_max_ppm:
        raise StakeError(f"{io} base units beside the owner's {stake.own_io} is above its share")
    costake = CoStake(account=account, io=io, reward_share_ppm=reward_share_ppm)
    return msgspec.structs.replace(stake, costake=costake)


def split_reward_io(stake: Stake, reward_io: int) -> dict[str, int]:
    """A reward by account: the co-staker's share rounded down; one that leaves earns nothing."""
    costake = stake.costake
    if costake is None or costake.leaves_ns is not None:
        return {stake.owner: reward_io}
    theirs = mul_div_floor(reward_io, costake.reward_share_ppm, PPM)
    return {stake.owner: reward_io - theirs, costake.account: theirs}


def withdraw_overflow(stake: Stake, io: int, minimum: int) -> Stake:
    """The owner takes what is above the minimum, at once and without a cooldown.

    Raises StakeError for more than that: it takes `unstake`, which is the whole of it.
    """
    overflow = max(0, min(stake.own_io, active_io(stake) - minimum))
    if not 0 < io <= overflow:
        raise StakeError(f"{io} base units are not above the minimum, {overflow} are: unstake all")
    return msgspec.structs.replace(stake, own_io=stake.own_io - io)


def unstake(stake: Stake, minimum: int, now_ns: int, *, hired: bool, params: StakeParams) -> Stake:
    """The owner leaves whole: it counts no more at once, and is free after the cooldown.

    A co-staker whose part alone is below the minimum is unstaked with it.
    Raises StakeError while the device is hired.
    """
    if hired:
        raise StakeError(f"{stake.device} is hired: unstake when the job is over")
    costake = stake.costake
    out = [(stake.owner, stake.own_io)]
    if costake and costake.io < minimum:
        out.append((costake.account, costake.io))
        costake = None
    free_ns = now_ns + params.cooldown_days * DAY_NS
    cooling = tuple(Cooling(account=who, io=io, free_ns=free_ns) for who, io in out if io)
    return msgspec.structs.replace(
        stake, own_io=0, costake=costake, cooling=stake.cooling + cooling
    )


def costaker_leaves(stake: Stake, now_ns: int, params: StakeParams) -> Stake:
    """The co-staker goes: its part counts for a week more, earns nothing, then cools down."""
    if stake.costake is None or stake.costake.leaves_ns is not None:
        raise StakeError(f"{stake.device} has no co-staker who could say so")
    leaves_ns = now_ns + params.costake_wait_days * DAY_NS
    costake = msgspec.structs.replace(stake.costake, leaves_ns=leaves_ns)
    return msgspec.structs.replace(stake, costake=costake)


def slash(stake: Stake, offence: Offence, evidence: str, now_ns: int, params: StakeParams) -> Stake:
    """Take the offence's share of every part, the co-staker's and what cools down included, and
    hold it for a month. `evidence` is the sha256 of what was shown; without it there is no slash.
    """
    if len(evidence) != 64 or set(evidence) - set("0123456789abcdef"):
        raise StakeError("a slash needs evidence: the sha256 of what is shown to the owner")
    if any(row.evidence == evidence for row in stake.holds):
        raise StakeError(f"{stake.device} was slashed on that evidence before")
    share, burns_ns = params.slash_ppm[offence], now_ns + params.hold_days * DAY_NS
    holds: list[Hold] = []

    def left_of(account: str, io: int) -> int:
        taken = mul_div_floor(io, share, PPM)
        if taken:
            holds.append(
                Hold(
                    account=account, io=taken, offence=offence, evidence=evidence, burns_ns=burns_ns
                )
            )
        return io - taken

    own_io = left_of(stake.owner, stake.own_io)
    costake = stake.costake
    if costake:
        costake = msgspec.structs.replace(costake, io=left_of(costake.account, costake.io))
    cooling = [
        msgspec.structs.replace(row, io=left_of(row.account, row.io)) for row in stake.cooling
    ]
    return msgspec.structs.replace(
        stake,
        own_io=own_io,
        costake=costake,
        cooling=tuple(row for row in cooling if row.io),
        holds=(*stake.holds, *holds),
    )


def appeal_won(stake: Stake, evidence: str, now_ns: int, params: StakeParams) -> Stake:
    """What that evidence took goes back to whom it was taken from, by way of the cooldown.

    Raises StakeError if nothing is held for it any more.
    """
    back = [row for row in stake.holds if row.evidence == evidence and row.burns_ns > now_ns]
    if not back:
        raise StakeError(f"nothing of {stake.device} is held on that evidence")
    free_ns = now_ns + params.cooldown_days * DAY_NS
    cooling = [Cooling(account=row.account, io=row.io, free_ns=free_ns) for row in back]
    return msgspec.structs.replace(
        stake,
        holds=tuple(row for row in stake.holds if row not in back),
        cooling=(*stake.cooling, *cooling),
    )


def advance(stake: Stake, now_ns: int, params: StakeParams) -> tuple[Stake, dict[str, int]]:
    """Let time pass: (the stake, IO now free by account).

    Holds whose month is over are burned, a co-staker whose week is over starts its cooldown.
    """
    due = [row for row in stake.holds if row.burns_ns <= now_ns]
    costake, cooling = stake.costake, list(stake.cooling)
    if costake and costake.leaves_ns is not None and costake.leaves_ns <= now_ns:
        free_ns = costake.leaves_ns + params.cooldown_days * DAY_NS
        cooling.append(Cooling(account=costake.account, io=costake.io, free_ns=free_ns))
        costake = None
    free: dict[str, int] = {}
    for row in cooling:
        if row.free_ns <= now_ns:
            free[row.account] = free.get(row.account, 0) + row.io
    after = msgspec.structs.replace(
        stake,
        costake=costake,
        cooling=tuple(row for row in cooling if row.free_ns > now_ns),
        holds=tuple(row for row in stake.holds if row.burns_ns > now_ns),
        burned_io=stake.burned_io + sum(row.io for row in due),
    )
    return after, free
