"""Budgets by band, and how often they are added up."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from gateway.telemetry.book_metrics import CAPS, CREDIT_LINES, QUOTA_USE
from gateway.telemetry.budget_figures import BANDS, ONE_IN, BudgetFigures, band
from metering.backend import open_database
from metering.budget_use import BudgetUse, Use


@pytest.mark.parametrize(
    ("used", "limit", "expected"),
    [
        (0, 0, "full"),
        (0, 1, "under_half"),
        (49, 100, "under_half"),
        (50, 100, "half"),
        (89, 100, "half"),
        (90, 100, "nine_tenths"),
        (99, 100, "nine_tenths"),
        (100, 100, "full"),
        (101, 100, "full"),
        (9 * 10**17, 10**18 + 1, "half"),
    ],
)
def test_the_band_of_a_budget(used, limit, expected):
    assert band(Use(used=used, limit=limit)) == expected
    assert expected in BANDS


class _Counted(BudgetUse):
    """Tells how often it was read."""

    reads = 0

    def caps(self) -> list[Use]:
        self.reads += 1
        return super().caps()


def test_adding_up_takes_a_small_part_of_the_time(tmp_path):
    ticks_s = itertools.count(0.0, 0.5)
    with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
        use = _Counted(database)
        figures = BudgetFigures(use, [], clock_s=lambda: next(ticks_s))
        assert not list(figures.families())
        for _ in range(3 * ONE_IN):
            figures.look()
    assert use.reads == 3
    assert {family.name for family in figures.families()} == {
        metric.name for metric in (CAPS, CREDIT_LINES, QUOTA_USE)
    }
