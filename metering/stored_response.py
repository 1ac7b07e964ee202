"""An answer that is kept with what was asked, until it expires. Not of the books."""

from __future__ import annotations

import msgspec


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    response_id: str
    account: str
    previous_response_id: str | None
    status: str
    created_ns: int
    expires_ns: int
    alive_ns: int
    """When its gateway last told that it is being made; means nothing once it ended."""
    input: str
    """What was asked: a JSON array."""
    response: str
    """What was answered so far: a JSON object."""
    events: str | None = None
    """The same as it was streamed, if it may be streamed again."""

    @property
    def bytes(self) -> int:
        return sum(len(text.encode()) for text in (self.input, self.response, self.events or ""))
