"""Which nodes may take a request: the rules, in the order they are asked."""

from collections.abc import Callable

from router.types import Ask, NodeRecord, NodeState, NodeView, Reason
from router.wants import Wants

Filter = Callable[[NodeView, Ask], Reason | None]
"""Why the node may not take the request, None if it may."""

PREFERENCES = (Reason.SUPPLIER, Reason.REGION, Reason.TIER, Reason.PRICE)
"""What a client asked of the node: no waiting changes that."""

ORDER = (
    *PREFERENCES,
    Reason.NO_FALLBACK,
    Reason.EXCLUDED,
    Reason.DRAINING,
    Reason.BARRED,
    Reason.EJECTED,
    Reason.NO_CAPACITY,
    Reason.TOO_LATE,
)
"""A refusal is named for the furthest rule that any node reached."""

_READY = NodeState.READY


def why_not(view: NodeView, ask: Ask) -> Reason | None:
    """The first rule that leaves a node out.

    Excluded: this request was already tried on it. Draining: it finishes what it has and gets
    nothing new. Barred: its reputation is below the bound. Ejected: left alone; after the back-off
    one trial request at a time is let through.
    No capacity: it runs as many requests as it may.
    """
    node = view.node
    if ask.excluded and node.node_id in ask.excluded:
        return Reason.EXCLUDED
    if node.state is not _READY:
        return Reason.DRAINING
    if not view.standing:
        return Reason.BARRED
    if view.ejections and (ask.now_ns < view.ejected_until_ns or view.on_trial):
        return Reason.EJECTED
    beside = view.beside
    if view.in_flight + (0 if beside is None else beside.in_flight) >= node.capacity:
        return Reason.NO_CAPACITY
    return None


def anyone(view: NodeView, ask: Ask) -> Reason | None:
    """The filter of a choice in which `why_not` would leave out nobody: pickers need not ask it."""
    return None


def sparing(why_not: Filter) -> Filter:
    """The same filter for as long as those that it lets pass have room."""

    def filtered(view: NodeView, ask: Ask) -> Reason | None:
        if view.warming:
            return Reason.WARMING_UP
        if ask.crowded and view.node.supplier_id in ask.crowded:
            return Reason.SUPPLIER_SHARE
        return why_not(view, ask)

    return filtered


def unmet(node: NodeRecord, wants: Wants) -> Reason | None:
    """The first thing that a request wants and the node is not."""
    supplier = node.supplier_id
    if supplier in wants.ignored or (wants.only and supplier not in wants.only):
        return Reason.SUPPLIER
    if wants.regions and node.region not in wants.regions:
        return Reason.REGION
    if node.tier < wants.tier_min:
        return Reason.TIER
    return Reason.PRICE if node.price_ppm > wants.price_ppm_max else None


def wanting(why_not: Filter, wants: Wants) -> Filter:
    """The same filter for a request that wants something of the node."""

    def filtered(view: NodeView, ask: Ask) -> Reason | None:
        reason = unmet(view.node, wants)
        if reason is not None:
            return reason
        if ask.excluded and not wants.fallbacks:
            return Reason.NO_FALLBACK
        return why_not(view, ask)

    return filtered
