"""What a model costs at any moment: at the very boundaries, and under any discount."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from metering.money import INT64_MAX
from metering.off_peak import OffPeakWindow, window_from_text
from metering.price_book import NEVER_NS, PriceList, Tariff
from metering.prices import PriceError, Reduction, named_price, price_named, reduced

AN_HOUR_NS = 3600 * 10**9


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def tariff(effective_ns: int = 0, prompt: int = 200, **fields) -> Tariff:
    return Tariff(
        model="m",
        effective_ns=effective_ns,
        prompt_nano_usd=prompt,
        cached_prompt_nano_usd=50,
        completion_nano_usd=600,
        **fields,
    )


def test_a_price_changes_at_its_moment_and_not_a_nanosecond_earlier():
    change_ns = at("2026-03-01T12:00:00")
    prices = PriceList([tariff(), tariff(change_ns, 300)])
    before, after = prices.at(change_ns - 1), prices.at(change_ns)
    assert (before.price.version, before.from_ns, before.until_ns) == ("200/50/600", 0, change_ns)
    assert (after.price.version, after.from_ns, after.until_ns) == (
        "300/50/600",
        change_ns,
        NEVER_NS,
    )


def test_the_tariff_set_last_counts_of_two_at_one_moment():
    prices = PriceList([tariff(), tariff(10, 300), tariff(20, 400), tariff(10, 250)])
    assert [prices.at(ns).price.prompt_nano_usd for ns in (9, 10, 19, 20)] == [200, 250, 250, 400]
    assert [each.prompt_nano_usd for each in prices] == [200, 250, 400]


@pytest.mark.parametrize("tariffs", [[], [tariff(1)]])
def test_a_model_without_a_price_from_the_start_is_refused(tariffs):
    with pytest.raises(PriceError, match="must always have been"):
        PriceList(tariffs)


NIGHT = window_from_text("mon-fri 22:00-06:00 250000")
WEEKEND = window_from_text("sat,sun 00:00-24:00 300000")


@pytest.mark.parametrize(
    ("moment", "version"),
    [
        ("2026-11-16T21:59:59", "200/50/600"),  # a Monday
        ("2026-11-16T22:00:00", "150/37/450~off-peak:250000"),
        ("2026-11-17T05:59:59", "150/37/450~off-peak:250000"),
        ("2026-11-17T06:00:00", "200/50/600"),
        ("2026-11-20T23:59:59", "150/37/450~off-peak:250000"),  # Friday's, into Saturday
        ("2026-11-21T00:00:00", "140/35/420~off-peak:300000"),  # the larger of the two
        ("2026-11-22T23:59:59", "140/35/420~off-peak:300000"),
        ("2026-11-23T00:00:00", "200/50/600"),  # Sunday has no night of its own
        ("2026-11-23T05:00:00", "200/50/600"),
    ],
)
def test_off_peak_hours(moment, version):
    prices = PriceList([tariff(off_peak=(NIGHT, WEEKEND))])
    found = prices.at(at(moment))
    assert found.price.version == version
    assert found.from_ns <= at(moment) < found.until_ns
    assert prices.at(found.until_ns - 1).price == found.price


def test_the_week_goes_round():
    sunday = tariff(off_peak=(window_from_text("sun 22:00-02:00 500000"),))
    prices = PriceList([sunday])
    for hour, off in [(21, False), (22, True), (25, True), (26, False)]:
        found = prices.at(at("2026-11-22T00:00:00") + hour * AN_HOUR_NS)
        assert (found.price.version != "200/50/600") is off, hour
    assert found.until_ns == at("2026-11-29T22:00:00")


def test_of_two_discounts_the_larger_counts():
    prices = PriceList([tariff(batch_discount_ppm=200_000, off_peak=(NIGHT,))])
    day, night = prices.at(at("2026-11-16T12:00:00")), prices.at(at("2026-11-16T23:00:00"))
    assert (day.price.version, day.batch_price.version) == (
        "200/50/600",
        "160/40/480~batch:200000",
    )
    assert night.batch_price == night.price
    assert night.price.version == "150/37/450~off-peak:250000"


def test_a_discount_rounds_down_and_makes_nothing_free_by_that():
    price = named_price(75, 3, 151, 7)
    half = reduced(price, Reduction.BATCH, 500_000)
    assert half.version == "37/1/75/3~batch:500000"
    with pytest.raises(PriceError, match="would be free"):
        reduced(named_price(75, 1, 151), Reduction.BATCH, 500_000)
    assert reduced(price, Reduction.BATCH, 1_000_000).amounts == (0, 0, 0, 0)


@pytest.mark.parametrize("ppm", [0, -1, 1_000_001])
def test_a_discount_is_a_part_of_the_price(ppm):
    with pytest.raises(PriceError, match="ppm"):
        reduced(named_price(1, 1, 1), Reduction.BATCH, ppm)


@pytest.mark.parametrize(
    "version",
    ["", "200", "200/50", "200/50/600/0", "0200/50/600", "200/50/600~batch", "200/50/600~x:5",
     "200/50/600~batch:1000001", "200/50/600 ", "²/1/1", f"{INT64_MAX}1/1/1", "1/1/1/1/1"],
)  # fmt: skip
def test_what_is_no_version_is_refused(version):
    with pytest.raises(PriceError, match="no version"):
        price_named(version)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": -1}, "not within"),
        ({"prompt": 10**9 + 1}, "not within"),
        ({"request_nano_usd": 10**12 + 1}, "a request is not within"),
        ({"effective_ns": -1}, "no time"),
        ({"batch_discount_ppm": 999_999}, "would be free"),
        ({"off_peak": (window_from_text("sun 00:00-24:00 999999"),)}, "would be free"),
    ],
)
def test_a_tariff_that_cannot_be_is_refused(fields, message):
    with pytest.raises(PriceError, match=message):
        tariff(**fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("daily 22:00-22:00 5", "is empty"),
        ("daily 24:00-06:00 5", "is empty"),
        ("daily 2:00-06:00 5", "'2:00' is no time"),
        ("dail 02:00-06:00 5", "'dail' is no day"),
        ("mon-six 02:00-06:00 5", "'mon-six' is no day"),
        ("daily 02:00-06:00 0", "discount_ppm is 1 to"),
        ("daily 02:00-06:00 1000001", "discount_ppm is 1 to"),
        ("daily 02:00-06:00", "is no off-peak window"),
    ],
)
def test_a_window_that_cannot_be_is_refused(text, message):
    with pytest.raises(PriceError, match=message):
        window_from_text(text)


@pytest.mark.parametrize("days", [(), ("mon", "mon")])
def test_a_window_has_each_of_its_days_once(days):
    with pytest.raises(PriceError, match="days"):
        OffPeakWindow(days=days, utc_from="01:00", utc_until="02:00", discount_ppm=1)


def test_a_window_is_written_as_it_is_read():
    for text in ("daily 22:00-06:00 250000", "mon,fri,sat 00:00-24:00 1000000"):
        assert str(window_from_text(text)) == text
    assert str(window_from_text("fri-mon 01:00-02:00 7")) == "mon,fri,sat,sun 01:00-02:00 7"
