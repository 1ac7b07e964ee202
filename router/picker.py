"""Pick one node out of the allowed: power of two choices.

Two nodes drawn at random and the better one taken keeps the longest queue short without herding
onto the node that looked best a moment ago (Mitzenmacher, "The power of two choices in randomized
load balancing", 2001). Only the two drawn are scored, and as a rule only they are filtered, so the
cost of a choice hardly grows with the number of nodes.
"""

from collections.abc import Callable, Sequence
from functools import cache
from math import gcd

from router.filters import Filter, anyone
from router.scorers import Scorer
from router.types import Ask, NodeView

Picker = Callable[
    [Sequence[NodeView], Ask, Filter, Scorer, int, Sequence[int] | None], NodeView | None
]
"""(all nodes, request, filter, score, draw, where to look) -> one of the allowed, None if there is
none. Outside of where to look, if that is told, none is allowed.
"""

SESSION_MARGIN = 0.25
"""How much lower the node that served a session last may score than the one that would be picked:
as long as it has not a quarter of its capacity more in use, its prefix cache is worth more.
"""

DRAW_BITS = 192
"""Random bits that a choice is given; each pair takes 64 of them."""

_BLIND_PAIRS = range(2)
_INDEX_MASK = (1 << 32) - 1
_PAIR_MASK = (1 << 64) - 1


def same_node_or_power_of_two(
    views: Sequence[NodeView],
    ask: Ask,
    why_not: Filter,
    score: Scorer,
    draw: int,
    few: Sequence[int] | None = None,
) -> NodeView | None:
    """Return the node that served the session last, unless it is much busier than another."""
    picked, picked_score = _better(views, ask, why_not, score, draw, few)
    if ask.preferred < 0 or picked is None:
        return picked
    last = views[ask.preferred]
    if last is picked or (why_not is not anyone and why_not(last, ask) is not None):
        return picked
    if picked_score is None:
        (picked_score,) = score((picked,), ask)
    (last_score,) = score((last,), ask)
    return last if last_score >= picked_score - SESSION_MARGIN else picked


def power_of_two(
    views: Sequence[NodeView],
    ask: Ask,
    why_not: Filter,
    score: Scorer,
    draw: int,
    few: Sequence[int] | None = None,
) -> NodeView | None:
    """Return the better of two distinct allowed nodes, each pair being equally likely."""
    return _better(views, ask, why_not, score, draw, few)[0]


def _better(
    views: Sequence[NodeView],
    ask: Ask,
    why_not: Filter,
    score: Scorer,
    draw: int,
    few: Sequence[int] | None,
) -> tuple[NodeView | None, float | None]:
    """With its score, if that was asked for."""
    if len(views) > 1:
        for _ in _BLIND_PAIRS:
            one, other = _pair(views, draw)
            if why_not is anyone or (why_not(one, ask) is None and why_not(other, ask) is None):
                ones, others = score((one, other), ask)
                return (one, ones) if ones >= others else (other, others)
            draw >>= 64
    # Few are allowed: find them all and draw from those.
    if few is not None:
        views = [views[index] for index in few]
    views = [view for view in views if why_not(view, ask) is None]
    if len(views) < 2:
        return (views[0] if views else None), None
    one, other = _pair(views, draw)
    ones, others = score((one, other), ask)
    return (one, ones) if ones >= others else (other, others)


def _pair(views: Sequence[NodeView], draw: int) -> tuple[NodeView, NodeView]:
    """Two distinct views; the remainders of 32 random bits favour none by more than n / 2^32."""
    draw &= _PAIR_MASK  # from here on it is a small number
    count = len(views)
    one = (draw & _INDEX_MASK) % count
    other = (draw >> 32) % (count - 1)
    return views[one], views[other + (other >= one)]


def best_of(sampled: int) -> Picker:
    """The best of so many nodes drawn at random, of those that have the most of the prompt in
    their cache, and of the one that served the session. All nodes, if there are no more.

    One gateway alone would do best to look at every node; many that do so all send to the one that
    looked best a moment ago.
    """

    def pick(
        views: Sequence[NodeView],
        ask: Ask,
        why_not: Filter,
        score: Scorer,
        draw: int,
        few: Sequence[int] | None = None,
    ) -> NodeView | None:
        among = len(views) if few is None else len(few)
        drawn = _some(among, sampled, draw) if sampled < among else list(range(among))
        if few is not None:
            drawn = [few[place] for place in drawn]
        drawn += ask.champions
        if ask.preferred >= 0:
            drawn.append(ask.preferred)
        best = _best([views[place] for place in drawn], ask, why_not, score, draw)
        if best is None and sampled < among:
            left = views if few is None else [views[place] for place in few]
            return _best(left, ask, why_not, score, draw)
        return best

    return pick


def _best(
    views: Sequence[NodeView], ask: Ask, why_not: Filter, score: Scorer, draw: int
) -> NodeView | None:
    """The best of the allowed; of equals, any."""
    first = draw % len(views) if views else 0
    allowed = [*views[first:], *views[:first]]
    if why_not is not anyone:
        allowed = [view for view in allowed if why_not(view, ask) is None]
    if not allowed:
        return None
    scores = score(allowed, ask)
    return allowed[scores.index(max(scores))]


def _some(count: int, wanted: int, draw: int) -> list[int]:
    """So many distinct places, from a random one on in steps of a random length."""
    strides = _strides(count)
    place, stride = (draw >> 64) % count, strides[(draw >> 128) % len(strides)]
    return [each % count for each in range(place, place + wanted * stride, stride)]


@cache
def _strides(count: int) -> tuple[int, ...]:
    """Some that come by every place before they come by one again."""
    return tuple(stride for stride in range(1, min(count, 256)) if gcd(stride, count) == 1)
