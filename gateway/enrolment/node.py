"""Nodes that enrolled themselves: what the operator decided of each, what each says of itself."""

from __future__ import annotations

import msgspec

from router.types import NodeRecord, NodeState
from router.wants import PPM
from serving.enrolment.messages import Hardware, Lease


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What only the operator decides of a node."""

    supplier_id: str
    tier: int = 0
    region: str = ""
    gpu: str = ""
    """Its class, as payouts and choices take it."""
    gpus: int = 1
    """How many of that class it has."""
    price_ppm: int = PPM
    """What its answers cost, in millionths of the model's price."""


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """One new node may enrol by it. Only the digest of its secret is kept."""

    digest: bytes
    terms: Terms
    expires_ns: int


class Node(msgspec.Struct, frozen=True, kw_only=True):
    node_id: str
    terms: Terms
    hardware: Hardware
    """As it said when it enrolled."""
    enrolled_ns: int
    revoked_ns: int | None
    lease: Lease | None = None
    """What it said last."""
    leased_until_ns: int = 0
    told_ns: int = 0

    def record(self) -> NodeRecord:
        """How the router knows it. Raises ValueError if what it says makes no sense."""
        assert self.lease is not None, "only a node with a lease serves"
        said, terms = self.lease, self.terms
        return NodeRecord(
            node_id=self.node_id,
            supplier_id=terms.supplier_id,
            url=said.url,
            model=said.model,
            served_model=said.served_model or None,
            capacity=said.capacity,
            engine=said.engine,
            gpu=terms.gpu,
            region=terms.region,
            tier=terms.tier,
            price_ppm=terms.price_ppm,
            block_size=said.block_size,
            state=NodeState.READY if said.state == "ready" else NodeState.DRAINING,
        )


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to which node, and when. Never changed, never deleted."""

    at_ns: int
    actor: str
    """`operator`, or the id of a node, or for what was refused where it came from."""
    action: str
    node_id: str
    detail: str
    times: int = 1
    """How often, of refusals in the same ten seconds."""
