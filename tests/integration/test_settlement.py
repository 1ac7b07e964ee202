"""Epochs that settle by themselves: paid, burned, proved; by one gateway, whichever lives."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from served import configuration, eventually, open_account_at, serve
from together import LEDGER, REDIS, together, write_config

from gateway.cli import main
from gateway.home import Home
from gateway.settlement.config import SettlementConfig
from gateway.settlement.settler import LEASE
from ide.commitment import head_of
from ide.price_sources import OracleConfig, PriceSource
from ide.replay import replay
from ide.settlement import stored_result
from metering import accounts
from metering.accounts import Asset
from metering.backend import open_database, open_ledger
from metering.lease import LeaseRow, lease_row
from metering.ledger import Ledger
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ASKED = {
    "model": "fake",
    "messages": [{"role": "user", "content": "hi there"}],
    "max_tokens": 12,
}
AUTOMATIC = '[settlement]\nio_price_usd = "0.16"\nlease_s = 3\n'
WITHIN_S = 120


def settles_each_second(home: Path) -> None:
    home.mkdir(exist_ok=True)
    Home(home).ide_file.write_text("epoch_s = 1\n")


def settled_charges(ledger: Ledger) -> int:
    return sum(
        served.charges
        for row in ledger.epochs()
        for served in ledger.charge_totals(row.from_seq, row.to_seq)
    )


def burned_io(ledger: Ledger) -> int:
    return ledger.balance(accounts.IO_BURNED).posted


async def test_chats_are_settled_proved_and_burned_without_anyones_help(tmp_path: Path) -> None:
    settles_each_second(tmp_path)
    async with FakeNode() as node:
        config = msgspec.structs.replace(
            configuration([node]),
            settlement=SettlementConfig(io_price_usd="0.16", lease_s=3),
        )
        async with serve(tmp_path, config) as gateway:
            for _ in range(3):
                (await gateway.client.post(CHAT, json=ASKED)).raise_for_status()
            with gateway.ledger() as ledger:
                await eventually(lambda: settled_charges(ledger), (3).__eq__, within_s=WITHIN_S)
                (await gateway.client.post(CHAT, json=ASKED)).raise_for_status()
                await eventually(lambda: settled_charges(ledger), (4).__eq__, within_s=WITHIN_S)
                epochs = [row.epoch for row in ledger.epochs()]
                burned = burned_io(ledger)
                paid = ledger.balance(accounts.supplier(Asset.IO, "supplier-0")).posted
                state = stored_result(ledger.latest_epoch()).state
                root = ledger.seals()[0].root
                assert replay(ledger).ok
                assert ledger.verify().ok
            assert epochs == list(range(1, len(epochs) + 1))
            assert len(epochs) >= 2, "what came late belongs to an epoch of its own"
            assert burned == state.burned_circulating_io > 0
            assert paid == state.supplier_io > 0
            file = tmp_path / "proof.json"
            tollgate("proof", "--supplier", "supplier-0", "--output", str(file), home=tmp_path)
            told = tollgate("check-proof", str(file), "--root", root)
            assert told["ok"]
            status = tollgate("status", home=tmp_path)
            assert status["last_epoch"] == epochs[-1]
            assert status["supply"]["ok"]


def tollgate(command: str, *arguments: str, home: Path | None = None) -> dict:
    at = ["--home", str(home)] if home else []
    done = CliRunner().invoke(main, ["settle", command, *arguments, "--json", *at])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def test_an_epoch_closes_at_the_price_that_the_oracle_watches(tmp_path: Path) -> None:
    settles_each_second(tmp_path)
    sources = []
    for name, price in (("a", "0.15"), ("b", "0.17"), ("gone", None)):
        file = tmp_path / f"price-{name}"
        if price is not None:
            file.write_text(json.dumps({"usd": price}))
        sources.append(PriceSource(name=name, file=str(file), price_at="usd"))
    async with FakeNode() as node:
        config = msgspec.structs.replace(
            configuration([node]),
            settlement=SettlementConfig(lease_s=3),
            oracle=OracleConfig(sources=tuple(sources)),
        )
        async with serve(tmp_path, config) as gateway:
            (await gateway.client.post(CHAT, json=ASKED)).raise_for_status()
            with gateway.ledger() as ledger:
                await eventually(lambda: settled_charges(ledger), (1).__eq__, within_s=WITHIN_S)
                paid = [head_of(seal) for seal in ledger.seals(limit=9) if head_of(seal).io_paid]
                assert [head.io_price_nano_usd for head in paid] == [160_000_000]


@pytest.mark.usefixtures("redis", "postgres")
async def test_a_leader_that_is_killed_is_replaced_and_nothing_is_settled_twice(
    tmp_path: Path,
) -> None:
    """Three processes in two gateways on one PostgreSQL; chats go on all the time."""
    url = os.environ["TOLLGATE_TEST_LEDGER_URL"]
    secret = open_account_at(url, "1")
    async with contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(FakeNode())
        for name in ("a", "b"):
            settles_each_second(tmp_path / name)
            write_config(tmp_path / name, [node], more=LEDGER + REDIS)
            file = Home(tmp_path / name).config_file
            file.write_text(
                file.read_text().replace("[settlement]\nautomatic = false\n", AUTOMATIC)
            )
        ledger = stack.enter_context(contextlib.closing(open_ledger(url)))
        database = stack.enter_context(contextlib.closing(open_database(url)))

        def leader() -> LeaseRow | None:
            return lease_row(database, LEASE)

        first = await stack.enter_async_context(
            together(tmp_path / "a", "--workers", "1", secret=secret)
        )
        led = await eventually(leader, bool, within_s=WITHIN_S)
        second = await stack.enter_async_context(
            together(tmp_path / "b", "--workers", "2", secret=secret)
        )
        for each in (first, second):
            (await each.client.post(CHAT, json=ASKED)).raise_for_status()
        await eventually(lambda: settled_charges(ledger), (2).__eq__, within_s=WITHIN_S)
        assert leader().holder == led.holder, "who leads goes on while it lives"
        os.kill(first.process.pid, signal.SIGKILL)
        await first.process.wait()
        for _ in range(3):
            (await second.client.post(CHAT, json=ASKED)).raise_for_status()
        follower = await eventually(
            leader, lambda row: row.holder not in ("", led.holder), within_s=WITHIN_S
        )
        await eventually(lambda: settled_charges(ledger), (5).__eq__, within_s=WITHIN_S)
        assert leader().holder == follower.holder
        await second.end()
        assert leader().holder == "", "who ends in order lets go at once"
        assert ledger.verify().ok
        assert replay(ledger).ok
        heads = [head_of(seal) for seal in ledger.seals(limit=1000)]
        assert [head.epoch for head in heads] == list(range(len(heads), 0, -1))
        assert len(list(ledger.charges())) == 5


async def test_a_quiet_gateway_closes_no_epochs(tmp_path: Path) -> None:
    settles_each_second(tmp_path)
    async with FakeNode() as node:
        config = msgspec.structs.replace(
            configuration([node]), settlement=SettlementConfig(lease_s=3)
        )
        async with serve(tmp_path, config) as gateway:
            (await gateway.client.post(CHAT, json=ASKED)).raise_for_status()
            with gateway.ledger() as ledger:
                await eventually(lambda: settled_charges(ledger), (1).__eq__, within_s=WITHIN_S)
                closed_ns = ledger.latest_epoch().created_ns
                with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
                    row = lease_row(database, LEASE)
                    await eventually(
                        lambda: lease_row(database, LEASE),
                        lambda now: now.beat >= row.beat + 3,
                        within_s=WITHIN_S,
                    )
                assert ledger.latest_epoch().created_ns == closed_ns
