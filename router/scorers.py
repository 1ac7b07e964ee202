"""How good a node is for a request. A scorer answers a number from 0 (worst) to 1 (best)."""

from collections.abc import Callable

from router.types import Ask, NodeView

Scorer = Callable[[NodeView, Ask], float]


def idle_share(view: NodeView, ask: Ask) -> float:
    """Return the share of its capacity that is free: big and small nodes fill up evenly, and one
    that was caught lying counts as fuller than it is.
    """
    return (1.0 - view.in_flight / view.node.capacity) * view.standing
