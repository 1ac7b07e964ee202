"""Many hostile sequences: the checks of tests/property/test_step.py, counted."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ide.canonical import record_hash
from ide.epoch import EpochInputs
from ide.params import IdeParams
from tests.property.test_step import all_inputs, all_params, check_all, fold


def play(sequences: int) -> Counter[str]:
    """Play that many sequences of 1 to 8 epochs. Raises what a check raised, shrunk."""
    counts: Counter[str] = Counter()

    @seed(7)
    @settings(
        max_examples=sequences,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(params=all_params(), epochs=st.lists(all_inputs(), min_size=1, max_size=8))
    def one(params: IdeParams, epochs: list[EpochInputs]) -> None:
        results = fold(params, epochs)
        check_all(params, epochs, results)
        again = fold(params, epochs)
        assert [record_hash(r.state) for r in again] == [record_hash(r.state) for r in results]
        counts["sequences"] += 1
        counts["epochs"] += len(results)
        for result in results:
            counts["unpaid"] += result.report.unpaid_nano_usd > 0
            counts["burned"] += result.report.io_burned > 0
            counts["no price"] += result.report.io_price_nano_usd is None

    one()
    return counts
