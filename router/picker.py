"""Pick one node out of the allowed: power of two choices.

Two nodes drawn at random and the better one taken keeps the longest queue short without herding
onto the node that looked best a moment ago (Mitzenmacher, "The power of two choices in randomized
load balancing", 2001). Only the two drawn are scored, and as a rule only they are filtered, so the
cost of a choice hardly grows with the number of nodes.
"""

from collections.abc import Callable, Sequence

from router.types import NodeView, Rng

Sieve = Callable[[Sequence[NodeView]], Sequence[NodeView]]
Score = Callable[[NodeView], float]
Picker = Callable[[Sequence[NodeView], Sieve, Score, Rng], NodeView | None]
"""(all nodes, what keeps the allowed, score, rng) -> one of the allowed, None if there is none"""

_BLIND_DRAWS = 2


def power_of_two(
    views: Sequence[NodeView], sieve: Sieve, score: Score, rng: Rng
) -> NodeView | None:
    """Return the better of two distinct allowed nodes, each pair being equally likely."""
    if len(views) > 1:
        for _ in range(_BLIND_DRAWS):
            pair = _draw_two(views, rng)
            if len(sieve(pair)) == 2:
                return _better(pair, score)
    # Few are allowed: find them all and draw from those.
    views = sieve(views)
    if len(views) < 2:
        return views[0] if views else None
    return _better(_draw_two(views, rng), score)


def _draw_two(views: Sequence[NodeView], rng: Rng) -> tuple[NodeView, NodeView]:
    one = int(rng.random() * len(views))
    other = int(rng.random() * (len(views) - 1))
    return views[one], views[other + (other >= one)]


def _better(pair: tuple[NodeView, NodeView], score: Score) -> NodeView:
    one, other = pair
    return one if score(one) >= score(other) else other
