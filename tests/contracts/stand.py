"""A gateway over a fake node, to be asked by another process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from served import configuration, serve

from serving.fake_node import FakeNode

MODEL = "fake"

T = TypeVar("T")


async def over_fake_node(folder: Path, ask: Callable[[str, str], T]) -> T:
    """What `ask` returns, which is called in a thread with the gateway's URL and a key."""
    home = folder / "home"
    home.mkdir()
    async with (
        FakeNode(model=MODEL) as node,
        serve(home, configuration([node]), credit_usd="100000") as served,
    ):
        return await asyncio.to_thread(ask, served.base_url, served.secret)
