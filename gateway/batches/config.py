"""The `[batches]` section."""

from __future__ import annotations

from typing import Annotated

import msgspec


class BatchesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    concurrency_max: Annotated[int, msgspec.Meta(ge=1)] = 64
    """Lines of a model at once, where the nodes have room for so many beside live traffic."""
