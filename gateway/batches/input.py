"""The lines of an input file, read and judged beside live traffic: a little at a time, so that no
request waits for a long file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO

import msgspec

from gateway.batches.batch import LINES_MAX
from gateway.batches.line import LineError, judge

PART_BYTES = 256 * 1024
TURN_NS = 500_000
"""After so long the event loop gets its turn."""
ERRORS_MAX = 100
"""Told of one file; who sees so many will look at all of it."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str
    param: str | None
    line: int | None


class Judged(msgspec.Struct, kw_only=True):
    """What an input file holds."""

    lines: int = 0
    model: str | None = None
    problems: list[Problem] = []


async def lines(file: BinaryIO, line_bytes_max: int) -> AsyncIterator[tuple[int, bytes]]:
    """The lines that are not empty, each with its number from 1 on; the file is closed at the end.
    One that is too long comes cut off. Raises OSError.
    """
    number, rest, turn_ns = 0, b"", time.monotonic_ns()
    with file:
        while True:
            part = await asyncio.to_thread(file.read, PART_BYTES)
            found = (rest + part).split(b"\n")
            rest = found.pop() if part else b""
            for raw in found:
                number += 1
                if time.monotonic_ns() - turn_ns > TURN_NS:
                    await asyncio.sleep(0)
                    turn_ns = time.monotonic_ns()
                if line := raw.strip():
                    yield number, line
            if not part:
                return
            if len(rest) > line_bytes_max:
                yield number + 1, rest
                return


async def judged(
    file: BinaryIO, endpoint: str, line_bytes_max: int, sells: Callable[[str], str | None]
) -> Judged:
    """`sells` says why a model cannot be had at this endpoint, if it cannot. Raises OSError."""
    found, custom_ids = Judged(), set[str]()
    async for number, raw in lines(file, line_bytes_max):
        found.lines += 1
        try:
            if found.lines > LINES_MAX:
                raise LineError("too_many_requests", f"A batch has at most {LINES_MAX} requests.")
            if len(raw) > line_bytes_max:
                raise LineError(
                    "request_too_large", f"This line is longer than {line_bytes_max} bytes."
                )
            request, model = judge(raw, endpoint)
            if request.custom_id in custom_ids:
                raise LineError(
                    "duplicate_custom_id",
                    f"The custom_id '{request.custom_id[:100]}' is used by more than one line.",
                    "custom_id",
                )
            custom_ids.add(request.custom_id)
            _check_model(found, model, sells)
        except LineError as error:
            found.problems.append(
                Problem(code=error.code, message=str(error), param=error.param, line=number)
            )
            if len(found.problems) >= ERRORS_MAX or found.lines > LINES_MAX:
                break
    if not found.lines:
        found.problems.append(
            Problem(code="empty_file", message="The input file has no line.", param=None, line=None)
        )
    return found


def _check_model(found: Judged, model: str, sells: Callable[[str], str | None]) -> None:
    """Raises LineError."""
    if found.model is None:
        if reason := sells(model):
            raise LineError("model_not_found", reason, "body.model")
        found.model = model
    elif model != found.model:
        raise LineError(
            "mismatched_model",
            f"All lines of a batch are for one model: this one is for '{model[:100]}', those "
            f"before it for '{found.model}'.",
            "body.model",
        )
