"""The nodes of one model as they are now, and which of them could take a request at all.

At 10 times the capacity nine of ten requests are refused, and the tenth finds few nodes with room.
Both are told by what changed, not by asking every node: a refusal is the first thing an overloaded
gateway must be quick at.
"""

from collections.abc import Collection, Sequence

from router.matching import Matching, match
from router.types import NodeState, NodeView, Reason
from router.wants import Wants

_READY = NodeState.READY
_MATCHINGS_MAX = 64
"""Kept: requests want the same again and again."""


class Fleet:
    """`views` are in the order of the registry; `show` keeps them and the rest together."""

    __slots__ = ("_draining", "_matchings", "_perhaps", "views")

    def __init__(self) -> None:
        self.views: list[NodeView] = []
        self._perhaps: set[int] = set()
        """Where in `views` nodes are that are neither full nor draining, or were ejected: when
        one of those comes back is a question of time.
        """
        self._draining = 0
        self._matchings: dict[Wants, Matching] = {}

    def add(self, view: NodeView) -> int:
        """Returns its place."""
        index = len(self.views)
        self.views.append(view)
        self._draining += view.node.state is not _READY
        self._note(index, view)
        self._matchings.clear()
        return index

    def show(self, index: int, view: NodeView) -> None:
        """The same node has changed; its record has not."""
        self.views[index] = view
        self._note(index, view)

    def _note(self, index: int, view: NodeView) -> None:
        if _may_take(view):
            self._perhaps.add(index)
        else:
            self._perhaps.discard(index)

    @property
    def is_full(self) -> bool:
        """Nobody can take a request, whatever is asked."""
        return not self._perhaps

    @property
    def few(self) -> Sequence[int] | None:
        """Outside of these places nobody can take a request; None if they are not few."""
        return None if _are_many(self._perhaps, self.views) else sorted(self._perhaps)

    @property
    def closed(self) -> dict[Reason, int]:
        """How many nodes are outside of `few`, by what leaves them out."""
        full = len(self.views) - len(self._perhaps) - self._draining
        counts = {Reason.DRAINING: self._draining, Reason.NO_CAPACITY: full}
        return {reason: count for reason, count in counts.items() if count}

    def matching(self, wants: Wants) -> Matching:
        """Who meets this; of a record that changes there is a new fleet."""
        known = self._matchings.get(wants)
        if known is None:
            if len(self._matchings) >= _MATCHINGS_MAX:
                self._matchings.clear()
            known = self._matchings[wants] = match(wants, self.views)
        return known


def few_of(views: Sequence[NodeView]) -> Sequence[int] | None:
    """`Fleet.few` of a fleet of these."""
    perhaps = [place for place, view in enumerate(views) if _may_take(view)]
    return None if _are_many(perhaps, views) else perhaps


def _may_take(view: NodeView) -> bool:
    node = view.node
    return node.state is _READY and (view.in_flight < node.capacity or view.ejections > 0)


def _are_many(places: Collection[int], views: Sequence[NodeView]) -> bool:
    return len(places) * 4 > len(views)
