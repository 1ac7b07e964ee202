"""The gateway that the clients drive: one of the test's own over a fake node, or one that runs.

    TOLLGATE_SDK_UP=.tollgate/up.json .venv/bin/pytest tests/sdk

drives the gateway that `tollgate up` started there, with its real engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from served import configuration, serve

from serving.fake_node import FakeNode


class Target(msgspec.Struct, frozen=True, kw_only=True):
    origin: str
    key: str
    model: str
    node: FakeNode | None
    """None: a real engine, which may say anything, embed nothing, and have one context length."""

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"


@contextlib.asynccontextmanager
async def target(folder: Path) -> AsyncIterator[Target]:
    running = os.environ.get("TOLLGATE_SDK_UP")
    if running is not None:
        up = json.loads(await asyncio.to_thread(Path(running).read_text))
        origin = up["base_url"].removesuffix("/v1")
        yield Target(origin=origin, key=up["api_key"], model=up["model"], node=None)
        return
    async with FakeNode() as node, serve(folder, configuration([node])) as served:
        yield Target(origin=served.base_url, key=served.secret, model="fake", node=node)
