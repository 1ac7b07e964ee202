"""The `[canaries]` section: how often idle nodes are asked what others are asked too."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Positive = Annotated[int, msgspec.Meta(ge=1)]


class CanariesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    interval_s: _Positive = 60
    """Between two rounds. In a round nodes of one model are asked the same."""
    nodes_max: Annotated[int, msgspec.Meta(ge=2)] = 4
    """Asked in a round."""
    node_interval_s: Annotated[int, msgspec.Meta(ge=0)] = 600
    """No node is asked more often, but for who differed and those it is compared with."""
    logprob_gap_max: Annotated[float, msgspec.Meta(gt=0)] = 0.05
    """Nats: how far the logprobs of the same tokens may be apart, in the mean."""
