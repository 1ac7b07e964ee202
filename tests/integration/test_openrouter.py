"""The provider's side over a real socket."""

from __future__ import annotations

from pathlib import Path

import pytest
from served import configuration, serve

from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio


async def test_documents_want_a_key_and_tell_what_the_nodes_can_take(tmp_path: Path) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        typed = (await gateway.client.get("/openrouter/v2/models")).json()["data"]
        flat = (await gateway.client.get("/openrouter/v1/models")).json()["data"]
        policy = (await gateway.client.get("/openrouter/data-policy")).json()
        assert [model["id"] for model in typed] == [model["id"] for model in flat] == ["fake"]
        assert typed[0]["is_ready"] is True
        assert typed[0]["capacity"] == [{"type": "concurrency", "unit": "request", "value": 64}]
        assert policy["models"] == {"fake": {"zero_data_retention": False}}
        for path in ("v2/models", "v1/models", "data-policy"):
            nobody = {"authorization": ""}
            refused = await gateway.client.get(f"/openrouter/{path}", headers=nobody)
            assert refused.status_code == 401


async def test_a_model_without_nodes_is_not_ready(tmp_path: Path) -> None:
    async with serve(tmp_path, configuration([])) as gateway:
        (document,) = (await gateway.client.get("/openrouter/v2/models")).json()["data"]
        assert document["is_ready"] is False
