"""Prices: one at every moment, a name that says them, costs that need no rounding."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from metering.off_peak import EVERY_DAY, OffPeakWindow
from metering.price_book import NEVER_NS, PriceList, Tariff
from metering.prices import PriceError, Reduction, cost_nano_usd, named_price, price_named, reduced
from metering.usage import Usage

amounts = st.integers(0, 10**9)
ppm = st.integers(1, 1_000_000)
prices = st.builds(named_price, amounts, amounts, amounts, amounts)
moments = st.integers(0, 10**19 // 8)


@st.composite
def windows(draw) -> OffPeakWindow:
    begin = draw(st.integers(0, 1439))
    end = draw(st.integers(1, 1440).filter(lambda minute: minute != begin))
    return OffPeakWindow(
        days=tuple(draw(st.lists(st.sampled_from(EVERY_DAY), min_size=1, max_size=7, unique=True))),
        utc_from=f"{begin // 60:02}:{begin % 60:02}",
        utc_until=f"{end // 60:02}:{end % 60:02}",
        discount_ppm=draw(st.integers(1, 990_000)),
    )


@st.composite
def tariffs(draw, effective_ns: int | None = None) -> Tariff:
    large = st.integers(100, 10**6)
    return Tariff(
        model="m",
        effective_ns=draw(moments) if effective_ns is None else effective_ns,
        prompt_nano_usd=draw(large),
        cached_prompt_nano_usd=draw(large),
        completion_nano_usd=draw(large),
        request_nano_usd=draw(st.just(0) | large),
        batch_discount_ppm=draw(st.integers(0, 990_000)),
        off_peak=tuple(draw(st.lists(windows(), max_size=3))),
    )


@given(tariffs(0), st.lists(tariffs(), max_size=5), moments)
def test_there_is_one_price_at_every_moment(first, later, moment):
    prices = PriceList([first, *later])
    found = prices.at(moment)
    assert found.from_ns <= moment < found.until_ns
    # it is the tariff that took effect last, and of those the one that was set last
    past = [each for each in [first, *later] if each.effective_ns <= moment]
    last_ns = max(each.effective_ns for each in past)
    assert found.tariff == [each for each in past if each.effective_ns == last_ns][-1]
    # the same all through its time, and its neighbours touch it: no gap, no overlap
    assert prices.at(found.from_ns) == prices.at(found.until_ns - 1) == found
    if found.until_ns != NEVER_NS:
        assert prices.at(found.until_ns).from_ns == found.until_ns
    if found.from_ns:
        assert prices.at(found.from_ns - 1).until_ns == found.from_ns
    assert found.price in found.tariff.all_prices()
    assert found.batch_price in found.tariff.all_prices()
    batch, now = found.batch_price.amounts, found.price.amounts
    assert all(a <= b for a, b in zip(batch, now, strict=True))


@given(tariffs(0), moments)
def test_off_peak_is_what_the_clock_says(tariff, moment):
    minute = moment // (60 * 10**9) + 3 * 1440  # 1970 began on a Thursday
    day, of_day = EVERY_DAY[minute // 1440 % 7], minute % 1440
    yesterday = EVERY_DAY[(minute // 1440 - 1) % 7]
    expected = 0
    for window in tariff.off_peak:
        begin, end = (
            int(text[:2]) * 60 + int(text[3:]) for text in (window.utc_from, window.utc_until)
        )
        today = day in window.days and begin <= of_day and (of_day < end or end <= begin)
        night = yesterday in window.days and end <= begin and of_day < end
        if today or night:
            expected = max(expected, window.discount_ppm)
    version = PriceList([tariff]).at(moment).price.version
    assert version.partition("~off-peak:")[2] == (str(expected) if expected else "")


@given(prices, ppm, st.sampled_from(Reduction))
def test_every_price_can_be_looked_up_by_its_name(price, discount_ppm, reduction):
    assert price_named(price.version).price == price
    try:
        less = reduced(price, reduction, discount_ppm)
    except PriceError:
        return
    found = price_named(less.version)
    assert (found.price, found.reduction, found.discount_ppm) == (less, reduction, discount_ppm)


@given(prices, ppm, st.data())
def test_a_cost_is_exact_under_any_discount(price, discount_ppm, data):
    try:
        less = reduced(price, Reduction.BATCH, discount_ppm)
    except PriceError:
        return
    prompt, completion = data.draw(st.integers(0, 10**6)), data.draw(st.integers(0, 10**6))
    cached = data.draw(st.integers(0, prompt))
    usage = Usage(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion)
    counts = (prompt - cached, cached, completion, 1)
    cost = cost_nano_usd(less, usage)
    assert cost == sum(n * amount for n, amount in zip(counts, less.amounts, strict=True))
    promised = Fraction(1_000_000 - discount_ppm, 1_000_000) * cost_nano_usd(price, usage)
    assert promised - sum(counts) < cost <= promised
