"""What became of the requests of one run, and the figures that are told of it."""

from collections.abc import Sequence

import msgspec

from router.simulator.job import Job

SLO_NS = 2_000_000_000
SLO_NS_PER_PROMPT_TOKEN = 600_000
"""An answer counts as good if its first token came within 2 s and 0.6 ms per prompt token."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    job: Job
    node_id: str | None
    """Who served it, or failed last; None: refused."""
    ttft_ns: int | None = None
    e2e_ns: int | None = None
    """None unless the answer came whole."""
    cached_tokens: int = 0
    attempts: int = 0

    @property
    def good(self) -> bool:
        if self.ttft_ns is None or self.e2e_ns is None:
            return False
        return self.ttft_ns <= SLO_NS + SLO_NS_PER_PROMPT_TOKEN * self.job.prompt_tokens


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One policy in one world."""

    policy: str
    seed: int
    scenario: str
    requests: int
    ttft_p50_ms: float
    ttft_p99_ms: float
    e2e_p50_ms: float
    e2e_p99_ms: float
    goodput_rps: float
    prefix_hit_ratio: float
    infinite_cache_hit_ratio: float
    failed: int
    """Broken after the first token, or on every node that was tried."""
    refused: int
    retried: int
    load_min: float
    """Of all nodes, the least share of the work, its fair share (by speed) being 1."""
    load_max: float
    supplier_share_max: float
    """Of the tokens, what the supplier served that served most."""


def figures(
    outcomes: Sequence[Outcome],
    *,
    policy: str,
    seed: int,
    scenario: str,
    infinite_hits: float,
    loads: Sequence[float],
    supplier_share_max: float,
) -> Figures:
    """`outcomes` in order of arrival; `loads`: of each node, work done by fair share."""
    ttfts = sorted(each.ttft_ns for each in outcomes if each.ttft_ns is not None)
    whole = sorted(each.e2e_ns for each in outcomes if each.e2e_ns is not None)
    served = [each for each in outcomes if each.ttft_ns is not None]
    prompt_tokens = sum(each.job.prompt_tokens for each in served)
    span_ns = outcomes[-1].job.arrival_ns - outcomes[0].job.arrival_ns
    refused = sum(each.node_id is None for each in outcomes)
    return Figures(
        policy=policy,
        seed=seed,
        scenario=scenario,
        requests=len(outcomes),
        ttft_p50_ms=quantile_ms(ttfts, 0.5),
        ttft_p99_ms=quantile_ms(ttfts, 0.99),
        e2e_p50_ms=quantile_ms(whole, 0.5),
        e2e_p99_ms=quantile_ms(whole, 0.99),
        goodput_rps=round(sum(each.good for each in outcomes) * 1e9 / max(span_ns, 1), 3),
        prefix_hit_ratio=round(
            sum(each.cached_tokens for each in served) / max(prompt_tokens, 1), 4
        ),
        infinite_cache_hit_ratio=round(infinite_hits, 4),
        failed=len(outcomes) - len(whole) - refused,
        refused=refused,
        retried=sum(each.attempts > 1 for each in outcomes),
        load_min=round(min(loads, default=0.0), 3),
        load_max=round(max(loads, default=0.0), 3),
        supplier_share_max=round(supplier_share_max, 3),
    )


def quantile_ms(in_order: Sequence[int], share: float) -> float:
    """The smallest value that at least this share does not exceed; 0 if there are none."""
    if not in_order:
        return 0.0
    index = min(int(share * len(in_order)), len(in_order) - 1)
    return round(in_order[index] / 1e6, 3)
