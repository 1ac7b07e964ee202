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
from gateway.settlement.close import Orders, Outcome, closed
from gateway.settlement.config import PriceOfIo, price_of_io
from gateway.settlement.price_watch import PriceWatch, read_once
from ide.closing_time import NextEpoch, next_epoch
from ide.params import IdeParams
from ide.price_sources import OracleConfig, PriceSource
from metering.backend import open_ledger
from metering.ledger import Ledger
from metering.posting import close_group, hold_group
from metering.reference_ledger import ReferenceLedger

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
