"""How good nodes are for a request."""

from collections.abc import Callable, Sequence

from router.types import Ask, NodeView

Scorer = Callable[[Sequence[NodeView], Ask], list[float]]
"""(nodes, request) -> a number for each of them: the higher, the better. All in one call, so that
what is the same for all of them is worked out once.
"""


def idle_share(views: Sequence[NodeView], ask: Ask) -> list[float]:
    """The share of its capacity that is free: big and small nodes fill up evenly, and one that was
    caught lying counts as fuller than it is.
    """
    shares: list[float] = []
    for view in views:
        running = view.in_flight if view.beside is None else view.in_flight + view.beside.in_flight
        shares.append((1.0 - running / view.node.capacity) * view.standing)
    return shares
