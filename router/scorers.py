"""How good a node is for a request. A scorer answers a number from 0 (worst) to 1 (best)."""

from collections.abc import Callable

from router.types import Ask, NodeView

Scorer = Callable[[NodeView, Ask], float]


def idle_share(view: NodeView, ask: Ask) -> float:
    """Return the share of its capacity that is free: big and small nodes fill up evenly, and one
    that was caught lying counts as fuller than it is.
    """
    running = view.in_flight if view.beside is None else view.in_flight + view.beside.in_flight
    return (1.0 - running / view.node.capacity) * view.standing


def weighted(*scorers: tuple[float, Scorer]) -> Scorer:
    """Each clamped to [0, 1], weighted, added."""

    def score(view: NodeView, ask: Ask) -> float:
        total = 0.0
        for weight, scorer in scorers:
            each = scorer(view, ask)
            total += weight * (0.0 if each < 0.0 else 1.0 if each > 1.0 else each)
        return total

    return score
