from __future__ import annotations

import threading

import pytest

from gateway.console import words
from gateway.console.fresh import Fresh
from gateway.console.network import DAYS_SHOWN, totals_of
from metering.served_totals import Served


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (words.usd(1_234_500_000_000), "$1,234.50"),
        (words.usd(-1), "−$0.000000001"),
        (words.usd(None), "–"),
        (words.usd_brief(12_345_678_900), "$12.34"),
        (words.usd_brief(4_299_999), "$0.004299"),
        (words.usd_brief(7), "$0.000000007"),
        (words.io(150_000_000), "1.5"),
        (words.brief(999), "999"),
        (words.brief(1_234_000), "1.23 M"),
        (words.brief(45_600), "45.6 k"),
        (words.brief(999_999), "1.00 M"),
        (words.ms(640_000), "0.6"),
        (words.ms(1_234_000_000), "1,234"),
        (words.percent(0.98765), "98.77"),
        (words.short("abcdef", 3), "abc…"),
    ],
)
def test_figures_read_like_this(said: str, text: str):
    assert said == text


def test_what_is_fresh_is_made_once_and_again_when_it_is_old():
    now_ns, made = [0], []
    fresh = Fresh(lambda: made.append(1) or len(made), 10, lambda: now_ns[0])
    assert [fresh.get(), fresh.get()] == [1, 1]
    now_ns[0] = 10
    assert fresh.get() == 2


def test_who_asks_while_it_is_made_gets_the_last_one():
    now_ns, begun, go_on = [0], threading.Event(), threading.Event()

    def make() -> int:
        if now_ns[0]:
            begun.set()
            go_on.wait(10)
        return now_ns[0]

    fresh = Fresh(make, 10, lambda: now_ns[0])
    fresh.get()
    now_ns[0] = 20
    maker = threading.Thread(target=fresh.get)
    maker.start()
    assert begun.wait(10)
    assert fresh.get() == 0
    go_on.set()
    maker.join(10)
    assert fresh.get() == 20


def test_every_day_is_shown_and_all_of_time_is_counted():
    def of(day: int, tokens: int) -> Served:
        return Served(
            day=day, model="m", requests=1, prompt_tokens=tokens, cached_tokens=0,
            completion_tokens=0, charged_nano_usd=1,
        )  # fmt: skip

    totals = totals_of([of(1, 7), of(99, 10), of(100, 40), of(100, 0)], today=100)
    assert (totals.requests, totals.prompt_tokens) == (4, 57)
    assert len(totals.days) == DAYS_SHOWN
    assert [(day.day, day.share) for day in totals.days[-2:]] == [(99, 250), (100, 1000)]
