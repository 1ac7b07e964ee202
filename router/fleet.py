"""The nodes of one model as they are now, and which of them could take a request at all.

At 10 times the capacity nine of ten requests are refused, and the tenth finds few nodes with room.
Both are told by what changed, not by asking every node: a refusal is the first thing an overloaded
gateway must be quick at.
"""

from collections.abc import Iterable, Sequence

from router.matching import Matching, match
from router.types import NodeState, NodeView, Reason
from router.wants import Wants

_READY = NodeState.READY
_MATCHINGS_MAX = 64
"""Kept: requests want the same again and again."""


class Fleet:
    """`views` are in the order of the registry; `show` keeps them and the rest together."""

    __slots__ = ("_draining", "_matchings", "_perhaps", "shut", "views", "warming")

    def __init__(self, views: Iterable[NodeView] = ()) -> None:
        self.views: list[NodeView] = []
        self._perhaps: set[int] = set()
        """Where in `views` nodes are that are neither full nor draining, or were ejected: when
        one of those comes back is a question of time.
        """
        self.shut: set[int] = set()
        """Where nodes are that a request may find left out, though none was tried yet."""
        self._draining = 0
        self.warming: set[int] = set()
        """Nodes that are to be spared for a while."""
        self._matchings: dict[Wants, Matching] = {}
        for view in views:
            self.add(view)

    def add(self, view: NodeView) -> int:
        """Returns its place."""
        index = len(self.views)
        self.views.append(view)
        self._draining += view.node.state is not _READY
        self.shut.add(index)
        self.show(index, view)
        self._matchings.clear()
        return index

    def show(self, index: int, view: NodeView) -> None:
        """The same node has changed; its record has not."""
        self.views[index] = view
        node, beside = view.node, view.beside
        running = view.in_flight if beside is None else view.in_flight + beside.in_flight
        ready = node.state is _READY
        has_room = ready and running < node.capacity
        if has_room and not view.ejections and view.standing:
            if index in self.shut:
                self.shut.discard(index)
                self._perhaps.add(index)
        else:
            self.shut.add(index)
            if has_room or (ready and view.ejections):
                self._perhaps.add(index)
            else:
                self._perhaps.discard(index)
        if view.warming:
            self.warming.add(index)
        elif self.warming:
            self.warming.discard(index)

    @property
    def is_full(self) -> bool:
        """Nobody can take a request, whatever is asked."""
        return not self._perhaps

    @property
    def few(self) -> Sequence[int] | None:
        """Outside of these places nobody can take a request; None if they are not few."""
        if len(self._perhaps) * 4 > len(self.views):
            return None
        return sorted(self._perhaps)

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
