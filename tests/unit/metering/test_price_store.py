"""The price book in a database: only added to, never backwards, repeatable."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from metering.ledger import LedgerError
from metering.off_peak import window_from_text
from metering.price_book import ALWAYS_NS, LEAD_NS, Tariff
from metering.price_store import PriceStore
from metering.prices import PriceError, PriceTakenError

NOW_NS = 1_790_000_000 * 10**9
TARIFF = Tariff(
    model="m",
    effective_ns=NOW_NS + LEAD_NS,
    prompt_nano_usd=200,
    cached_prompt_nano_usd=50,
    completion_nano_usd=10**9,
    request_nano_usd=10**12,
    batch_discount_ppm=500_000,
    off_peak=(
        window_from_text("mon-fri 22:00-06:00 250000"),
        window_from_text("sun 00:00-24:00 1"),
    ),
)


@pytest.fixture
def store(database):
    return PriceStore(database)


def test_what_is_set_is_read_as_it_was(store):
    first = store.add("a", TARIFF, NOW_NS)
    later = replace(TARIFF, effective_ns=NOW_NS + 2 * LEAD_NS, off_peak=(), batch_discount_ppm=0)
    second = store.add("b", later, NOW_NS)
    assert (first.seq, first.tariff, first.set_ns) == (1, TARIFF, NOW_NS)
    assert store.load() == [first, second]
    assert store.load(after_seq=1) == [second]
    assert store.load(after_seq=2) == []


def test_a_price_is_not_changed_backwards(store):
    for effective_ns in (1, NOW_NS - 1, NOW_NS, NOW_NS + LEAD_NS - 1):
        with pytest.raises(PriceError, match="not changed backwards"):
            store.add("a", replace(TARIFF, effective_ns=effective_ns), NOW_NS)
    assert store.load() == []


def test_without_a_time_it_takes_effect_as_early_as_can_be(store):
    entry = store.add("a", replace(TARIFF, effective_ns=ALWAYS_NS), NOW_NS)
    assert entry.tariff == TARIFF


def test_a_repeat_changes_nothing(store):
    entry = store.add("a", TARIFF, NOW_NS)
    assert store.add("a", TARIFF, NOW_NS + 10**12) == entry  # though its time is past by then
    assert store.add("a", replace(TARIFF, effective_ns=ALWAYS_NS), NOW_NS + 1) == entry
    for other in (
        replace(TARIFF, prompt_nano_usd=201),
        replace(TARIFF, effective_ns=TARIFF.effective_ns + 1),
        replace(TARIFF, off_peak=()),
        replace(TARIFF, model="n"),
    ):
        with pytest.raises(PriceTakenError, match="with other terms"):
            store.add("a", other, NOW_NS)
    assert store.load() == [entry]


@pytest.mark.parametrize("name", ["", "a\0b", "line\nbreak", "x" * 201])
def test_a_name_that_is_none_is_refused(store, name):
    with pytest.raises(PriceError, match="printable"):
        store.add(name, TARIFF, NOW_NS)
    with pytest.raises(PriceError, match="printable"):
        store.add("a", replace(TARIFF, model=name), NOW_NS)


@pytest.mark.parametrize("statement", ["UPDATE price SET prompt_nano_usd = 1", "DELETE FROM price"])
def test_the_database_lets_nobody_change_the_book(store, database, statement):
    entry = store.add("a", TARIFF, NOW_NS)
    with pytest.raises(LedgerError, match="a price is never"):
        database.query(statement)
    assert store.load() == [entry]


@pytest.mark.parametrize(
    ("prompt", "windows"), [(10**9 + 1, "[]"), (1, "{}"), (1, '[{"utc_from":"1"}]'), (1, "")]
)
def test_a_row_that_is_no_price_is_told_by_its_number(store, database, prompt, windows):
    store.add("a", TARIFF, NOW_NS)
    values = (2, "b", "m", NOW_NS + 1, prompt, 1, 1, 1, 0, windows, NOW_NS)
    database.query(f"INSERT INTO price VALUES ({', '.join('?' * 11)})", *values)
    with pytest.raises(LedgerError, match="price 2 in the ledger is none"):
        store.load()
