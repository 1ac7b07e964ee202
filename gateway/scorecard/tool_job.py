"""What the process that judges tool calls is told, and how it answers: known to both, so that the
gateway does without what judging needs.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

LENGTH = struct.Struct("!I")
"""What a job begins with: its bytes."""

NO_CALLS = 255
"""One byte answers a job: a `ToolEnd`, or this."""


class Job(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    tools: dict[str, dict[str, Any] | None]
    """The `parameters` by the function's name."""
    answer: bytes
    """As the node sent it."""
    stream: bool
