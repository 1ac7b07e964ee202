"""A policy is filters, weighted scorers and a picker. Stateless: same input, same choice."""

from collections.abc import Sequence

import msgspec

from router import picker
from router.filters import FILTERS, Filter, Views
from router.picker import Picker
from router.scorers import Scorer, idle_share
from router.types import Decision, NodeState, NodeView, Reason, RequestFeatures, Rng

RETRY_AFTER_NS = 1_000_000_000
"""When to try again if there is nothing to wait for but the end of some other request."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy made of one node in one decision."""

    node_id: str
    in_flight: int
    capacity: int
    left_out: Reason | None
    """The first filter that left it out; None if it could have been picked."""
    score: float | None
    chosen: bool


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Filters, then scorers (each clamped to [0, 1], weighted, added), then the picker."""

    filters: tuple[tuple[Reason, Filter], ...] = FILTERS
    scorers: tuple[tuple[float, Scorer], ...] = ((1.0, idle_share),)
    pick: Picker = picker.power_of_two

    def choose(
        self,
        features: RequestFeatures,
        seen: tuple[NodeView, ...],
        excluded: frozenset[str],
        now_ns: int,
        rng: Rng,
    ) -> Decision:
        """Choose among `seen`, which are the nodes of the request's model."""
        tape = _Tape(rng)
        picked = self.pick(
            seen,
            lambda views: self._sieve(views, features, excluded, now_ns),
            lambda view: self._score(view, features, now_ns),
            tape,
        )
        if picked is None:
            return self._refuse(features, seen, excluded, now_ns, tuple(tape.draws))
        return Decision(
            node=picked.node,
            reason=Reason.CHOSEN,
            features=features,
            now_ns=now_ns,
            excluded=excluded,
            seen=seen,
            draws=tuple(tape.draws),
        )

    def replay(self, decision: Decision) -> Decision:
        """Make a decision once more from what it was made from."""
        return self.choose(
            decision.features,
            decision.seen,
            decision.excluded,
            decision.now_ns,
            _Replayed(decision.draws),
        )

    def explain(self, decision: Decision) -> list[Verdict]:
        """Return what was made of each node seen."""
        return [self._judge(view, decision) for view in decision.seen]

    def _judge(self, view: NodeView, decision: Decision) -> Verdict:
        features, now_ns = decision.features, decision.now_ns
        left_out = next(
            (
                reason
                for reason, keep in self.filters
                if not keep((view,), features, decision.excluded, now_ns)
            ),
            None,
        )
        return Verdict(
            node_id=view.node.node_id,
            in_flight=view.in_flight,
            capacity=view.node.capacity,
            left_out=left_out,
            score=None if left_out else self._score(view, features, now_ns),
            chosen=view.node.node_id == decision.node_id,
        )

    def _sieve(
        self, views: Views, features: RequestFeatures, excluded: frozenset[str], now_ns: int
    ) -> Views:
        for _, keep in self.filters:
            views = keep(views, features, excluded, now_ns)
        return views

    def _score(self, view: NodeView, features: RequestFeatures, now_ns: int) -> float:
        total = 0.0
        for weight, scorer in self.scorers:
            total += weight * min(1.0, max(0.0, scorer(view, features, now_ns)))
        return total

    def _refuse(
        self,
        features: RequestFeatures,
        seen: tuple[NodeView, ...],
        excluded: frozenset[str],
        now_ns: int,
        draws: tuple[float, ...],
    ) -> Decision:
        views: Views = seen
        refused = {}
        for reason, keep in self.filters:
            kept = keep(views, features, excluded, now_ns)
            if len(kept) < len(views):
                refused[reason] = len(views) - len(kept)
            views = kept
        return Decision(
            node=None,
            reason=next(reversed(refused), Reason.NO_NODE),
            features=features,
            now_ns=now_ns,
            excluded=excluded,
            seen=seen,
            draws=draws,
            refused=refused,
            retry_after_ns=_retry_after_ns(refused, seen, now_ns),
        )


def _retry_after_ns(refused: dict[Reason, int], seen: Views, now_ns: int) -> int:
    """Return the time until the first back-off ends, unless some node is merely busy."""
    if Reason.NO_CAPACITY in refused or Reason.EJECTED not in refused:
        return RETRY_AFTER_NS
    ends = (view.ejected_until_ns for view in seen if view.node.state is NodeState.READY)
    return min((end - now_ns for end in ends if end > now_ns), default=RETRY_AFTER_NS)


class _Tape:
    """Passes random numbers on and keeps them."""

    __slots__ = ("_rng", "draws")

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self.draws: list[float] = []

    def random(self) -> float:
        draw = self._rng.random()
        self.draws.append(draw)
        return draw


class _Replayed:
    """Gives kept random numbers once more."""

    def __init__(self, draws: Sequence[float]) -> None:
        self._draws = iter(draws)

    def random(self) -> float:
        return next(self._draws)
