"""What is done about a node that fails, or is late: the section `[failover]`. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class FailoverConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    nodes_max: Annotated[int, Meta(ge=1, le=16)] = 3
    """Nodes that one request is sent to at most, before the first byte and in the stream."""
    resume: bool = True
    """A stream whose node dies goes on on another one."""
