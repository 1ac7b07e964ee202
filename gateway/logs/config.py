"""The `[log]` section: how the log is written, and how much of the requests is in it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal["text", "json"] = "text"
    """Lines for people, or an object a line."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    access_one_in: Annotated[int, msgspec.Meta(ge=0)] = 0
    """One request in so many that went well is logged, and every one that did not; 0: none."""
