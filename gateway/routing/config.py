"""The `[router]` section: how nodes are chosen. docs/routing.md says what each policy does."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from router.decision_log import DecisionLog
from router.policy import Policy, learned_policy

_KEPT = 1_000


class RouterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    policy: Literal["free-share", "forecast"] = "free-share"
    """By what share of a node is free, or by when it would have answered, which is learned."""
    wait_s_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    """`forecast` refuses (429) what would wait so much longer for its turn than its own prompt
    takes; 0: nothing.
    """
    supplier_share_percent_max: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100
    """No supplier gets more of a model's traffic (tokens, the last minutes) while others have room;
    100: any.
    """
    load_interval_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 1_000
    """How often `forecast` reads what each vLLM says that it has to do (`/metrics`); 0: never."""
    decisions_kept: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None
    """The last ones, of each process, for `tollgate route explain`; 0: none. If it is not told,
    1,000 where the policy is `forecast`: to keep them costs half a microsecond a request.
    """

    @property
    def load_interval_s(self) -> float:
        """0: nobody looks at it."""
        return self.load_interval_ms / 1000 if self.policy == "forecast" else 0.0

    def log(self) -> DecisionLog | None:
        kept = self.decisions_kept
        if kept is None:
            kept = _KEPT if self.policy == "forecast" else 0
        return DecisionLog(kept) if kept else None

    def build(self) -> Policy:
        percent = self.supplier_share_percent_max
        share_max = percent / 100 if percent < 100 else None
        if self.policy == "free-share":
            return Policy(supplier_share_max=share_max)
        return learned_policy(self.wait_s_max * 10**9 or None, share_max)
