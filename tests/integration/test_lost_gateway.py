"""What a lost gateway held is released by one that lives, and can be spent."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from books import opened
from served import configuration, eventually, serve

from metering.accounts import customer
from metering.money import parse_usd
from metering.posting import hold_group
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12}


async def test_a_lost_gateways_hold_is_released_and_the_money_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.housekeeping.EXPIRE_INTERVAL_S", 0.05)
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        answer = await served.client.post(CHAT, json=ASKED)
        assert answer.status_code == 200
        with served.ledger() as ledger:
            all_of_it = await eventually(
                lambda: ledger.balance(customer("acme")).available,
                lambda available: available < parse_usd("1"),
            )
        lost = msgspec.structs.replace(opened("lost", account="acme"), hold_nano_usd=all_of_it)
        with contextlib.closing(SqliteLedger(tmp_path / "ledger.db", lambda: 0)) as ledger:
            ledger.post("lost", [hold_group(lost)])
        with served.ledger() as ledger:
            await eventually(lambda: list(ledger.open_holds()), lambda found: not found)
            assert ledger.balance(customer("acme")).debits_pending == 0
        answer = await served.client.post(CHAT, json=ASKED)
        assert answer.status_code == 200
        await served.charges(2)
        with served.ledger() as ledger:
            assert ledger.verify().ok
