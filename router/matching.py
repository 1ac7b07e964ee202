"""Which nodes of a model meet what a request wants, in the order in which they are to be tried."""

from collections.abc import Sequence

import msgspec

from router.filters import unmet
from router.types import NodeView, Reason
from router.wants import Sort, Wants


class Group(msgspec.Struct, frozen=True):
    """Nodes that are as good as each other for it, where they are among all."""

    wants: Wants
    """What they and cheaper ones meet."""
    places: tuple[int, ...]


class Matching(msgspec.Struct, frozen=True):
    groups: tuple[Group, ...]
    left_out: dict[Reason, int]
    """How many nodes are in none, by what they do not meet."""


def match(wants: Wants, seen: Sequence[NodeView]) -> Matching:
    """One group; where the price comes first, one for each price, the lowest first."""
    left_out: dict[Reason, int] = {}
    by_price: dict[int, list[int]] = {}
    for place, view in enumerate(seen):
        reason = unmet(view.node, wants)
        if reason is not None:
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        price_ppm = view.node.price_ppm if wants.sort is Sort.PRICE else wants.price_ppm_max
        by_price.setdefault(price_ppm, []).append(place)
    groups = [
        Group(msgspec.structs.replace(wants, price_ppm_max=price_ppm), tuple(places))
        for price_ppm, places in sorted(by_price.items())
    ]
    return Matching(tuple(groups), left_out)
