"""What is remembered of every node's conduct, whether or not it is listed. Pure.

A request that ended well costs its node one addition; everything else is worked out when something
went wrong, or when somebody asks.
"""

from collections.abc import Iterable

import msgspec

from router.reputation import (
    BOUND,
    GOOD,
    HALF_LIFE_NS,
    IN_A_ROW_NS,
    Evidence,
    Increment,
    Judgement,
    Memory,
    after,
    faded,
    judge,
    less,
    summed,
    weight_of,
    worsens,
)
from router.types import Termination

_FAILURES = {
    Termination.CONNECT_ERROR: Evidence.CONNECT_ERROR,
    Termination.TIMEOUT: Evidence.TIMEOUT,
    Termination.BROKEN: Evidence.BROKEN,
}


_NEW_SCORE = judge({}, {}).score


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """By what nodes are judged here."""

    bound: int = BOUND
    """The score below which a node gets nothing of customers; 0: none is left out."""
    half_life_ns: int = HALF_LIFE_NS


class Conduct:
    """Of one node. `served` is counted by whoever sees its requests end."""

    __slots__ = (
        "_as_of_ns", "_counted", "_failed_at", "_failed_ns", "_fresh", "_half_life_ns", "_memory",
        "node_id", "others", "score", "served", "supplier_id", "weight",
    )  # fmt: skip

    def __init__(self, node_id: str, supplier_id: str, half_life_ns: int) -> None:
        self.node_id = node_id
        self.supplier_id = supplier_id
        self.served = 0
        """Requests that ended well."""
        self.others: Memory = {}
        """What its supplier's other nodes were seen at, when `Conducts.refresh` looked last."""
        self.score = _NEW_SCORE
        self.weight = 1.0
        """What a scorer makes of the score."""
        self._half_life_ns = half_life_ns
        self._memory: dict[Evidence, float] = {}
        self._as_of_ns = 0
        self._counted = 0
        """Of `served`, what is in the memory."""
        self._failed_at = -1
        """`served` when the last failure was counted."""
        self._failed_ns = 0
        self._fresh: dict[Evidence, int] = {}
        """What was seen here and not handed on."""

    def failure(self, termination: Termination, first_byte: bool, now_ns: int) -> Evidence | None:
        """What an end other than a good one says of the node. Nothing: what it answered itself or
        a client did, and what follows on another failure at once.
        """
        kind = _FAILURES.get(termination)
        if kind is None:
            return None
        if self.served == self._failed_at and now_ns - self._failed_ns < IN_A_ROW_NS:
            return None
        self._failed_at, self._failed_ns = self.served, now_ns
        return Evidence.STALLED if first_byte and kind is Evidence.TIMEOUT else kind

    def add(self, kind: Evidence, now_ns: int) -> None:
        self.memory(now_ns)
        self._memory = after(self._memory, {kind: 1})
        self._fresh[kind] = self._fresh.get(kind, 0) + 1

    def merge(self, pieces: dict[Evidence, int], now_ns: int) -> None:
        """What others saw."""
        self._memory = after(self.memory(now_ns), pieces)

    def replace(self, memory: Memory, now_ns: int) -> None:
        """What all saw, of which all is that was ever handed on here. The rest comes on top."""
        self.memory(now_ns)
        self._memory = after(memory, self._fresh)

    def memory(self, now_ns: int) -> Memory:
        """As of now."""
        self._memory = faded(self._memory, now_ns - self._as_of_ns, self._half_life_ns)
        self._as_of_ns = now_ns
        served = self.served - self._counted
        if served:
            self._counted = self.served
            self._memory = after(self._memory, {Evidence.SERVED: served})
            self._fresh[Evidence.SERVED] = self._fresh.get(Evidence.SERVED, 0) + served
        return self._memory

    def fresh(self, now_ns: int) -> dict[Evidence, int]:
        """What was seen here and is not handed on."""
        self.memory(now_ns)
        return dict(self._fresh)

    def handed_on(self, pieces: dict[Evidence, int]) -> None:
        for kind, count in pieces.items():
            left = self._fresh.get(kind, 0) - count
            if left > 0:
                self._fresh[kind] = left
            else:
                self._fresh.pop(kind, None)

    @property
    def is_marked(self) -> bool:
        """Something is held against it."""
        return not GOOD.issuperset(self._memory)

    @property
    def has_news(self) -> bool:
        """Something beside what it served was seen here and is not handed on."""
        return any(kind is not Evidence.SERVED for kind in self._fresh)


class Conducts:
    """Of all nodes that were ever seen, by id."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = terms or Terms()
        self._of: dict[str, Conduct] = {}
        self._by_supplier: dict[str, dict[str, Conduct]] = {}
        self._totals: dict[str, Memory] = {}
        """Of suppliers with a marked node, as of the last `refresh`."""

    def of(self, node_id: str, supplier_id: str) -> Conduct:
        """A node that another supplier has now begins anew: it is another's to answer for."""
        conduct = self._of.get(node_id)
        if conduct is None or conduct.supplier_id != supplier_id:
            conduct = self._know(node_id, supplier_id)
        return conduct

    def known(self, node_id: str) -> Conduct | None:
        return self._of.get(node_id)

    def all(self) -> list[Conduct]:
        return list(self._of.values())

    def judge(self, conduct: Conduct, now_ns: int) -> Judgement:
        """What it is worth now."""
        return judge(conduct.memory(now_ns), conduct.others, self.terms.bound)

    def judge_supplier(self, supplier_id: str, now_ns: int) -> Judgement | None:
        """All that is known of its nodes as if they were one; None: nobody has seen one."""
        nodes = self._by_supplier.get(supplier_id)
        if not nodes:
            return None
        whole = summed(conduct.memory(now_ns) for conduct in nodes.values())
        return judge(whole, {}, self.terms.bound)

    def weigh(self, conduct: Conduct, now_ns: int) -> bool:
        """Work out its score. Whether that is another than before."""
        before = conduct.score
        conduct.score = self.judge(conduct, now_ns).score
        conduct.weight = weight_of(conduct.score)
        return conduct.score != before

    def refresh(self, now_ns: int) -> list[Conduct]:
        """Let time forgive, and suppliers answer for all of their nodes. Whose score is another
        than before. Nodes of suppliers that nothing is held against cost next to nothing.
        """
        changed: list[Conduct] = []
        for supplier_id, nodes in self._by_supplier.items():
            if any(conduct.is_marked for conduct in nodes.values()):
                total = summed(conduct.memory(now_ns) for conduct in nodes.values())
                total = self._totals[supplier_id] = total if worsens(total) else {}
            elif self._totals.pop(supplier_id, None) is None:
                continue
            else:
                total = {}
            for conduct in nodes.values():
                had, conduct.others = conduct.others, {}
                if total:
                    conduct.others = less(total, conduct.memory(now_ns))
                concerned = conduct.others or had or conduct.is_marked
                if (concerned or conduct.score < _NEW_SCORE) and self.weigh(conduct, now_ns):
                    changed.append(conduct)
        return changed

    def increments(self, now_ns: int) -> list[Increment]:
        """What was seen here since they were asked for last, for others to `merge`."""
        told: list[Increment] = []
        for conduct in self._of.values():
            pieces = conduct.fresh(now_ns)
            conduct.handed_on(pieces)
            told += [
                Increment(
                    node_id=conduct.node_id,
                    supplier_id=conduct.supplier_id,
                    kind=kind,
                    count=count,
                )
                for kind, count in pieces.items()
            ]
        return told

    def merge(self, increments: Iterable[Increment], now_ns: int) -> set[str]:
        """Take over what others saw, each of their increments once. Whose nodes those are. For
        gateways that do not share a store: what comes by both ways counts twice.
        """
        by_node: dict[tuple[str, str], dict[Evidence, int]] = {}
        for each in increments:
            pieces = by_node.setdefault((each.node_id, each.supplier_id), {})
            pieces[each.kind] = pieces.get(each.kind, 0) + each.count
        for (node_id, supplier_id), pieces in by_node.items():
            self.of(node_id, supplier_id).merge(pieces, now_ns)
        return {node_id for node_id, _ in by_node}

    def forget(self, node_id: str) -> None:
        conduct = self._of.pop(node_id, None)
        if conduct is not None:
            nodes = self._by_supplier[conduct.supplier_id]
            del nodes[node_id]
            if not nodes:
                del self._by_supplier[conduct.supplier_id]

    def _know(self, node_id: str, supplier_id: str) -> Conduct:
        self.forget(node_id)
        conduct = self._of[node_id] = Conduct(node_id, supplier_id, self.terms.half_life_ns)
        self._by_supplier.setdefault(supplier_id, {})[node_id] = conduct
        conduct.others = self._totals.get(supplier_id, {})
        if conduct.others:
            self.weigh(conduct, 0)
        return conduct
