"""What a model on sale costs at the moment of admission."""

from __future__ import annotations

import asyncio

import pytest
from served import eventually

from gateway.admission.catalogue import Catalogue, Model
from gateway.admission.price_board import PriceBoard
from gateway.config import parse
from metering.ledger import LedgerError
from metering.price_book import Tariff
from metering.price_store import PriceEntry

CONFIG = parse("""
[[model]]
id = "m"
context_tokens_max = 4096
prompt_usd_per_million = "0.20"
completion_usd_per_million = "0.60"

[[model.off_peak]]
utc_from = "00:00"
utc_until = "01:00"
discount_ppm = 500000
""").model
HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS


def tariff(effective_ns: int, prompt: int, model: str = "m") -> Tariff:
    return Tariff(
        model=model,
        effective_ns=effective_ns,
        prompt_nano_usd=prompt,
        cached_prompt_nano_usd=1,
        completion_nano_usd=1,
    )


def test_a_price_holds_from_its_first_nanosecond_to_its_last():
    model, change_ns = Model(CONFIG[0]), 100 * DAY_NS + 5 * HOUR_NS
    model.reprice([tariff(change_ns, 300)])
    asked = [
        (100 * DAY_NS - 1, 200),
        (100 * DAY_NS, 100),
        (100 * DAY_NS + HOUR_NS - 1, 100),
        (100 * DAY_NS + HOUR_NS, 200),
        (change_ns - 1, 200),
        (change_ns, 300),
        (change_ns + 100 * DAY_NS, 300),
    ]
    # whichever way the clock goes: it may be set back
    for now_ns, prompt in [*asked, *reversed(asked), *asked[::2], *asked[1::2]]:
        assert model.price_at(now_ns).prompt_nano_usd == prompt, now_ns


class Source:
    def __init__(self) -> None:
        self.entries: list[PriceEntry] = []
        self.asked: list[int] = []
        self.away = False

    def set(self, tariff: Tariff) -> None:
        seq = len(self.entries) + 1
        self.entries.append(PriceEntry(seq=seq, id=str(seq), tariff=tariff, set_ns=0))

    def load(self, after_seq: int = 0) -> list[PriceEntry]:
        self.asked.append(after_seq)
        if self.away:
            raise LedgerError("gone")
        return self.entries[after_seq:]


@pytest.mark.anyio
async def test_the_board_takes_up_what_was_set_since():
    catalogue, source = Catalogue(CONFIG), Source()
    board, model = PriceBoard(source, catalogue), catalogue.get("m")
    source.set(tariff(10 * DAY_NS, 300))
    source.set(tariff(30 * DAY_NS, 500, model="not on sale here"))
    assert len(await board.reload()) == 2
    assert await board.reload() == []
    source.set(tariff(20 * DAY_NS, 400))
    source.set(tariff(10 * DAY_NS, 350))  # instead of the first
    await board.reload()
    assert source.asked == [0, 2, 2]
    prices = [
        model.price_at(day * DAY_NS + 12 * HOUR_NS).prompt_nano_usd for day in (9, 10, 19, 20)
    ]
    assert prices == [200, 350, 350, 400]


@pytest.mark.anyio
async def test_without_the_database_the_known_prices_hold_on(monkeypatch, caplog):
    monkeypatch.setattr("gateway.admission.price_board.LOOK_S", 0.001)
    catalogue, source = Catalogue(CONFIG), Source()
    board, model = PriceBoard(source, catalogue), catalogue.get("m")
    source.set(tariff(10 * DAY_NS, 300))
    await board.reload()
    source.away = True
    keeping = asyncio.create_task(board.keep_current())
    asked = len(source.asked)
    await eventually(lambda: len(source.asked), lambda count: count >= asked + 3)
    assert model.price_at(10 * DAY_NS + 2 * HOUR_NS).prompt_nano_usd == 300
    source.set(tariff(20 * DAY_NS, 400))
    source.away = False
    later_ns = 20 * DAY_NS + 2 * HOUR_NS
    await eventually(lambda: model.price_at(later_ns).prompt_nano_usd, lambda nano: nano == 400)
    keeping.cancel()
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "cannot be looked up" in line] == [
        "prices cannot be looked up, the known ones hold on: gone"
    ]
    assert any("price '2' was read" in line and "late" in line for line in said)
