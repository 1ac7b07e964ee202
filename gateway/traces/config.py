"""The `[traces]` section: where OpenTelemetry's traces and metrics go, if anywhere."""

from __future__ import annotations

from typing import Annotated

import msgspec


class TracesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    otlp_url: str | None = None
    """Of a collector's OTLP over HTTP, such as http://127.0.0.1:4318; None: neither."""
    one_in: Annotated[int, msgspec.Meta(ge=1)] = 1
    """One request in so many is traced."""
