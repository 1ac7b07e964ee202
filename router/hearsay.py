"""What gateways tell each other of nodes, and what one makes of it. Pure.

Nothing is counted twice, because nothing is added up over time: each gateway tells what it alone
has on a node now and what it alone has measured, and what another told is replaced by what it tells
next. What was only heard is never told on.
"""

from collections.abc import Iterable, Sequence

import msgspec

from router.ejection import BACK_OFF_NS, GOOD, Health
from router.known_node import KnownNode
from router.pace import Line
from router.types import Beside

KNOWN_FROM = 4
"""Samples from which on a gateway goes by what it measured itself, and tells others."""
ANSWERS_NS = 1_000_000_000
"""A node that answered us within it is not gone, whatever others say."""
_HEARD_SPREAD = 0.3
"""What somebody else measured may be off, as a share."""
_BASE_NS_MIN = 1e6
_SLOW_FROM = 1.2


class NodeTold(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What one gateway has on one node and knows of it; times are told as ages."""

    node_id: str
    in_flight: int
    pending_tokens: int
    ejection: int = 0
    """Another number for each time that it was ejected; 0: it is not."""
    samples: int = 0
    fixed_ns: float = 0.0
    """Without the network."""
    prefill_ns: float = 0.0
    step_ns: float = 0.0
    step_ns_per_request: float = 0.0
    slowdown: float = 1.0
    slow_age_ns: int = 0


class Told(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """By one gateway, of all nodes that it has something to tell of."""

    listed: int
    """How many nodes it knows."""
    nodes: list[NodeTold]

    @property
    def ejected(self) -> set[str]:
        """Nobody, if it ejected most of all: then its own network is the likelier to be gone."""
        ejected = {each.node_id for each in self.nodes if each.ejection}
        return set() if 2 * len(ejected) > self.listed else ejected


class Hearsay:
    """What was heard, so that nothing is heeded twice."""

    def __init__(self) -> None:
        self._ejections: dict[tuple[str, str], int] = {}
        self._ejected_until_ns: dict[str, int] = {}
        """By node: what of its ejection was only heard."""
        self._slow_at_ns: dict[str, int] = {}
        """By node: what of its slowdown was."""

    def tell(self, nodes: Iterable[KnownNode], now_ns: int) -> Told:
        known = list(nodes)
        told = [self._of(node, now_ns) for node in known if _worth_telling(node)]
        return Told(listed=len(known), nodes=told)

    def hear(
        self, nodes: Iterable[KnownNode], others: Sequence[tuple[str, Told]], now_ns: int
    ) -> list[KnownNode]:
        """Take what every other gateway tells now, by its name. Returns whose view has changed."""
        by_node: dict[str, list[tuple[str, NodeTold]]] = {}
        for member, told in others:
            for each in told.nodes:
                by_node.setdefault(each.node_id, []).append((member, each))
        believed = {(member, node_id) for member, told in others for node_id in told.ejected}
        changed = []
        for node in nodes:
            heard = by_node.get(node.record.node_id, [])
            if self._take(node, heard, believed, now_ns):
                changed.append(node)
        self._ejections = {key: told for key, told in self._ejections.items() if key in believed}
        return changed

    def forget(self, node_id: str) -> None:
        """Nothing is known of this node any more."""
        self._ejected_until_ns.pop(node_id, None)
        self._slow_at_ns.pop(node_id, None)

    def _of(self, node: KnownNode, now_ns: int) -> NodeTold:
        node_id, health, pace = node.record.node_id, node.health, node.pace
        own_ejection = health.ejections and health.ejected_until_ns != (
            self._ejected_until_ns.get(node_id)
        )
        count = NodeTold(
            node_id=node_id,
            in_flight=node.in_flight,
            pending_tokens=node.pending_tokens,
            ejection=health.ejected_until_ns if own_ejection else 0,
        )
        if pace.samples < KNOWN_FROM:
            return count
        slow_is_heard = pace.slow_at_ns == self._slow_at_ns.get(node_id)
        return msgspec.structs.replace(
            count,
            samples=pace.samples,
            fixed_ns=max(pace.prefill.base - node.rtt_ns, _BASE_NS_MIN),
            prefill_ns=pace.prefill.slope,
            step_ns=pace.decode.base,
            step_ns_per_request=pace.decode.slope,
            slowdown=1.0 if slow_is_heard else pace.slowdown,
            slow_age_ns=now_ns - pace.slow_at_ns,
        )

    def _take(
        self,
        node: KnownNode,
        heard: list[tuple[str, NodeTold]],
        believed: set[tuple[str, str]],
        now_ns: int,
    ) -> bool:
        before = (node.beside, node.health, node.pace)
        node.heard(
            Beside(
                sum(told.in_flight for _, told in heard),
                sum(told.pending_tokens for _, told in heard),
            )
        )
        for member, told in heard:
            if (member, told.node_id) in believed:
                self._heed_ejection(node, member, told, now_ns)
        known = [told for _, told in heard if told.samples >= KNOWN_FROM]
        if known:
            if node.pace.samples < KNOWN_FROM:
                _take_pace(node, max(known, key=lambda told: told.samples))
            self._take_slowdown(node, max(known, key=lambda told: told.slowdown), now_ns)
        return before != (node.beside, node.health, node.pace)

    def _heed_ejection(self, node: KnownNode, member: str, told: NodeTold, now_ns: int) -> None:
        """Once: after the first back-off our own trial decides."""
        key = (member, told.node_id)
        if self._ejections.get(key) == told.ejection:
            return
        self._ejections[key] = told.ejection
        if node.health is GOOD and now_ns - node.answered_ns > ANSWERS_NS:
            until_ns = now_ns + BACK_OFF_NS
            node.health = Health(ejections=1, ejected_until_ns=until_ns)
            self._ejected_until_ns[told.node_id] = until_ns

    def _take_slowdown(self, node: KnownNode, told: NodeTold, now_ns: int) -> None:
        """If it was seen after our own last sample."""
        at_ns = now_ns - told.slow_age_ns
        if at_ns > node.pace.slow_at_ns and told.slowdown > _SLOW_FROM * node.pace.slowdown_at(
            now_ns
        ):
            node.pace = msgspec.structs.replace(node.pace, slowdown=told.slowdown, slow_at_ns=at_ns)
            self._slow_at_ns[told.node_id] = at_ns


def _worth_telling(node: KnownNode) -> bool:
    return node.in_flight > 0 or node.health.ejections > 0 or node.pace.samples >= KNOWN_FROM


def _take_pace(node: KnownNode, told: NodeTold) -> None:
    """To begin with; own samples correct it soon."""
    pace = node.pace
    node.pace = msgspec.structs.replace(
        pace,
        prefill=_line(pace.prefill, told.fixed_ns + node.rtt_ns, told.prefill_ns),
        decode=_line(pace.decode, told.step_ns, told.step_ns_per_request),
    )


def _line(known: Line, base: float, slope: float) -> Line:
    return Line(base, slope, known.p_base, 0.0, min((_HEARD_SPREAD * slope) ** 2, known.p_slope))
