"""SIGKILL between an answer under an Idempotency-Key and its charge: asked again, paid once."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import killed_gateway
import pytest
from batch_lines import charges_of
from together import together, write_config

from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
ALONE = ("--workers", "1")
KEY = {"idempotency-key": "order-7"}
ASKED = {
    "model": "fake",
    "messages": [{"role": "user", "content": "hi there"}],
    "max_tokens": 24,
    "stream": True,
    "stream_options": {"include_usage": True},
}


@pytest.mark.parametrize(
    ("point", "asked_again", "paid"),
    [("whole", True, 1), ("kept", False, 0), ("ended", False, 1)],
)
async def test_no_moment_is_one_to_die_at(
    tmp_path: Path, monkeypatch, point: str, asked_again: bool, paid: int
) -> None:
    """What was recorded of a stream that a crash cuts short is free: it will be asked anew."""
    script = str(Path(killed_gateway.__file__))
    async with FakeNode() as node:
        write_config(tmp_path, [node], more="")
        with monkeypatch.context() as patched:
            patched.setattr(
                "together.command",
                lambda home, *more: [
                    *(sys.executable, script, point, "1", "serve", "--home", str(home)),
                    *more,
                ],
            )
            async with together(tmp_path, *ALONE) as dying:
                with pytest.raises(httpx.RemoteProtocolError):
                    await dying.client.post("/v1/chat/completions", json=ASKED, headers=KEY)
                await dying.process.wait()
        async with together(tmp_path, *ALONE, secret=dying.secret) as gateway:
            answer = await gateway.client.post("/v1/chat/completions", json=ASKED, headers=KEY)
            await gateway.end()
        assert answer.status_code == 200
        assert answer.content.endswith(b"data: [DONE]\n\n")
        assert len(node.received) == 1 + asked_again
    charges = charges_of(tmp_path)
    assert len(charges) == 1 + asked_again
    assert [charge.completion_tokens for charge in charges if charge.cost_nano_usd] == [24] * paid
