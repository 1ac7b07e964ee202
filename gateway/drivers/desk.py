"""Where other routes of the gateway ask a model in a caller's name: by the one way that every
request goes, so that it is judged, limited, charged and counted as if the caller had sent it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from gateway.admission.admission import Admission, settled
from gateway.drivers.coroutine import CoroutineDriver
from gateway.errors import ApiError
from gateway.exchange.exchange import Exchange
from gateway.openai.request import Endpoint
from metering.keys import ApiKey

AnyDriver = TypeVar("AnyDriver", bound=CoroutineDriver)
Refused = Callable[[str, ApiError], None]


class DeskOf(Generic[AnyDriver]):
    """`batch`: what is asked here costs what it costs in a batch."""

    def __init__(
        self,
        admission: Admission,
        new_driver: Callable[[Exchange], AnyDriver],
        refused: Refused,
        *,
        batch: bool = False,
    ) -> None:
        self._admission = admission
        self._new_driver = new_driver
        self._refused = refused
        self._batch = batch
        self.limit_headers = admission.limit_headers

    @contextlib.asynccontextmanager
    async def ask(
        self, key: ApiKey, endpoint: Endpoint, body: bytes, request_id: str
    ) -> AsyncIterator[AnyDriver]:
        """An exchange that is under way; one that is not over at the end of the block is aborted.

        Raises ApiError if it is not admitted.
        """
        try:
            exchange = await settled(
                lambda known: self._admission.admit(
                    request_id, key, endpoint, body, known, batch=self._batch
                )
            )
        except ApiError as error:
            error.request_id = request_id
            self._refused(endpoint.value, error)
            raise
        driver = self._new_driver(exchange)
        driver.start()
        try:
            yield driver
        finally:
            if not driver.whole:
                driver.leave()


Desk = DeskOf[CoroutineDriver]
