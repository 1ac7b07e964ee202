"""One response that is being made: what was asked, what came before, what came of it. Pure."""

from __future__ import annotations

import msgspec

from gateway.responses.answer import begun
from gateway.responses.chat import chat_request
from gateway.responses.items import ItemIds, Json
from gateway.responses.schema import ResponsesRequest
from gateway.responses.stream import ResponseStream
from metering.stored_response import StoredResponse

_encode = msgspec.json.encode


class Making:
    """Raises ApiError (400) for what cannot be asked."""

    def __init__(
        self,
        asked: ResponsesRequest,
        ids: ItemIds,
        *,
        account: str,
        items: list[Json],
        own: list[Json],
        created_ns: int,
        keep_ns: int | None,
    ) -> None:
        """`items` are those of all turns that the model is told, `own` those of this one; `keep_ns`
        is how long it is to be kept, None if it is not.
        """
        self.asked = asked
        self.account = account
        self.kept = keep_ns is not None
        self._own = own
        self._created_ns = created_ns
        self._expires_ns = created_ns + (keep_ns or 0)
        streamed = bool(asked.stream or asked.background)
        self.body = _encode(chat_request(asked, items, stream=streamed))
        """Of the chat completion that answers it."""
        created_s = created_ns // 10**9
        response = begun(asked, ids.response, created_s=created_s, stored=self.kept)
        self.stream = ResponseStream(response, ids)

    def record(self, events: str | None = None) -> StoredResponse:
        """As it is now, to be kept."""
        response = self.stream.response
        return StoredResponse(
            response_id=response["id"],
            account=self.account,
            previous_response_id=self.asked.previous_response_id,
            status=response["status"],
            created_ns=self._created_ns,
            expires_ns=self._expires_ns,
            alive_ns=self._created_ns,
            input=_encode(self._own).decode(),
            response=_encode(response).decode(),
            events=events,
        )
