"""The `[console]` section: which of the web pages there are."""

from __future__ import annotations

import msgspec


class ConsoleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    explorer: bool = True
    """Anyone may see models, prices, counts of GPUs, latency, tokens served and epochs as pages."""
