"""How many GPUs there are: four counts that say different things, each with what it rests on. Pure.

Original networks of this kind were blamed for one figure that mixed all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from gateway.enrolment.node import Node
from router.types import Condition, NodeView

TRUSTED = 1.0
"""What a reputation of 950 of 1000 or more makes of a node's standing: what it was caught at, if it
was, is outweighed.
"""
_OPEN = frozenset({Condition.READY, Condition.HALF_OPEN})


class Tally(msgspec.Struct, kw_only=True):
    gpus: int = 0
    """As their suppliers state them."""
    nodes: int = 0
    unstated: int = 0
    """Nodes of which nobody says how many GPUs they have."""

    def add(self, gpus: int) -> None:
        self.gpus += gpus
        self.nodes += 1
        self.unstated += not gpus


class Counts(msgspec.Struct, kw_only=True):
    registered: Tally = msgspec.field(default_factory=Tally)
    verified: Tally = msgspec.field(default_factory=Tally)
    active: Tally = msgspec.field(default_factory=Tally)
    serving: Tally = msgspec.field(default_factory=Tally)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One node, and which of the counts it is in. All of them are registered."""

    node_id: str
    gpu: str
    region: str
    gpus: int
    verified: bool
    active: bool
    serving: bool


class Census(msgspec.Struct, frozen=True, kw_only=True):
    total: Counts
    by_class: tuple[tuple[str, Counts], ...]
    """By the class of their GPUs, the largest first."""


def members(
    listed: Iterable[NodeView],
    enrolled: Iterable[Node],
    *,
    honest: Collection[str],
    in_flight: Mapping[str, int],
    monotonic_ns: int,
    now_ns: int,
) -> list[Member]:
    """`honest` are the nodes of which an answer was counted again and held, `in_flight` what this
    gateway has under way, by node; `monotonic_ns` is the clock of the views.
    """
    said = {node.node_id: node for node in enrolled if node.revoked_ns is None}
    views = {view.node.node_id: view for view in listed}
    found = []
    for node_id in sorted({*said, *views}):
        node, view = said.get(node_id), views.get(node_id)
        own_word = 0
        if node is not None and node.lease is not None and node.leased_until_ns > now_ns:
            own_word = node.lease.in_flight
        found.append(
            Member(
                node_id=node_id,
                gpu=_gpu(node, view),
                region=_region(node, view),
                gpus=0 if node is None else gpus_of(node),
                verified=node_id in honest and (view is None or view.standing >= TRUSTED),
                active=view is not None and view.condition(monotonic_ns) in _OPEN,
                serving=in_flight.get(node_id, 0) > 0 or own_word > 0,
            )
        )
    return found


def census(found: Sequence[Member]) -> Census:
    total, classes = Counts(), dict[str, Counts]()
    for member in found:
        for counts in (total, classes.setdefault(member.gpu, Counts())):
            counts.registered.add(member.gpus)
            if member.verified:
                counts.verified.add(member.gpus)
            if member.active:
                counts.active.add(member.gpus)
            if member.serving:
                counts.serving.add(member.gpus)
    ordered = sorted(classes.items(), key=lambda each: (-each[1].registered.nodes, each[0]))
    return Census(total=total, by_class=tuple(ordered))


def gpus_of(node: Node) -> int:
    """What it said last."""
    said = node.hardware if node.lease is None else node.lease.hardware
    return said.gpus or node.hardware.gpus


def _gpu(node: Node | None, view: NodeView | None) -> str:
    if view is not None and view.node.gpu:
        return view.node.gpu
    return "" if node is None else node.terms.gpu or node.hardware.gpu


def _region(node: Node | None, view: NodeView | None) -> str:
    if view is not None and view.node.region:
        return view.node.region
    return "" if node is None else node.terms.region
