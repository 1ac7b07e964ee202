"""Is the engine sustainable: psi, how long the money lasts, and what to warn of."""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate

from ide.epoch import Alarm
from ide.params import HOUR_S, MONTH_S, PPB, IdeParams
from ide.state import Smoothed
from metering.money import IO_UNIT, PPM

RUNWAY_MONTHS_MAX = 120
"""Runway saturates here: nothing says more than "ten years or longer"."""

PSI_PPM_MAX = 10**15
"""Psi saturates here: a billion times what was owed says no more than "much"."""


def psi_ppm(revenue: int, obligation: int) -> int | None:
    """Revenue over obligation in millionths, None where nothing was owed."""
    if obligation == 0:
        return None
    psi = revenue * PPM // obligation
    return psi if psi < PSI_PPM_MAX else PSI_PPM_MAX


def smooth(
    before: Smoothed | None,
    revenue: int,
    obligation: int,
    stipend: int,
    list_share: int,
    params: IdeParams,
) -> Smoothed:
    """Exponential smoothing over `params.smoothing_s`; the first epoch is taken as it is."""
    if before is None:
        deficit_s = params.epoch_s if revenue < obligation else 0
        return Smoothed(
            revenue_nano_usd=revenue,
            obligation_nano_usd=obligation,
            stipend_nano_usd=stipend,
            list_share_nano_usd=list_share,
            deficit_s=deficit_s,
        )
    window, part = params.smoothing_s, min(params.epoch_s, params.smoothing_s)
    kept = window - part
    revenue = (before.revenue_nano_usd * kept + revenue * part) // window
    obligation = (before.obligation_nano_usd * kept + obligation * part) // window
    return Smoothed(
        revenue_nano_usd=revenue,
        obligation_nano_usd=obligation,
        stipend_nano_usd=(before.stipend_nano_usd * kept + stipend * part) // window,
        list_share_nano_usd=(before.list_share_nano_usd * kept + list_share * part) // window,
        deficit_s=before.deficit_s + params.epoch_s if revenue < obligation else 0,
    )


def a_month(per_epoch_nano_usd: int, params: IdeParams) -> int:
    """What a month comes to at that much an epoch."""
    return per_epoch_nano_usd * MONTH_S // params.epoch_s


def runway_months(
    smoothed: Smoothed, reserve: int, limit_io: int, price: int | None, params: IdeParams
) -> int:
    """Whole months in which all that is owed can be paid if nothing changes from here.

    Each month lacks obligation - revenue - worth of the release limit, which shrinks with its
    pool; the reserve covers that until it is used up. A surplus is taken to add nothing.
    """
    missing = smoothed.obligation_nano_usd - smoothed.revenue_nano_usd
    if reserve < 0:
        return 0
    if missing <= 0:
        return RUNWAY_MONTHS_MAX
    worth = limit_io * (price or 0) // IO_UNIT
    missing = missing * PPM
    shrinks, summed = _release_ppm_by_month(params.release_ppb_per_hour)
    first = bisect_left(shrinks, True, key=lambda ppm: missing > worth * ppm)
    left = reserve * params.epoch_s * PPM // MONTH_S

    def too_much(month: int) -> bool:
        lacking: int = missing * (month - first) - worth * (summed[month] - summed[first])
        return lacking > left

    if not too_much(RUNWAY_MONTHS_MAX):
        return RUNWAY_MONTHS_MAX
    return bisect_left(range(RUNWAY_MONTHS_MAX), True, lo=first, key=too_much) - 1


@lru_cache(maxsize=64)
def _release_ppm_by_month(release_ppb_per_hour: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Millionths of today's release limit that is left after each month in which all is used, and
    their sums up to each month."""
    hours = MONTH_S // HOUR_S
    month_ppb = (PPB - release_ppb_per_hour) ** hours // PPB ** (hours - 1)
    left = [PPB]
    for _ in range(1, RUNWAY_MONTHS_MAX):
        left.append(left[-1] * month_ppb // PPB)
    shrinks = tuple(ppb * PPM // PPB for ppb in left)
    return shrinks, tuple(accumulate(shrinks, initial=0))


def alarms(
    smoothed: Smoothed, runway: int, owed: int, unpaid: int, price: int | None, params: IdeParams
) -> tuple[Alarm, ...]:
    """What to warn of, in order of how early it tells."""
    found = []
    if smoothed.deficit_s:
        found.append(Alarm.PSI_BELOW_ONE)
    if runway < params.runway_warning_months:
        found.append(Alarm.RUNWAY_SHORT)
    if price is None and owed:
        found.append(Alarm.NO_PRICE)
    if unpaid:
        found.append(Alarm.UNPAID)
    return tuple(found)
