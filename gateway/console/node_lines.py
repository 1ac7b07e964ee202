"""The nodes as the operator sees them: who they are, how they do, and why they stand as they do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from gateway.console.census import Member, gpus_of
from gateway.console.latency import Wait, wait_of
from gateway.console.sightings import Sightings
from gateway.enrolment.node import Node
from gateway.views.nodes import state_of
from router.types import NodeView


class NodeLine(msgspec.Struct, frozen=True, kw_only=True):
    node_id: str
    supplier: str
    model: str
    region: str
    gpu: str
    gpus: int
    state: str
    """As the router sees it; of a node that it does not list, as its enrolment says."""
    drained_ns: int | None
    """Since when the operator drains it."""
    score: int | None
    """Its reputation, of 1000; None: the router does not know it."""
    barred: bool
    """It gets nothing of customers because of it."""
    checked: dict[str, int]
    """Answers that were counted again since the gateway started, by what came of it."""
    findings: dict[str, int]
    """Of all time, by kind."""
    in_flight: int
    capacity: int
    wait: Wait
    verified: bool
    enrolled: bool

    @property
    def why(self) -> str:
        """What checks of its answers say, in a sentence."""
        found = sum(self.findings.values())
        honest = self.checked.get("honest", 0)
        if not found and not honest:
            return "no answer of it was counted again yet"
        checks = f"{honest:,} answer{'' if honest == 1 else 's'} counted again and right"
        if not found:
            return checks
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.findings.items()))
        return f"{found:,} finding{'' if found == 1 else 's'} ({kinds}); {checks} lately"


def node_lines(
    members: Iterable[Member],
    enrolled: Iterable[Node],
    sightings: Sightings,
    *,
    findings: Mapping[tuple[str, str], int],
    waits: Mapping[str, Wait],
    drained: Mapping[str, int],
    now_ns: int,
) -> list[NodeLine]:
    """Registered ones and, at the end, those that were revoked."""
    said = {node.node_id: node for node in enrolled}
    views = {view.node.node_id: view for view in sightings.views}
    known = {member.node_id: member for member in members}
    revoked = sorted(set(said) - set(known))
    checked = sightings.checked
    return [
        _line(
            node_id,
            known.get(node_id),
            said.get(node_id),
            views.get(node_id),
            sightings,
            checked=checked.get(node_id, {}),
            findings={kind: n for (node, kind), n in findings.items() if node == node_id},
            wait=waits.get(node_id, wait_of(())),
            drained_ns=drained.get(node_id),
            now_ns=now_ns,
        )
        for node_id in (*known, *revoked)
    ]


def _line(
    node_id: str,
    member: Member | None,
    node: Node | None,
    view: NodeView | None,
    sightings: Sightings,
    *,
    checked: dict[str, int],
    findings: dict[str, int],
    wait: Wait,
    drained_ns: int | None,
    now_ns: int,
) -> NodeLine:
    lease = None if node is None else node.lease
    if view is not None:
        state = view.condition(sightings.monotonic_ns).value
        record = view.node
        supplier, model, capacity = record.supplier_id, record.model, record.capacity
    else:
        assert node is not None, "a member is listed or enrolled"
        state = state_of(node, now_ns)
        supplier, model = node.terms.supplier_id, "" if lease is None else lease.model
        capacity = 0 if lease is None else lease.capacity
    return NodeLine(
        node_id=node_id,
        supplier=supplier,
        model=model,
        region="" if member is None else member.region,
        gpu="" if member is None else member.gpu,
        gpus=0 if node is None else gpus_of(node),
        state=state,
        drained_ns=drained_ns,
        score=sightings.scores.get(node_id),
        barred=view is not None and not view.standing,
        checked=checked,
        findings=findings,
        in_flight=sightings.in_flight.get(node_id, 0),
        capacity=capacity,
        wait=wait,
        verified=member is not None and member.verified,
        enrolled=node is not None,
    )
