"""A node's reputation over HTTP, and over a restart of the gateway."""

from __future__ import annotations

import pytest
from customer_api import ADMIN_KEY
from served import configuration, eventually, serve

from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = {"model": "fake", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}


def config(nodes):
    return configuration(nodes, node="trusted = false\n")


async def told(served, node: str) -> dict:
    answer = await served.client.get(
        f"/admin/v1/nodes/{node}/reputation", headers={"authorization": f"Bearer {ADMIN_KEY}"}
    )
    return {"status": answer.status_code, **answer.json()}


async def test_a_restart_does_not_forgive(tmp_path):
    (tmp_path / "admin_key").write_text(ADMIN_KEY + "\n")
    async with FakeNode() as liar, FakeNode() as honest:
        await liar.inject(Fault(claim_prompt_tokens=100_000))
        async with serve(tmp_path, config([liar, honest])) as served:
            assert (await told(served, "node-7"))["status"] == 404
            asked = CHAT | {"provider": {"only": ["supplier-0"]}}
            await served.client.post("/v1/chat/completions", json=asked)
            found = await eventually(
                lambda: told(served, "node-0"), lambda it: it["tier"] == "barred"
            )
            assert found["supplier"] == {
                "id": "supplier-0", "score": found["score"], "tier": "barred",
            }  # fmt: skip
            usage = {each["kind"]: each for each in found["questions"]["usage"]["evidence"]}
            assert usage["false_usage"]["weight"] == 60.0
            assert usage["false_usage"]["speaks"] == "against"
        before = len(liar.received)
        await liar.inject(Fault())
        async with serve(tmp_path, config([liar, honest])) as served:
            for _ in range(6):
                assert (await served.client.post("/v1/chat/completions", json=CHAT)).is_success
            assert (await told(served, "node-0"))["tier"] == "barred"
            assert await served.metric("tollgate_node_standing_ratio", node="node-0") == 0
        assert len(liar.received) == before
