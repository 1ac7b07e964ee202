"""What the clients are pointed at."""

from __future__ import annotations

import pytest
from sdk.target import Target, target


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture
async def gateway(anyio_backend, tmp_path) -> Target:
    async with target(tmp_path) as found:
        yield found
