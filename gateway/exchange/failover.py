"""What is done about a node that fails, or is late: the section `[failover]`. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.exchange.hedges import Hedges


class FailoverConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    nodes_max: Annotated[int, Meta(ge=1, le=16)] = 3
    """Nodes that one request is sent to at most, before the first byte and in the stream."""
    resume: bool = True
    """A stream whose node dies goes on on another one."""
    hedge_percent_max: Annotated[int, Meta(ge=0, le=100)] = 0
    """So many more requests, for streams whose first token is late; 0: none."""

    def build(self) -> Failover:
        hedges = Hedges(self.hedge_percent_max) if self.hedge_percent_max else None
        return Failover(nodes_max=self.nodes_max, resume=self.resume, hedges=hedges)


class Failover(msgspec.Struct, frozen=True, kw_only=True):
    """What exchanges go by."""

    nodes_max: int = 3
    resume: bool = True
    hedges: Hedges | None = None
