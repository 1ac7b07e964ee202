"""The events of a response that is made without its client: of one made here, or elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gateway import errors
from gateway.responses.answer import UNDER_WAY
from gateway.responses.background import Run
from gateway.responses.shelf import Shelf
from gateway.responses.stream import error_event
from metering.stored_response import StoredResponse

LOOK_INTERVAL_S = 1.0
"""Between two looks at what another gateway makes."""


def events_of(kept: StoredResponse, shelf: Shelf, run: Run | None) -> AsyncIterator[bytes]:
    """From the first on. Raises ApiError (400) if they were not kept."""
    if kept.events is None:
        raise errors.bad_request(
            "Only a response that was made with 'background' and 'stream' can be streamed again.",
            param="stream",
            code="unsupported_parameter",
        )
    return _elsewhere(shelf, kept) if run is None else events_here(run)


async def events_here(run: Run) -> AsyncIterator[bytes]:
    """The events of what is made in this process, one by one."""
    sequence = 0
    async for events in run.follow():
        for each in _split(events):
            yield each
            sequence += each.startswith(b"event: ")
    if not run.followed:
        yield error_event(sequence, "The events are too many to be followed.", "server_error")


async def _elsewhere(shelf: Shelf, kept: StoredResponse) -> AsyncIterator[bytes]:
    """Those of what ended, once it has."""
    while kept.status in UNDER_WAY:
        yield b": keep-alive\n\n"
        await asyncio.sleep(LOOK_INTERVAL_S)
        kept = await shelf.get(kept.account, kept.response_id)
    for each in _split((kept.events or "").encode()):
        yield each
    if not kept.events:
        yield error_event(0, f"The response is {kept.status}; its events are gone.", "server_error")


def _split(events: bytes) -> list[bytes]:
    return [each + b"\n\n" for each in events.split(b"\n\n")[:-1]]


async def after(events: AsyncIterator[bytes], starting_after: int) -> AsyncIterator[bytes]:
    """Without the first ones: they are numbered from 0."""
    sequence = -1
    async for each in events:
        sequence += each.startswith(b"event: ")
        if sequence > starting_after or not each.startswith(b"event: response."):
            yield each
