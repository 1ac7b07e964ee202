"""A node that costs next to nothing: every byte is made ahead, one write an event.

    python -m tests.bench.mock_node PORT [PORT ...] [--hung PORT ...]

One process on several ports passes for several nodes; at a hung port it accepts and never answers.
`GET /tally` tells what it has written, which is what a correct gateway must charge at most.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re

import msgspec
import uvloop

from .node_bytes import MODEL, WHOLE_TOKENS, frames, response, whole
from .shape import Shape, tokens_of

BACKLOG = 4096
_BODY_BYTES = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": *true')
_CLOSING = re.compile(rb'"include_usage": *true')
_RUNNING = re.compile(rb'"continuous_usage_stats": *true')
_MODELS = msgspec.json.encode({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
_INFO = msgspec.json.encode({"model_path": MODEL, "served_model_name": MODEL, "version": "0.32.0"})
_INFO_PATHS = (b"/health", b"/version", b"/get_server_info", b"/get_model_info")
_CHAT = b"POST /v1/chat/completions "
_NOT_FOUND = response(
    b'{"error":{"message":"Not Found","type":"NotFoundError","code":404}}', status=b"404 Not Found"
)


class Tally(msgspec.Struct):
    """What was written. A cut stream is one whose reader went away before its end."""

    finished: int = 0
    finished_tokens: int = 0
    cut: int = 0
    cut_tokens: int = 0


class NodeConnection(asyncio.Protocol):
    """Answers one request at a time."""

    def __init__(self, tally: Tally, answer: bytes) -> None:
        self._tally = tally
        self._whole = answer
        self._loop = asyncio.get_running_loop()
        self._read = b""
        self._frames: tuple[bytes, ...] = ()
        """The stream under way; empty while there is none."""
        self._shape = Shape(events=0)
        self._written = 0
        self._paused = False
        self._next: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next is not None:
            self._next.cancel()
        if self._frames:
            self._tally.cut += 1
            self._tally.cut_tokens += tokens_of(self._written)

    def data_received(self, data: bytes) -> None:
        self._read += data
        while self._read and not self._frames and self._take_request():
            pass

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._frames and self._next is None and self._written < self._shape.events:
            self._step()

    def _take_request(self) -> bool:
        """Answer the first request read; False if it is not whole yet."""
        head_end = self._read.find(b"\r\n\r\n")
        if head_end < 0:
            return False
        head = self._read[:head_end]
        found = _BODY_BYTES.search(head)
        end = head_end + 4 + (int(found[1]) if found else 0)
        if len(self._read) < end:
            return False
        body, self._read = self._read[head_end + 4 : end], self._read[end:]
        if head.startswith(b"GET "):
            self._transport.write(self._page(head.split(b" ", 2)[1]))
        elif found is None or not head.startswith(_CHAT):
            # Routers ask for more than there is, /render for one, and go on without it.
            self._transport.write(_NOT_FOUND)
        elif _STREAM.search(body):
            self._begin(body)
        else:
            self._tally.finished += 1
            self._tally.finished_tokens += WHOLE_TOKENS
            self._transport.write(self._whole)
        return True

    def _page(self, path: bytes) -> bytes:
        if path == b"/tally":
            return response(msgspec.json.encode(self._tally))
        if path == b"/metrics":
            return response(b"", kind=b"text/plain; version=0.0.4")
        if path == b"/v1/models":
            return response(_MODELS)
        return response(_INFO) if path in _INFO_PATHS else _NOT_FOUND

    def _begin(self, body: bytes) -> None:
        closing = _CLOSING.search(body) is not None
        running = closing and _RUNNING.search(body) is not None
        self._shape = Shape.read(body)
        # What is followed by silence must not end: its last event is one of a longer stream.
        events = self._shape.events + self._shape.then_silence
        self._frames = frames(events, running=running, closing=closing)
        self._written = 0
        self._due_s = self._loop.time()
        self._step()

    def _step(self) -> None:
        self._next = None
        self._transport.write(self._frames[self._written])
        self._written += 1
        if self._written == len(self._frames):
            self._end()
        elif self._written == self._shape.events or self._paused:
            return
        elif self._shape.apart_ms:
            self._due_s += self._shape.apart_ms / 1000  # absolute, so that the rate does not drift
            self._next = self._loop.call_at(self._due_s, self._step)
        else:
            self._next = self._loop.call_soon(self._step)

    def _end(self) -> None:
        self._tally.finished += 1
        self._tally.finished_tokens += self._shape.tokens
        self._frames = ()
        if self._read:
            self.data_received(b"")


async def serve(ports: list[int], hung: list[int]) -> None:
    loop = asyncio.get_running_loop()
    tally, answer = Tally(), whole()
    for port in ports:
        await loop.create_server(
            lambda: NodeConnection(tally, answer), "127.0.0.1", port, backlog=BACKLOG
        )
    for port in hung:
        await loop.create_server(asyncio.Protocol, "127.0.0.1", port, backlog=BACKLOG)
    gc.freeze()
    gc.disable()  # a pause of the node would be read as the gateway's
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--hung", type=int, nargs="*", default=[])
    options = parser.parse_args()
    uvloop.run(serve(options.ports, options.hung))


if __name__ == "__main__":
    main()
