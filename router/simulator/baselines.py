"""How other routers choose, as pickers: behind the same filters, counts and failover as our own.

`kept_queue` shows a node's counters as they are at this instant, not as they were at the last
scrape: better than these routers have it.
"""

from collections.abc import Callable, Sequence

from router.filters import Filter
from router.picker import Picker
from router.scorers import Scorer
from router.types import Ask, Load, NodeView

KeptQueue = Callable[[NodeView], Load]
Choose = Callable[[list[NodeView], Ask], NodeView]
"""Out of those that are allowed, of which there is one at least."""

_CACHE_MATCH_MIN = 0.3
_BALANCE_ABS, _BALANCE_REL = 64, 1.5
"""sglang's: 0.3 of the prompt must match, and affinity ends where the busiest node has 64 requests
and half more than the idlest.
"""
_QUEUE, _KV, _PREFIX = 2.0, 2.0, 3.0
"""llm-d's weights of its default profile."""


def among_allowed(choose: Choose) -> Picker:
    """Shows it the allowed nodes from a random one on, so that equals share alike."""

    def pick(
        views: Sequence[NodeView],
        ask: Ask,
        why_not: Filter,
        score: Scorer,
        draw: int,
        few: Sequence[int] | None = None,
    ) -> NodeView | None:
        first = draw % max(len(views), 1)
        turned = (*views[first:], *views[:first])
        allowed = [view for view in turned if why_not(view, ask) is None]
        return choose(allowed, ask) if allowed else None

    return pick


def round_robin() -> Picker:
    turn = [0]

    def pick(
        views: Sequence[NodeView],
        ask: Ask,
        why_not: Filter,
        score: Scorer,
        draw: int,
        few: Sequence[int] | None = None,
    ) -> NodeView | None:
        for _ in views:
            turn[0] += 1
            view = views[turn[0] % len(views)]
            if why_not(view, ask) is None:
                return view
        return None

    return pick


@among_allowed
def least_in_flight(allowed: list[NodeView], ask: Ask) -> NodeView:
    return min(allowed, key=lambda view: view.in_flight)


def fewest(views: Sequence[NodeView], ask: Ask) -> list[float]:
    """A scorer, for power of two choices."""
    return [-view.in_flight for view in views]


@among_allowed
def cache_aware(allowed: list[NodeView], ask: Ask) -> NodeView:
    """sglang's: the longest match while the nodes are balanced, else the shortest queue."""
    counts = [view.in_flight for view in allowed]
    low, high = min(counts), max(counts)
    if not (high - low > _BALANCE_ABS and high > _BALANCE_REL * low):
        best = max(allowed, key=lambda view: ask.cached_tokens(view.slot))
        if ask.cached_tokens(best.slot) > _CACHE_MATCH_MIN * ask.prompt_tokens:
            return best
    return min(allowed, key=lambda view: view.in_flight)


def llm_d(kept_queue: KeptQueue) -> Picker:
    """llm-d's: queue, KV use and prefix, weighted, the highest taken."""

    @among_allowed
    def pick(allowed: list[NodeView], ask: Ask) -> NodeView:
        loads = {view.slot: kept_queue(view) for view in allowed}
        low = min(load.waiting for load in loads.values())
        high = max(load.waiting for load in loads.values())

        def total(view: NodeView) -> float:
            load = loads[view.slot]
            queue = 1.0 if high == low else (high - load.waiting) / (high - low)
            prefix = ask.cached_tokens(view.slot) / ask.prompt_tokens
            return _QUEUE * queue + _KV * (1 - load.kv_use) + _PREFIX * prefix

        return max(allowed, key=total)

    return pick
