"""The fixed schedule that the engine replaced, for comparison: 300,000,000 IO in 240 months.

    E(k) = 500,000,000 x 8% / 12 x (1 - d)^(k - 1),  k = 1..240,  d = 0.01015104703765

That d, not the "1.02% a month" of the prose, reproduces the published table and sums to the pool;
what the rounding of 240 months leaves goes to the last. Within a month the emission is even, so any
epochs that fill the month sum to it exactly.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import accumulate

from ide.params import MONTH_S
from metering.money import IO_UNIT

MONTHS = 240
POOL_IO: int = 300_000_000 * IO_UNIT

_BASE_IO = 500_000_000 * IO_UNIT
_YEARLY_PERCENT = 8
_DECAY = 1_015_104_703_765
_DECAY_SCALE = 10**14


@cache
def monthly_io() -> tuple[int, ...]:
    """Base units of IO emitted in each of the 240 months; their sum is the pool, exactly."""
    kept = _DECAY_SCALE - _DECAY
    months: list[int] = [
        _BASE_IO * _YEARLY_PERCENT * kept**month // (1_200 * _DECAY_SCALE**month)
        for month in range(MONTHS - 1)
    ]
    return (*months, POOL_IO - sum(months))


@cache
def _emitted_before() -> tuple[int, ...]:
    return tuple(accumulate(monthly_io(), initial=0))


@lru_cache(maxsize=8_192)
def emitted_io(age_s: int) -> int:
    """Base units emitted in the first `age_s` seconds of the schedule; in the end all. Kept, since
    every path asks for the same days."""
    month, into_s = divmod(age_s, MONTH_S)
    if month >= MONTHS:
        return POOL_IO
    return _emitted_before()[month] + monthly_io()[month] * into_s // MONTH_S
