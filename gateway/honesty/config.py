"""The `[honesty]` section: how much of what nodes claim is checked."""

from __future__ import annotations

from typing import Annotated

import msgspec

_FromZero = Annotated[int, msgspec.Meta(ge=0)]


class HonestyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    recount_one_in: _FromZero = 100
    """One finished answer in so many is counted again, and all of a node's first; 0: none."""
    counters_interval_s: _FromZero = 3600
    """How often nodes' own counters are held against the ledger; 0: only on command."""
