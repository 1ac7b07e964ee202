"""Holds what was measured against the bars that our policy is to reach."""

from collections.abc import Callable, Iterable

import msgspec

from router.simulator.contenders import BASELINES
from router.simulator.outcome import Figures

OURS, ORACLE = "tollgate", "oracle"
TTFT_TO_ORACLE_MAX = 1.25
TTFT_TO_BASELINE_MAX = 0.7
BASELINES_DIFFER = 1.1
"""Where the worst baseline is not so much worse than the best, there is nothing to win."""
GOODPUT_TO_ORACLE_MIN = 0.9
HITS_TO_INFINITE_MIN = 0.85
LOAD_MIN, LOAD_MAX = 0.05, 2.0
"""Of a node's fair share: below it starves, above it is driven."""


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """Of one scenario, the mean over its seeds; True or False: the bar is reached or not, None: it
    does not apply.
    """

    scenario: str
    oracle_ms: float
    ours_ms: float
    baseline: str
    """The best one."""
    baseline_ms: float
    baselines_differ: bool
    goodput_to_oracle: float
    hits_to_infinite: float | None
    load_min: float
    load_max: float

    @property
    def to_oracle(self) -> float:
        return self.ours_ms / self.oracle_ms

    @property
    def to_baseline(self) -> float:
        return self.ours_ms / self.baseline_ms

    def missed(self) -> list[str]:
        """The bars that are not reached, by name."""
        reached = {
            "p99 to oracle": self.to_oracle <= TTFT_TO_ORACLE_MAX,
            "p99 to the best baseline": not self.baselines_differ
            or self.to_baseline <= TTFT_TO_BASELINE_MAX,
            "goodput to oracle": self.goodput_to_oracle >= GOODPUT_TO_ORACLE_MIN,
            "prefix hits": self.hits_to_infinite is None
            or self.hits_to_infinite >= HITS_TO_INFINITE_MIN,
            "a node starves": self.load_min >= LOAD_MIN,
            "a node has twice its share": self.load_max <= LOAD_MAX,
        }
        return [name for name, good in reached.items() if not good]


def bars(measured: Iterable[Figures]) -> list[Bars]:
    """One for each scenario that the oracle, ours and a baseline were measured in."""
    by_scenario: dict[str, dict[str, list[Figures]]] = {}
    for each in measured:
        by_scenario.setdefault(each.scenario, {}).setdefault(each.policy, []).append(each)
    return [
        _bars(scenario, by_policy)
        for scenario, by_policy in by_scenario.items()
        if {OURS, ORACLE} <= set(by_policy) and set(BASELINES) & set(by_policy)
    ]


def _bars(scenario: str, by_policy: dict[str, list[Figures]]) -> Bars:
    def mean(policy: str, field: Callable[[Figures], float]) -> float:
        told = by_policy[policy]
        return sum(field(each) for each in told) / len(told)

    p99s = {
        name: mean(name, lambda told: told.ttft_p99_ms) for name in BASELINES if name in by_policy
    }
    best = min(p99s, key=lambda name: p99s[name])
    infinite = mean(OURS, lambda told: told.infinite_cache_hit_ratio)
    hits = mean(OURS, lambda told: told.prefix_hit_ratio)
    return Bars(
        scenario=scenario,
        oracle_ms=mean(ORACLE, lambda told: told.ttft_p99_ms),
        ours_ms=mean(OURS, lambda told: told.ttft_p99_ms),
        baseline=best,
        baseline_ms=p99s[best],
        baselines_differ=max(p99s.values()) > BASELINES_DIFFER * p99s[best],
        goodput_to_oracle=mean(OURS, lambda told: told.goodput_rps)
        / mean(ORACLE, lambda told: told.goodput_rps),
        hits_to_infinite=hits / infinite if scenario == "prefix-heavy" else None,
        load_min=mean(OURS, lambda told: told.load_min),
        load_max=mean(OURS, lambda told: told.load_max),
    )
