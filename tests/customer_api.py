"""A gateway with an admin key, and calls to it with any key."""

from __future__ import annotations

import contextlib

from served import configuration, serve

from serving.fake_node import FakeNode

ADMIN_KEY = "sk-tg-admin-0123456789abcdef"
CHAT = "/v1/chat/completions"
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 12}


class Api:
    """Calls with a key, each answered as expected."""

    def __init__(self, client, secret: str) -> None:
        self._client = client
        self._headers = {"authorization": f"Bearer {secret}"}

    async def __call__(self, method: str, path: str, json=None, *, status: int = 200) -> dict:
        answer = await self._client.request(method, path, json=json, headers=self._headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def code(self, method: str, path: str, json=None, *, status: int) -> str:
        """The code of an OpenAI error object."""
        error = (await self(method, path, json, status=status))["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error["code"]


@contextlib.asynccontextmanager
async def gateway(home):
    async with FakeNode() as node, serve(home, configuration([node])) as served:
        yield served, Api(served.client, ADMIN_KEY)
