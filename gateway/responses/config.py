"""The `[responses]` section: whether responses are kept, and how long."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Positive = Annotated[int, msgspec.Meta(ge=1)]

DAY_NS = 86_400 * 10**9


class ResponsesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Responses API keeps what was asked and answered, unless a request says `store: false`:
    besides uploaded files the one place where text is kept.
    """

    store: bool = True
    """False: nothing is kept, whatever a request says."""
    keep_days: _Positive = 30
    """After so long a response is forgotten."""
    kept_per_account_max: _Positive = 10_000
    """Beyond this the oldest go, and so beyond the next."""
    kept_bytes_per_account_max: _Positive = 1024 * 1024 * 1024
    """Of what was asked and answered."""

    @property
    def keep_ns(self) -> int:
        return self.keep_days * DAY_NS
