"""How a page is asked for: what answers which path, and the threads that do the work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from gateway import errors

FORM_BYTES_MAX = 512 * 1024
_FIELDS_MAX = 50

T = TypeVar("T")
View = Callable[[Request], Awaitable[Response]]
Routes = list[tuple[str, str, View]]
"""Method, path, view."""


class Readers:
    """Threads of their own: however many ask, all else of the gateway has its own."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, name)

    async def __call__(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; one that is given twice counts once, the last time. Raises ApiError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise errors.bad_request("This takes a form: application/x-www-form-urlencoded.")
    body = await request.body()
    if len(body) > FORM_BYTES_MAX:
        raise errors.body_too_large(FORM_BYTES_MAX)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX))
    except ValueError as error:
        raise errors.bad_request(f"The form cannot be read: {error}.") from None
