"""One gateway and one browser for all tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from console.browser import chromium
from console.world import console_world
from playwright.async_api import Browser
from served import Served


@pytest.fixture(scope="module")
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module")
async def world(anyio_backend, tmp_path_factory) -> AsyncIterator[Served]:
    async with console_world(tmp_path_factory.mktemp("home")) as served:
        yield served


@pytest.fixture(scope="module")
async def browser(anyio_backend) -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found
