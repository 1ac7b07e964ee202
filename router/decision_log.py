"""The last decisions, by request: what `tollgate route explain` is answered from.

A decision keeps the views it saw, so it can be made once more and explained later. About 8 bytes a
node and decision, and the views that changed since: 1,000 decisions over 64 nodes take 1.4 MB.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from router.types import Decision

SEEN_MAX = 1_000_000
"""Views held over all decisions: with 10,000 nodes the last 100 decisions are kept."""


class DecisionLog:
    """Bounded in decisions and in what they saw. Noting costs an append."""

    __slots__ = ("_decisions", "_max", "_seen")

    def __init__(self, decisions_max: int) -> None:
        self._max = decisions_max
        self._decisions: deque[Decision] = deque()
        self._seen = 0

    def note(self, decision: Decision) -> None:
        decisions = self._decisions
        decisions.append(decision)
        self._seen += len(decision.seen)
        while len(decisions) > self._max or self._seen > SEEN_MAX:
            self._seen -= len(decisions.popleft().seen)

    def of(self, request_id: str) -> list[Decision]:
        """Of one request, the first try first; none if they were never noted, or are gone."""
        noted = [each for each in self._decisions if each.ask.features.request_id == request_id]
        return [*_acted_on(reversed(noted))][::-1]

    def latest(self, most: int) -> list[Decision]:
        """The newest first."""
        return [*islice(_acted_on(reversed(self._decisions)), most)]

    def __len__(self) -> int:
        return len(self._decisions)


def _acted_on(newest_first: Iterable[Decision]) -> Iterator[Decision]:
    """Without the nodes that were chosen, and chosen again because a key or a balance had to be
    looked up before anything was sent.
    """
    later = set()
    for decision in newest_first:
        ask = decision.ask
        which = (ask.features.request_id, ask.excluded)
        if decision.node is None or which not in later:
            yield decision
        later.add(which)
