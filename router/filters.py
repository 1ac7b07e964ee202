"""Which nodes may take a request. A filter takes a list of nodes and returns those it keeps."""

from collections.abc import Callable, Sequence

from router.types import NodeState, NodeView, Reason, RequestFeatures

Views = Sequence[NodeView]
Filter = Callable[[Views, RequestFeatures, frozenset[str], int], Views]
"""(nodes, features, excluded node ids, now_ns) -> the nodes kept, in the same order"""

_READY = NodeState.READY


def untried(
    views: Views, features: RequestFeatures, excluded: frozenset[str], now_ns: int
) -> Views:
    """Leave out what this request has already been tried on."""
    if not excluded:
        return views
    return [view for view in views if view.node.node_id not in excluded]


def accepting(
    views: Views, features: RequestFeatures, excluded: frozenset[str], now_ns: int
) -> Views:
    """Leave out draining nodes: they finish what they have and get nothing new."""
    return [view for view in views if view.node.state is _READY]


def reachable(
    views: Views, features: RequestFeatures, excluded: frozenset[str], now_ns: int
) -> Views:
    """Leave out ejected nodes; after the back-off let through one trial request at a time."""
    return [
        view
        for view in views
        if not view.ejections or (now_ns >= view.ejected_until_ns and not view.on_trial)
    ]


def roomy(views: Views, features: RequestFeatures, excluded: frozenset[str], now_ns: int) -> Views:
    """Leave out nodes that run as many requests as they may."""
    return [view for view in views if view.in_flight < view.node.capacity]


FILTERS: tuple[tuple[Reason, Filter], ...] = (
    (Reason.EXCLUDED, untried),
    (Reason.DRAINING, accepting),
    (Reason.EJECTED, reachable),
    (Reason.NO_CAPACITY, roomy),
)
"""In the order they are asked. A refusal is named for the furthest one that any node reached."""
