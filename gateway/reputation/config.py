"""The `[reputation]` section: who gets nothing of customers, how long what was seen counts."""

from __future__ import annotations

from typing import Annotated

import msgspec

from router.conduct import Terms
from router.reputation import BOUND, SCORE_MAX

_HOUR_NS = 3_600 * 10**9


class ReputationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    bound: Annotated[int, msgspec.Meta(ge=0, le=SCORE_MAX)] = BOUND
    """The score below which a node gets no customer's request; 0: none is left out."""
    half_life_h: Annotated[int, msgspec.Meta(ge=1)] = 24
    """After so long what was seen of a node counts half."""

    def terms(self) -> Terms:
        return Terms(bound=self.bound, half_life_ns=self.half_life_h * _HOUR_NS)
