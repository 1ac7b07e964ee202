"""The router: the one object of the room that remembers. Single-threaded, never waits.

The caller holds it to this: `choose`, then at once `start` for the node it sends to, `first_token`
of the `Lease` that `start` returned when that came, then exactly one `finish` of it, however the
request ends.
"""

from collections.abc import Sequence

import msgspec

from router.conduct import Conduct, Conducts
from router.decision_log import DecisionLog
from router.diversity import Traffic
from router.ejection import GOOD, after
from router.fleet import Fleet
from router.hearsay import Hearsay, Told
from router.known_node import WARM, KnownNode
from router.lessons import Lessons
from router.picker import DRAW_BITS
from router.policy import Policy
from router.registry import Registry
from router.reputation import Evidence
from router.sessions import Sessions
from router.types import (
    Ask,
    Decision,
    Load,
    NodeRecord,
    NodeView,
    RequestFeatures,
    Rng,
    Termination,
)

LATE_NS = 5_000_000_000
"""Beyond its forecast, a first token that comes so late may be an outlier."""
_OUTLIER = 4
"""And is one if it took so many times as long."""
_NOTHING: frozenset[str] = frozenset()
_replace = msgspec.structs.replace


class Lease(msgspec.Struct, eq=False):
    """One request on one node. Counts against the node until finished."""

    _router: "Router"
    _node: KnownNode
    trial: bool
    """Its end decides whether an ejected node comes back."""
    finished: bool = False
    _silent: bool = False

    @property
    def node(self) -> NodeRecord:
        """The node it runs on, as last listed."""
        return self._node.record

    def first_token(self, now_ns: int) -> None:
        """The first token of a streamed answer came."""
        self._node.answered_ns = now_ns
        if self._node.warm < WARM:
            self._node.warm += 1

    def silent(self, silent: bool) -> None:
        """Nothing of an answer that has begun came for a while, or something did again. Less is
        sent to a node that may be about to prove that it stalls.
        """
        if silent is not self._silent and not self.finished:
            self._silent = silent
            self._node.silent += 1 if silent else -1
            self._router._show(self._node)

    def finish(
        self,
        termination: Termination,
        now_ns: int,
        ttft_ns: int | None = None,
        completion_tokens: int = 0,
    ) -> bool:
        """Report how it ended; `ttft_ns` is None if no token came, `completion_tokens` 0 if they
        were not counted.

        The first report counts and answers True. Later ones change nothing and answer False, so
        that two paths which may both see the end need not agree on who reports it.
        """
        if self.finished:
            return False
        node, trial = self._node, self.trial
        if self._silent:
            node.silent -= 1
        self.finished = True
        node.in_flight -= 1
        if trial:
            node.on_trial = False
        if termination is Termination.COMPLETED:
            node.conduct.served += 1
            node.answered_ns = now_ns
            if node.warm < WARM:
                node.warm += 1
        else:
            self._router._failed(node.conduct, termination, ttft_ns is not None, now_ns)
        if node.health is not GOOD or termination is not Termination.COMPLETED:
            node.health = after(
                node.health, termination, now_ns=now_ns, trial=trial, answered=ttft_ns is not None
            )
            if trial and node.health is GOOD:
                node.warm = 0
        self._router._show(node)
        return True


class LearningLease(Lease, eq=False, kw_only=True):
    """A lease whose course is learned from."""

    _decision: Decision
    _computed: int
    _tokens: int = 0
    _first_ns: int | None = None
    _beside: float = 0

    def __post_init__(self) -> None:
        ask, node = self._decision.ask, self._node
        self._tokens = ask.prompt_tokens + int(ask.expected_tokens)
        node.tokens += self._tokens
        if ask.features.stream:
            node.sent(self, self._computed, ask.now_ns)
        else:  # nobody will tell when its first token came
            node.busy(self._computed, ask.now_ns)

    def first_token(self, now_ns: int) -> None:
        if self._first_ns is not None or self.finished or not self._decision.ask.features.stream:
            return
        self._first_ns = now_ns
        super().first_token(now_ns)
        node = self._node
        self._beside = node.running
        if now_ns > node.pending[self] + LATE_NS and self._is_outlier(now_ns):
            self._router.report(node.record.node_id, Evidence.SLOW, now_ns)
        node.first_token(self, self._computed, self._decision.ask.now_ns, now_ns)
        self._router._show(node)

    def _is_outlier(self, now_ns: int) -> bool:
        sent_ns = self._decision.ask.now_ns
        return now_ns - sent_ns > _OUTLIER * (self._node.pending[self] - sent_ns)

    def finish(
        self,
        termination: Termination,
        now_ns: int,
        ttft_ns: int | None = None,
        completion_tokens: int = 0,
    ) -> bool:
        if self.finished:
            return False
        node = self._node
        node.tokens -= self._tokens
        if self._first_ns is None:
            if self._decision.ask.features.stream:
                node.unanswered(self, self._computed, now_ns)
        elif completion_tokens:
            beside = (self._beside + node.running) / 2
            node.answered(completion_tokens, now_ns - self._first_ns, beside)
        if completion_tokens and termination is Termination.COMPLETED:
            self._router.lessons.answered(self._decision.ask.features.model, completion_tokens)
        if termination is Termination.CONNECT_ERROR:
            self._router.lessons.prefixes.forget(node.slot)
        return super().finish(termination, now_ns, ttft_ns)


class Router:
    """Chooses nodes, counts what runs on them and learns from how it ends."""

    def __init__(
        self,
        registry: Registry,
        policy: Policy,
        rng: Rng,
        log: DecisionLog | None = None,
        conducts: Conducts | None = None,
    ) -> None:
        self.policy = policy
        self.conducts = conducts or Conducts()
        self.log = log
        self.lessons = Lessons()
        self._registry = registry
        self._registry_version = -1
        self._rng = rng
        self._known: dict[str, KnownNode] = {}
        self._fleets: dict[str, Fleet] = {}
        """The listed nodes, by model."""
        self._traffic: dict[str, Traffic] = {}
        """By model; empty unless the policy bounds the share of a supplier."""
        self._sessions = Sessions()
        self._hearsay = Hearsay()

    def choose(
        self, features: RequestFeatures, now_ns: int, excluded: frozenset[str] = _NOTHING
    ) -> Decision:
        """Choose a node for a request, none of `excluded` (node ids). Only the log changes."""
        if self._registry_version != self._registry.version:
            self._relist(now_ns)
        draw = self._rng.getrandbits(DRAW_BITS)
        fleet = self._fleets.get(features.model)
        if fleet is None:
            return self.policy.choose(Ask(features, now_ns, excluded), (), draw)
        preferred = -1 if features.sticky_key is None else self._preferred(features)
        if self.policy.learns:
            ask = self.lessons.ask(features, now_ns, excluded, preferred, draw)
        else:
            ask = Ask(features, now_ns, excluded, preferred)
        if self._traffic or (fleet.warming and self.policy.spares_new):
            ask = self._sparing(ask, fleet)
        few = closed = matching = None
        is_open = False
        if features.wants is not None:
            matching = fleet.matching(features.wants)
        elif not excluded:
            is_open = not fleet.shut
            if not is_open:
                few = fleet.few
                closed = None if few is None else fleet.closed
        decision = self.policy.choose(ask, tuple(fleet.views), draw, few, closed, matching, is_open)
        if self.log is not None and features.request_id:
            self.log.note(decision)
        return decision

    @property
    def is_full(self) -> bool:
        """No node of any model can take a request, whatever is asked."""
        if self._registry_version != self._registry.version:
            return False
        for fleet in self._fleets.values():
            if not fleet.is_full:
                return False
        return bool(self._fleets)

    def start(self, decision: Decision) -> Lease:
        """Count a request against the chosen node, which may have been delisted since.

        Raises `ValueError` for a decision that chose none.
        """
        record = decision.node
        if record is None:
            raise ValueError(f"nothing to start: the decision was {decision.reason}")
        known = self._known.get(record.node_id) or self._know(record)
        trial = known.health.ejections > 0 and not known.on_trial
        known.on_trial |= trial
        known.in_flight += 1
        if self.policy.learns:
            computed = self.lessons.sent(decision, known)
            lease: Lease = LearningLease(self, known, trial, _decision=decision, _computed=computed)
        else:
            lease = Lease(self, known, trial)
        self._show(known)
        if self.policy.supplier_share_max is not None:
            self._count(decision.ask, record, self.policy.supplier_share_max)
        key = decision.ask.features.sticky_key
        if key is not None and len(decision.seen) > 1:
            self._sessions.served(key, record.node_id)
        return lease

    def report(self, node_id: str, kind: Evidence, now_ns: int) -> None:
        """Something was seen of a node. Of one that nobody ever listed it changes nothing."""
        conduct = self.conducts.known(node_id)
        if conduct is not None:
            conduct.add(kind, now_ns)
            if self.conducts.weigh(conduct, now_ns):
                self._reputed(conduct)

    def score(self, node_id: str) -> int:
        """Of a node that was listed once, as it was worked out last."""
        conduct = self.conducts.known(node_id)
        assert conduct is not None, node_id
        return conduct.score

    def refresh_reputations(self, now_ns: int) -> None:
        """Time forgives, and suppliers answer for their other nodes; every few seconds will do."""
        for conduct in self.conducts.refresh(now_ns):
            self._reputed(conduct)

    def report_load(self, node_id: str, load: Load | None) -> None:
        """The counters of a node were read; None: they could not be. Of a node that is not known it
        changes nothing.
        """
        node = self._known.get(node_id)
        if node is not None:
            node.loaded(load)
            self._show(node)

    def tell(self, now_ns: int) -> Told:
        """What other gateways may hear of us."""
        return self._hearsay.tell(self._known.values(), now_ns)

    def hear(self, others: Sequence[tuple[str, Told]], now_ns: int) -> None:
        """What each other gateway tells now, by its name; what it told before no longer stands."""
        for node in self._hearsay.hear(self._known.values(), others, now_ns):
            self._show(node)

    def nodes(self, now_ns: int) -> list[NodeView]:
        """Return every listed node as it is now, for metrics."""
        if self._registry_version != self._registry.version:
            self._relist(now_ns)
        return [view for fleet in self._fleets.values() for view in fleet.views]

    def _sparing(self, ask: Ask, fleet: Fleet) -> Ask:
        traffic = self._traffic.get(ask.features.model)
        crowded = _NOTHING if traffic is None else traffic.crowded
        return _replace(ask, crowded=crowded) if crowded or fleet.warming else ask

    def _count(self, ask: Ask, record: NodeRecord, share_max: float) -> None:
        """A supplier was sent something."""
        traffic = self._traffic.get(record.model)
        if traffic is None:
            traffic = self._traffic[record.model] = Traffic(share_max)
        tokens = ask.prompt_tokens or ask.features.prompt_tokens
        traffic.sent(record.supplier_id, tokens + int(ask.expected_tokens), ask.now_ns)

    def _preferred(self, features: RequestFeatures) -> int:
        """The place of the node that served the session last; -1 if there is none any more."""
        assert features.sticky_key is not None
        node_id = self._sessions.node_of(features.sticky_key)
        node = None if node_id is None else self._known.get(node_id)
        return -1 if node is None or node.record.model != features.model else node.index

    def _failed(
        self, conduct: Conduct, termination: Termination, first_byte: bool, now_ns: int
    ) -> None:
        kind = conduct.failure(termination, first_byte, now_ns)
        if kind is not None:
            self.report(conduct.node_id, kind, now_ns)

    def _reputed(self, conduct: Conduct) -> None:
        """Its score is another now."""
        node = self._known.get(conduct.node_id)
        if node is None or node.index < 0:
            return
        if not node.standing or conduct.score < self.conducts.terms.bound:
            self._bar(node.record.model)
        else:
            node.standing = conduct.weight
            self._show(node)

    def _bar(self, model: str) -> None:
        """Nodes below the bound get nothing of customers, as long as their model has others: the
        best of them serves on if there are none.
        """
        bound = self.conducts.terms.bound
        listed = [n for n in self._known.values() if n.index >= 0 and n.record.model == model]
        low = {n for n in listed if n.conduct.score < bound and not n.record.trusted}
        if low and len(low) == len(listed):
            low.remove(max(low, key=lambda node: node.conduct.score))
        for node in listed:
            node.standing = 0.0 if node in low else node.conduct.weight
            self._show(node)

    def _show(self, node: KnownNode) -> None:
        if node.fleet is not None:
            node.fleet.show(node.index, node.view(self.policy.learns))

    def _relist(self, now_ns: int) -> None:
        """Take over the registry's nodes; what is known of an id outlives its listing."""
        for node in self._known.values():
            node.index, node.fleet = -1, None
        self._fleets = {}
        bound, doubtful = self.conducts.terms.bound, set[str]()
        for node_id, record in self._registry.nodes.items():
            node = self._known.get(node_id) or self._know(record)
            conduct = self.conducts.of(node_id, record.supplier_id)
            if node.conduct is not conduct:  # another supplier's now, or forgotten meanwhile
                node.conduct, node.standing = conduct, conduct.weight
            node.record = record
            if not node.standing or node.conduct.score < bound:
                doubtful.add(record.model)
            node.fleet = self._fleets.setdefault(record.model, Fleet())
            node.index = node.fleet.add(node.view(self.policy.learns))
        for model in doubtful:
            self._bar(model)
        gone = [i for i, n in self._known.items() if n.index < 0 and n.forgettable(now_ns)]
        for node_id in gone:
            self.lessons.forget(self._known.pop(node_id))
            self._hearsay.forget(node_id)
        self._registry_version = self._registry.version

    def _know(self, record: NodeRecord) -> KnownNode:
        conduct = self.conducts.of(record.node_id, record.supplier_id)
        node = self._known[record.node_id] = KnownNode(record, conduct)
        self.lessons.know(node)
        return node
