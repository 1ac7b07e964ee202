"""`[settlement]` and `[oracle]`, and one epoch closed as a gateway's child closes it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from books import closed as closing
from books import deposit, opened, single, used
from served import eventually

from gateway.config import ConfigError, parse
from gateway.home import Home
from gateway.settlement.close import Orders, Outcome, closed
from gateway.settlement.config import PriceOfIo, SettlementConfig, price_of_io
from gateway.settlement.epochs import Epochs
from gateway.settlement.params_file import params_of_file
from gateway.settlement.price_watch import PriceWatch, read_once
from gateway.settlement.settler import SOON_S, Settler
from gateway.settlement.timetable import Timetable
from ide.closing_time import NextEpoch, next_epoch
from ide.params import IdeParams, ParamsError
from ide.price_sources import OracleConfig, PriceSource
from metering.backend import open_database, open_ledger
from metering.ledger import Ledger
from metering.posting import close_group, hold_group
from metering.reference_ledger import ReferenceLedger
from metering.sqlite_ledger import SqliteLedger

HOUR_NS = 3_600 * 10**9
MODEL = """
[[model]]
id = "m"
context_tokens_max = 10
prompt_usd_per_million = "1"
completion_usd_per_million = "1"
"""
ORACLE = """
[oracle]
sources_min = 1
sources = [{ name = "a", file = "a.json", price_at = "usd" }]
"""


def test_a_price_is_fixed_or_of_an_oracle_or_there_is_none() -> None:
    fixed = parse(MODEL + '[settlement]\nio_price_usd = "0.16"\n')
    assert price_of_io(fixed.settlement, fixed.oracle).fixed_nano_usd == 160_000_000
    watched = parse(MODEL + ORACLE)
    assert price_of_io(watched.settlement, watched.oracle).oracle == watched.oracle
    none = parse(MODEL)
    assert none.settlement.automatic
    assert read_once(price_of_io(none.settlement, none.oracle)) is None


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ('[settlement]\nio_price_usd = "a"\n', "io_price_usd: 'a' is no amount"),
        ('[settlement]\nio_price_usd = "1"\n' + ORACLE, "keep one of them"),
        ("[settlement]\nlease_s = 2\n", "lease_s"),
        ("[settlement]\nauto = true\n", "auto"),
        ("[oracle]\nsources = []\n", "there would never be a price"),
    ],
)
def test_what_makes_no_sense_is_refused(section: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(MODEL + section)


def serve(ledger: Ledger, name: str, account: str = "alice") -> None:
    opening = opened(name, account=account)
    ledger.post("g", [hold_group(opening), close_group(opening, closing(name, used(10)))])


def orders(file: Path, epoch: int, price: int | None = 160_000_000) -> Orders:
    return Orders(
        file=str(file),
        url=None,
        params=IdeParams(),
        io_price_nano_usd=price,
        epoch=epoch,
        now_ns=7,
    )


def test_only_the_epoch_that_was_ordered_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with contextlib.closing(open_ledger(file)) as ledger:
        assert closed(orders(file, 1)).outcome is Outcome.NOTHING_NEW
        ledger.post("cli", [deposit("alice", 10**9)])
        serve(ledger, "c1")
        refused = closed(orders(file, 2))
        assert (refused.outcome, "the next one is 1" in refused.problem) == (Outcome.REFUSED, True)
        assert closed(orders(file, 1)).outcome is Outcome.SETTLED
        serve(ledger, "c2")
        assert closed(orders(file, 1)).outcome is Outcome.ALREADY_SETTLED
        assert [row.epoch for row in ledger.epochs()] == [1]


def test_an_empty_epoch_is_closed_if_something_can_move(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with contextlib.closing(open_ledger(file)) as ledger:
        ledger.post("cli", [deposit("alice", 10**9)])
        serve(ledger, "c1")
        assert closed(orders(file, 1, None)).outcome is Outcome.SETTLED
        assert closed(orders(file, 2, None)).outcome is Outcome.NOTHING_NEW
        assert closed(orders(file, 2)).outcome is Outcome.SETTLED, "the buyback was due"
        assert closed(orders(file, 3)).outcome is Outcome.NOTHING_NEW
        serve(ledger, "c3", account="poor")  # the shortfall account bears it: nothing comes in
        assert closed(orders(file, 3, None)).outcome is Outcome.SETTLED
        assert closed(orders(file, 4, None)).outcome is Outcome.SETTLED, "a debt is owed"


def test_books_that_do_not_agree_and_a_ledger_that_is_away_are_told(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with contextlib.closing(open_ledger(file)) as ledger:
        ledger.post("cli", [deposit("alice", 10**9)])
        serve(ledger, "c1")
        closed(orders(file, 1))
        ledger.post("x", [single("theft", "io:unemitted", "io:supplier:mallory", 1)])
        serve(ledger, "c2")
        refused = closed(orders(file, 2))
        assert refused.outcome is Outcome.REFUSED
        assert "unemitted IO in the ledger" in refused.problem
    away = closed(orders(tmp_path / "gone" / "ledger.db", 1))
    assert (away.outcome, "missing" in away.problem) == (Outcome.AWAY, True)


def test_an_epoch_of_another_version_is_told_not_tried_again_and_again(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with contextlib.closing(SqliteLedger(file)) as ledger:
        ledger.post("cli", [deposit("alice", 10**9)])
        serve(ledger, "c1")
        assert closed(orders(file, 1)).outcome is Outcome.SETTLED
        changed(ledger, "state = json_remove(state, '$.cap_io')")
        serve(ledger, "c2")
        refused = closed(orders(file, 2))
    assert refused.outcome is Outcome.REFUSED
    assert "another version" in refused.problem


def test_parameters_are_told_as_they_were_hashed(tmp_path: Path) -> None:
    """One that a later version brought has its default, but was not in what was hashed."""
    file = tmp_path / "ledger.db"
    with contextlib.closing(SqliteLedger(file)) as ledger:
        ledger.post("cli", [deposit("alice", 10**9)])
        serve(ledger, "c1")
        closed(orders(file, 1))
        changed(ledger, "params = json_remove(params, '$.epoch_s')")
        told = json.loads(Epochs(ledger).as_json(1))
    assert "version" in told["params"]
    assert "epoch_s" not in told["params"]


def changed(ledger: SqliteLedger, what: str) -> None:
    for (trigger,) in ledger._writes.query(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'epoch'"
    ):
        ledger._writes.query(f"DROP TRIGGER {trigger}")
    ledger._writes.query(f"UPDATE epoch SET {what}")


def test_an_epoch_is_over_at_a_multiple_of_its_length() -> None:
    began = NextEpoch(epoch=1, began_ns=5 * HOUR_NS + 1)
    assert began.closes_ns(3_600) == 6 * HOUR_NS
    assert NextEpoch(epoch=1, began_ns=5 * HOUR_NS).closes_ns(3_600) == 6 * HOUR_NS
    assert began.closes_ns(1) == 5 * HOUR_NS + 10**9
    now_ns = [3 * HOUR_NS + 5]
    ledger = ReferenceLedger(lambda: now_ns[0])
    assert next_epoch(ledger) is None
    ledger.post("cli", [deposit("alice", 10**9)])
    now_ns[0] = 9 * HOUR_NS
    ledger.post("cli", [deposit("bob", 10**9)])
    assert next_epoch(ledger) == NextEpoch(epoch=1, began_ns=3 * HOUR_NS + 5)


def test_a_clock_that_was_ahead_does_not_put_off_all_epochs() -> None:
    table, ahead = Timetable(), NextEpoch(epoch=7, began_ns=9_000 * HOUR_NS)
    now_ns = 5 * HOUR_NS + 1
    assert table.closes_ns(ahead, 3_600, now_ns) == 6 * HOUR_NS
    assert table.closes_ns(ahead, 3_600, 6 * HOUR_NS + 1) == 6 * HOUR_NS, "its time has come"
    table.put_off(9_001 * HOUR_NS)
    assert table.closes_ns(ahead, 3_600, now_ns) == 6 * HOUR_NS, "so was it when it put it off"
    skewed = NextEpoch(epoch=8, began_ns=6 * HOUR_NS + 10**9)
    assert table.closes_ns(skewed, 3_600, 6 * HOUR_NS - 10**9) == 7 * HOUR_NS


def test_an_epoch_whose_process_died_is_not_tried_again_without_a_pause(tmp_path: Path) -> None:
    long_ago = SqliteLedger(tmp_path / "ledger.db", lambda: HOUR_NS)
    with contextlib.closing(long_ago) as ledger:
        ledger.post("cli", [deposit("alice", 10**9)])
        with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
            settler = Settler(
                Home(tmp_path),
                SettlementConfig(io_price_usd="1"),
                PriceWatch(PriceOfIo(fixed_nano_usd=5, oracle=None)),
                tmp_path / "gone" / "ledger.db",
                ledger=ledger,
                database=database,
                holder="a",
            )
            (tmp_path / "ide.toml").write_text("epoch_s = 3600\n")
            assert 0 < asyncio.run(failed_once(settler)) <= SOON_S


async def failed_once(settler: Settler) -> float:
    """For how long nothing is done after that."""
    await settler._look()
    assert settler._closing is not None
    assert (await settler._closing).outcome is Outcome.AWAY
    pause_s = await settler._look()
    again = settler._closing
    await settler._stop()
    assert again is None, "at once again"
    return pause_s


@pytest.mark.parametrize("content", [b"epoch_s = 3600 # \xff\n", None])
def test_parameters_that_cannot_be_read_are_told_as_such(
    tmp_path: Path, content: bytes | None
) -> None:
    """Anything else would end the gateway, as its tasks end together."""
    file = tmp_path / "ide.toml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ParamsError, match=r"ide\.toml cannot be read"):
        params_of_file(file)


def test_an_oracle_is_asked_only_while_its_price_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(json.dumps({"usd": "0.2"}))
    source = PriceSource(name="a", file=str(tmp_path / "a"), price_at="usd")
    oracle = OracleConfig(sources_min=1, sources=(source,))
    watch = PriceWatch(PriceOfIo(fixed_nano_usd=None, oracle=oracle))
    needed = [False]

    async def watched() -> None:
        running = asyncio.create_task(watch.run(lambda: needed[0]))
        await asyncio.sleep(0)
        assert not watch.ready
        running.cancel()
        needed[0] = True
        running = asyncio.create_task(watch.run(lambda: needed[0]))
        await eventually(lambda: watch.ready, bool)
        running.cancel()

    asyncio.run(watched())
    assert watch.now_nano_usd() == 200_000_000
    assert PriceWatch(PriceOfIo(fixed_nano_usd=5, oracle=None)).now_nano_usd() == 5
