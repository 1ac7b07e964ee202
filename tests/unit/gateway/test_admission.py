"""What must be looked up before a request can be judged, and what if it cannot."""

from __future__ import annotations

import pytest

from gateway.admission.admission import Known, Pending, settled
from gateway.errors import ApiError
from metering.ledger import LedgerError

pytestmark = pytest.mark.anyio


def judge(known: Known) -> object:
    if "balance" not in known:
        raise Pending("balance", judge.look_up)
    return known["balance"]


async def test_what_was_looked_up_is_judged_with():
    async def look_up() -> int:
        return 7

    judge.look_up = look_up
    assert await settled(judge) == 7


async def test_a_ledger_that_is_away_is_told_as_a_429_and_not_as_silence():
    async def look_up() -> int:
        raise LedgerError("the disk is gone")

    judge.look_up = look_up
    with pytest.raises(ApiError) as caught:
        await settled(judge)
    assert (caught.value.status, caught.value.code) == (429, "limits_unknown")
