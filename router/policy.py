"""A policy is a filter, a scorer and a picker. Stateless: same input, same choice."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from router import picker
from router.filters import ORDER, Filter, anyone, sparing, wanting, why_not
from router.fleet import Fleet
from router.forecast import late_ns, nearness, token_nearness, token_pace
from router.matching import Matching, match
from router.picker import Picker
from router.scorers import Scorer, idle_share
from router.types import Ask, Decision, NodeState, NodeView, Reason
from router.wants import Sort

RETRY_AFTER_NS = 1_000_000_000
"""When to try again if there is nothing to wait for but the end of some other request."""

SAMPLED = 12
"""Nodes drawn for a choice, beside those that have the prompt in their cache."""


ROOM_NS = 500_000_000
"""Who is to be spared is, as long as another begins within so much more than the prompt takes."""

_CHOSEN = Reason.CHOSEN


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy made of one node in one decision."""

    node_id: str
    in_flight: int
    capacity: int
    left_out: Reason | None
    """The rule that left it out; None if it could have been picked."""
    score: float | None
    chosen: bool


class Policy:
    """The filter, then the scorer, then the picker. `learns`: it looks at what is learned of how
    fast nodes are and what they have cached. `wait_ns_max`: a request that would have to wait
    so much longer for its turn than its own prompt takes uncached is refused; None: none is.
    `score_by`: the scorers of requests that say what counts first. `supplier_share_max`: no
    supplier gets more than this share of a model's traffic while others have room; None: any.
    `spares_new`: new nodes get little at first, while others have room.
    """

    def __init__(
        self,
        score: Scorer = idle_share,
        pick: Picker = picker.same_node_or_power_of_two,
        *,
        learns: bool = False,
        wait_ns_max: int | None = None,
        score_by: Mapping[Sort, Scorer] | None = None,
        supplier_share_max: float | None = None,
        spares_new: bool = True,
    ) -> None:
        self._score = score
        self._pick = pick
        self.learns = learns
        self._wait_ns_max = wait_ns_max
        self._score_by = score_by or {}
        self.supplier_share_max = supplier_share_max
        self.spares_new = spares_new

    def choose(
        self,
        ask: Ask,
        seen: tuple[NodeView, ...],
        draw: int,
        few: Sequence[int] | None = None,
        closed: Mapping[Reason, int] | None = None,
        matching: Matching | None = None,
        is_open: bool = False,
    ) -> Decision:
        """Choose among `seen`, which are the nodes of the request's model, by the random bits of
        `draw` (`picker.DRAW_BITS` of them).

        The rest only saves time: `few` are all places in `seen` where a node could be that the
        filter lets pass, `closed` how many nodes are elsewhere, by reason, `matching` who meets
        what the request wants; `is_open`: the filter lets all pass.
        """
        wants = ask.features.wants
        if wants is not None:
            return self._choose_wanted(ask, seen, draw, matching or match(wants, seen))
        allowed = anyone if is_open else why_not
        picked = None
        if ask.crowded is not None:
            picked = self._pick_sparing(seen, ask, allowed, self._score, draw, few)
        if picked is None:
            picked = self._pick(seen, ask, allowed, self._score, draw, few)
        if picked is None:
            asked = seen if few is None else [seen[index] for index in few]
            refused = self._refusals(ask, asked, closed or {}, why_not)
            return self._refuse(ask, seen, draw, refused)
        if self._wait_ns_max is not None:
            return self._unless_late(picked, ask, seen, draw)
        return Decision(node=picked.node, reason=_CHOSEN, ask=ask, seen=seen, draw=draw)

    def _choose_wanted(
        self, ask: Ask, seen: tuple[NodeView, ...], draw: int, matching: Matching
    ) -> Decision:
        """The first group counts in which one can take it in time."""
        assert ask.features.wants is not None
        score = self._score_of(ask)
        late: Decision | None = None
        for group in matching.groups:
            allowed = wanting(why_not, group.wants)
            picked = None
            if ask.crowded is not None:
                picked = self._pick_sparing(seen, ask, allowed, score, draw, group.places)
            if picked is None:
                picked = self._pick(seen, ask, allowed, score, draw, group.places)
            if picked is not None:
                decision = self._unless_late(picked, ask, seen, draw)
                if decision.node is not None:
                    return decision
                late = late or decision
        if late is not None:
            return late
        places = [place for group in matching.groups for place in group.places]
        asked = [seen[place] for place in places]
        refused = self._refusals(
            ask, asked, matching.left_out, wanting(why_not, ask.features.wants)
        )
        return self._refuse(ask, seen, draw, refused)

    def _pick_sparing(
        self,
        seen: tuple[NodeView, ...],
        ask: Ask,
        why_not: Filter,
        score: Scorer,
        draw: int,
        few: Sequence[int] | None,
    ) -> NodeView | None:
        """One that need not be spared, if it has room."""
        picked = self._pick(seen, ask, sparing(why_not), score, draw, few)
        return None if picked is None or late_ns(picked, ask) > ROOM_NS else picked

    def _unless_late(
        self, picked: NodeView, ask: Ask, seen: tuple[NodeView, ...], draw: int
    ) -> Decision:
        if self._wait_ns_max is not None:
            late = late_ns(picked, ask) - self._wait_ns_max
            if late > 0:
                return self._late(ask, seen, draw, int(late))
        return Decision(node=picked.node, reason=_CHOSEN, ask=ask, seen=seen, draw=draw)

    def _score_of(self, ask: Ask) -> Scorer:
        wants = ask.features.wants
        if wants is None or wants.sort is None:
            return self._score
        return self._score_by.get(wants.sort, self._score)

    def replay(self, decision: Decision) -> Decision:
        """Make a decision once more from what it was made from."""
        ask, seen = decision.ask, decision.seen
        fleet = Fleet(seen)
        if ask.excluded or ask.features.wants is not None:
            return self.choose(ask, seen, decision.draw)
        few = fleet.few
        closed = None if few is None else fleet.closed
        return self.choose(ask, seen, decision.draw, few, closed, is_open=not fleet.shut)

    def explain(self, decision: Decision) -> list[Verdict]:
        """Return what was made of each node seen."""
        wants = decision.ask.features.wants
        asked = why_not if wants is None else wanting(why_not, wants)
        score = self._score_of(decision.ask)
        if self._was_sparing(decision):
            asked = sparing(asked)
        return [self._judge(view, decision, asked, score) for view in decision.seen]

    def _was_sparing(self, decision: Decision) -> bool:
        """Its choice was made among those that need not be spared."""
        if decision.ask.crowded is None:
            return False
        let_pass = sparing(lambda view, ask: None)
        chosen = [view for view in decision.seen if view.node.node_id == decision.node_id]
        return any(let_pass(view, decision.ask) is None for view in chosen)

    def _judge(self, view: NodeView, decision: Decision, why_not: Filter, score: Scorer) -> Verdict:
        left_out = why_not(view, decision.ask)
        return Verdict(
            node_id=view.node.node_id,
            in_flight=view.in_flight,
            capacity=view.node.capacity,
            left_out=left_out,
            score=None if left_out else score((view,), decision.ask)[0],
            chosen=view.node.node_id == decision.node_id,
        )

    def _refusals(
        self, ask: Ask, asked: Iterable[NodeView], closed: Mapping[Reason, int], why_not: Filter
    ) -> dict[Reason, int]:
        """How many nodes each reason left out, in the order of the rules."""
        counts = dict(closed)
        for view in asked:
            reason = why_not(view, ask) or Reason.TOO_LATE
            counts[reason] = counts.get(reason, 0) + 1
        return {reason: counts[reason] for reason in ORDER if reason in counts}

    def _refuse(
        self, ask: Ask, seen: tuple[NodeView, ...], draw: int, refused: dict[Reason, int]
    ) -> Decision:
        return Decision(
            node=None,
            reason=next(reversed(refused), Reason.NO_NODE),
            ask=ask,
            seen=seen,
            draw=draw,
            refused=refused,
            retry_after_ns=_retry_after_ns(refused, seen, ask.now_ns),
        )

    def _late(self, ask: Ask, seen: tuple[NodeView, ...], draw: int, late_ns: int) -> Decision:
        return Decision(
            node=None,
            reason=Reason.TOO_LATE,
            ask=ask,
            seen=seen,
            draw=draw,
            refused={Reason.TOO_LATE: len(seen)},
            retry_after_ns=max(late_ns, RETRY_AFTER_NS),
        )


def _retry_after_ns(refused: dict[Reason, int], seen: tuple[NodeView, ...], now_ns: int) -> int:
    """Return the time until the first back-off ends, unless some node is merely busy."""
    if Reason.NO_CAPACITY in refused or Reason.EJECTED not in refused:
        return RETRY_AFTER_NS
    ends = (view.ejected_until_ns for view in seen if view.node.state is NodeState.READY)
    return min((end - now_ns for end in ends if end > now_ns), default=RETRY_AFTER_NS)


def learned_policy(
    wait_ns_max: int | None = None, supplier_share_max: float | None = None
) -> Policy:
    """The policy that sends a request where it is forecast to be answered first."""
    return Policy(
        score=nearness,
        pick=picker.best_of(SAMPLED),
        learns=True,
        wait_ns_max=wait_ns_max,
        score_by={Sort.LATENCY: token_nearness, Sort.THROUGHPUT: token_pace},
        supplier_share_max=supplier_share_max,
    )
