"""Clients in JavaScript: openai-node and Vercel's AI SDK. Their tests are in node/."""

from __future__ import annotations

import asyncio

import pytest
from sdk.node_packages import run
from sdk.target import Target

from serving.fake_faults import Fault

pytestmark = pytest.mark.anyio


def environment(gateway: Target) -> dict[str, str]:
    return {
        "BASE_URL": gateway.base_url,
        "API_KEY": gateway.key,
        "MODEL": gateway.model,
        "EMBEDS": "" if gateway.node is None else "1",
        "AI_SDK_LOG_WARNINGS": "false",
    }


@pytest.mark.parametrize("script", ["openai.test.mjs", "kept.test.mjs", "ai.test.mjs"])
async def test_a_client(gateway: Target, script: str) -> None:
    await asyncio.to_thread(run, script, environment(gateway))


async def test_an_early_429_is_retried_by_the_client(gateway: Target) -> None:
    if gateway.node is None:
        pytest.skip("a real engine does not refuse at will: run without TOLLGATE_SDK_UP, too")
    await gateway.node.inject(Fault(status=503, requests=1))
    await asyncio.to_thread(run, "refused.test.mjs", environment(gateway))
