"""Clients that ask all the time, and note what they were answered and whether they saw its end."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator

import msgspec

TOKENS = (1, 60)
CONNECT_AGAIN_S = 0.05
REFUSED_WAIT_S = 0.02
ANSWER_S = 30.0
"""A gateway that answers nothing for so long has forgotten the request."""


class Asked(msgspec.Struct):
    """One request."""

    number: int
    account: str
    stream: bool
    request_id: str | None = None
    """From the head of the answer, if one came."""
    status: int = 0
    code: str = ""
    """Of the error, if that is what came."""
    retry_after_s: int = 0
    usage: tuple[int, int] | None = None
    """Prompt and completion tokens of an answer whose end was seen."""

    @property
    def mark(self) -> str:
        """In the prompt, so that the node's side can be found."""
        return f"ask-{self.number}-"


class Load:
    """Some clients at once, each with the key of some account, at one port or another."""

    def __init__(
        self, ports: list[int], keys: list[tuple[str, str]], clients: int, seed: int
    ) -> None:
        self.asked: list[Asked] = []
        self.stopping = asyncio.Event()
        self._ports = ports
        self._keys = keys
        self._clients = clients
        self._rng = random.Random(seed)
        self._numbers = itertools.count()

    async def run(self) -> None:
        """Until it is told to stop; then what is under way comes to its end."""
        await asyncio.gather(*(self._client() for _ in range(self._clients)))

    async def _client(self) -> None:
        while not self.stopping.is_set():
            asked = await self.ask(*self._rng.choice(self._keys), self._rng.choice(self._ports))
            if asked.status != 200:
                await asyncio.sleep(REFUSED_WAIT_S if asked.status else CONNECT_AGAIN_S)

    async def ask(self, account: str, secret: str, port: int) -> Asked:
        asked = Asked(next(self._numbers), account, self._rng.random() < 0.6)
        self.asked.append(asked)
        fields = {
            "model": "fake",
            "messages": [{"role": "user", "content": f"{asked.mark} what is it?"}],
            "max_tokens": self._rng.randint(*TOKENS),
            "ignore_eos": True,
            "n": self._rng.choice((1, 1, 3)),
            "stream": asked.stream,
        }
        if asked.stream:
            fields["stream_options"] = {"include_usage": True}
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._exchange(secret, port, json.dumps(fields).encode())
        except ConnectionError:
            return asked
        read(asked, answer)
        return asked

    async def _exchange(self, secret: str, port: int, body: bytes) -> bytes:
        """What came until the connection ended, however it did."""
        head = f"POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {secret}\r\n"
        head += f"host: x\r\ncontent-length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        try:
            writer.write(head.encode() + body)
            while part := await reader.read(2**16):
                answer += part
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
        return answer


def read(asked: Asked, answer: bytes) -> None:
    """Note what the answer says, if it says it to the end."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    if "x-request-id" not in headers:
        return
    asked.request_id = headers["x-request-id"]
    asked.status = int(lines[0].split()[1])
    if asked.status != 200:
        if len(body) >= int(headers["content-length"]):
            asked.code = json.loads(body)["error"]["code"]
        asked.retry_after_s = int(headers.get("retry-after", 0))
        return
    if asked.stream:
        if not body.endswith(b"data: [DONE]\n\n"):
            return
        events = [json.loads(line[6:]) for line in body.split(b"\n\n")[:-2] if line]
        usage = next((event["usage"] for event in events if event.get("usage")), None)
    elif len(body) < int(headers["content-length"]):
        return
    else:
        usage = json.loads(body)["usage"]
    if usage is not None:
        asked.usage = usage["prompt_tokens"], usage["completion_tokens"]


def kinds(asked: list[Asked]) -> Iterator[tuple[str, int]]:
    """How requests ended, as their clients saw it."""
    found: Counter[str] = Counter()
    for each in asked:
        if each.usage is not None:
            found["answered to the end"] += 1
        elif each.status == 200:
            found["cut off"] += 1
        else:
            found[f"{each.status} {each.code}" if each.status else "no answer"] += 1
    yield from sorted(found.items())
