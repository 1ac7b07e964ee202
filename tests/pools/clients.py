"""Clients of a gateway that keep all that they were told, and judge it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import msgspec

ANSWER_S = 420.0
KEEP_ALIVE = ": keep-alive"


class Answer(msgspec.Struct):
    """What a client saw."""

    status: int = 0
    headers: dict[str, str] = {}
    text: str = ""
    error: str = ""
    """Why it is none that a client would be content with."""
    keep_alives: int = 0
    first_s: float = 0.0
    """To the first word."""
    whole_s: float = 0.0


class Client:
    """Asks the gateway at `port` with one key."""

    def __init__(self, port: int, secret: str) -> None:
        self._port = port
        self._secret = secret

    async def ask(self, model: str, prompt: str, tokens: int, *, stream: bool = True) -> Answer:
        fields = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": tokens,
            "stream": stream,
            "ignore_eos": True,
        }
        began_s, answer = time.monotonic(), Answer()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._ask(json.dumps(fields).encode(), stream, answer, began_s)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            answer.error = f"{type(error).__name__} after {len(answer.text)} characters"
        answer.whole_s = time.monotonic() - began_s
        return answer

    async def _ask(self, body: bytes, stream: bool, answer: Answer, began_s: float) -> None:
        head = f"POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {self._secret}\r\n"
        head += f"host: x\r\ncontent-length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(head.encode() + body)
            said = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            answer.status = int(said[0].split()[1])
            pairs = (line.partition(":") for line in said[1:])
            answer.headers = {name.lower(): value.strip() for name, _, value in pairs}
            if answer.status != 200:
                answer.error = f"{answer.status} {(await reader.read()).decode()[:300]}"
            elif stream:
                await _read_stream(reader, answer, began_s)
            else:
                told = json.loads(await reader.read())
                answer.text = told["choices"][0]["message"]["content"]
        finally:
            writer.transport.abort()


async def _read_stream(reader: asyncio.StreamReader, answer: Answer, began_s: float) -> None:
    done = False
    while line := (await reader.readline()).decode().strip("\n"):
        answer.keep_alives += line.startswith(KEEP_ALIVE)
        if line == "data: [DONE]":
            done = True
        elif line.startswith("data: "):
            for text in _words(json.loads(line.removeprefix("data: ")), answer):
                answer.first_s = answer.first_s or time.monotonic() - began_s
                answer.text += text
        await reader.readline()
    if not done and not answer.error:
        answer.error = f"the stream ended after {len(answer.text)} characters"


def _words(event: dict, answer: Answer) -> Iterator[str]:
    if "error" in event:
        answer.error = f"in the stream: {event['error']['message']}"
    for choice in event["choices"]:
        if text := choice.get("delta", {}).get("content"):
            yield text


class Crowd:
    """So many clients at once, each asking again as soon as it was answered."""

    def __init__(self, client: Client, model: str, tokens: int) -> None:
        self.answers: list[Answer] = []
        self._client = client
        self._model = model
        self._tokens = tokens
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self, clients: int, *, streams: float = 1.0) -> None:
        """`streams`: the share of them that stream."""
        for place in range(clients):
            stream = place < clients * streams
            self._tasks.append(asyncio.create_task(self._go_on(place, stream)))

    async def stop(self) -> list[Answer]:
        """What was answered; those under way come to their end first."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        return self.answers

    @property
    def errors(self) -> list[str]:
        return [answer.error for answer in self.answers if answer.error]

    async def _go_on(self, place: int, stream: bool) -> None:
        prompt = f"client {place}: what is a pool?"
        expected = ""
        while not self._stopping:
            answer = await self._client.ask(self._model, prompt, self._tokens, stream=stream)
            expected = expected or answer.text
            if not answer.error and answer.text != expected:
                answer.error = f"another text: {answer.text[:60]!r}, not {expected[:60]!r}"
            self.answers.append(answer)
            if answer.error:
                await asyncio.sleep(0.2)
