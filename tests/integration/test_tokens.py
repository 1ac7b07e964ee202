"""`/tokenize` and `/detokenize` over a real socket."""

from __future__ import annotations

from pathlib import Path

import pytest
from served import configuration, serve

from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
MESSAGES = [{"role": "user", "content": "hello there"}]


async def test_a_prompt_and_messages_are_tokenised_for_nothing(tmp_path: Path) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        prompt = await gateway.client.post("/tokenize", json={"model": "fake", "prompt": "a b c"})
        chat = await gateway.client.post("/tokenize", json={"model": "fake", "messages": MESSAGES})
        tokens = prompt.json()["tokens"]
        back = await gateway.client.post("/detokenize", json={"model": "fake", "tokens": tokens})
        assert prompt.json()["count"] == len(tokens) == 3
        assert prompt.json()["max_model_len"] == 2048
        assert chat.json()["count"] >= 2
        assert len(back.json()["prompt"].split()) == 3
        assert back.headers["x-request-id"].startswith("req_")
        with gateway.ledger() as ledger:
            assert list(ledger.charges()) == []


@pytest.mark.parametrize(
    ("path", "asked", "param"),
    [
        ("/tokenize", {"model": "fake"}, "prompt"),
        ("/tokenize", {"model": "fake", "prompt": "a", "messages": MESSAGES}, "prompt"),
        ("/tokenize", {"model": "fake", "prompt": 5}, "prompt"),
        ("/tokenize", {"prompt": "a"}, "model"),
        ("/detokenize", {"model": "fake", "tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"model": "fake", "tokens": [1], "more": 1}, "more"),
    ],
)
async def test_bad_input_reaches_no_node(
    path: str, asked: dict, param: str, tmp_path: Path
) -> None:
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as gateway:
        refused = await gateway.client.post(path, json=asked)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == param
        nobody = await gateway.client.post(path, json=asked, headers={"authorization": ""})
        assert nobody.status_code == 401
        assert not node.received


async def test_a_node_that_fails_is_passed_over(tmp_path: Path) -> None:
    async with (
        FakeNode() as bad,
        FakeNode() as good,
        serve(tmp_path, configuration([bad, good])) as gateway,
    ):
        await bad.inject(Fault(status=500))
        for _ in range(4):
            told = await gateway.client.post("/tokenize", json={"model": "fake", "prompt": "a"})
            assert told.json()["count"] == 1
        await good.inject(Fault(status=500))
        await bad.inject(Fault(status=500))
        failed = await gateway.client.post("/tokenize", json={"model": "fake", "prompt": "a"})
        assert failed.status_code in (429, 500)
        assert await gateway.metric("tollgate_node_in_flight") == 0


async def test_a_node_that_is_no_vllm_cannot(tmp_path: Path) -> None:
    config = configuration
    async with FakeNode() as node, serve(tmp_path, config([node], engine="openai")) as gateway:
        refused = await gateway.client.post("/tokenize", json={"model": "fake", "prompt": "a"})
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "unsupported_endpoint"
