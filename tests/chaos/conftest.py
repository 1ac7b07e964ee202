"""Chaos runs on asyncio, with the event loop that production uses."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})
