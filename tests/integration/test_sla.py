"""A gateway that starts over a day in which an SLA was missed credits it by itself, once."""

from __future__ import annotations

import contextlib
import time

import msgspec
import pytest
from books import closed, opened, used
from served import configuration, eventually, serve

from gateway.billing.sla_config import SlaConfig
from metering.accounts import USD_SLA
from metering.charge import ChargeOutcome
from metering.month import DAY_NS, day_text
from metering.posting import close_group, deposit_group, hold_group
from metering.sla import SlaPeriod
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio


async def test_a_gateway_credits_what_was_missed(tmp_path):
    at_ns = time.time_ns() - 2 * DAY_NS
    with contextlib.closing(SqliteLedger(tmp_path / "ledger.db", lambda: at_ns)) as ledger:
        ledger.post("t", [deposit_group("d", "alice", 10**9)])
        for number in range(10):
            opening = opened(f"c{number}")
            closing = msgspec.structs.replace(
                closed(opening.charge_id, used(100)),
                closed_ns=at_ns,
                outcome=ChargeOutcome.NODE_BROKEN if number else ChargeOutcome.COMPLETED,
            )
            ledger.post("g", [hold_group(opening), close_group(opening, closing)])
    sla = SlaConfig(
        name="gold",
        since=day_text(at_ns // DAY_NS),
        credit_percent="10",
        period=SlaPeriod.DAY,
        availability_percent="99",
        requests_min=5,
    )
    async with FakeNode() as node:
        config = msgspec.structs.replace(configuration([node]), sla=(sla,))
        async with serve(tmp_path, config) as served:
            with served.ledger() as ledger:
                given = await eventually(lambda: ledger.balance(USD_SLA).posted, bool)
                assert given == -10 * 62_000 // 10
                assert ledger.verify().ok
