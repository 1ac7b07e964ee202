"""What live traffic feels of a batch: the time to its first token, with one and without, in turns.

The node is the fake one, told to slow down with every request that it runs, as an engine does: a
batch that took all the room that there is would be felt at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
from batch_lines import create, line, sdk
from held_port import held_port
from served import MODEL, NODE, eventually, open_account

from gateway.home import Home

from .ledger import Figure

RATIO_MAX = 1.2
LIVE_RATE = 25.0
"""Streams a second, as a Poisson process."""
LIVE_TOKENS = 24
LINE_TOKENS = 48
LINES = 20_000
PACE = ("--ttft-ms", "40", "--token-ms", "8", "--crowd-ms", "0.1")


class Turn(msgspec.Struct):
    """Windows of one kind, all together."""

    ttft_s: list[float] = []
    seconds: float = 0.0
    lines: int = 0
    refused: int = 0

    def percentile(self, percent: int) -> float:
        return sorted(self.ttft_s)[(len(self.ttft_s) * percent - 1) // 100]


class Found(msgspec.Struct):
    quiet: Turn
    beside: Turn

    @property
    def ratio(self) -> float:
        """The p95 beside a batch to that without one."""
        return self.beside.percentile(95) / self.quiet.percentile(95)


def figures(found: Found) -> list[Figure]:
    """As `make batch-bench` shows them."""
    quiet, beside = found.quiet, found.beside

    def told(turn: Turn) -> str:
        p50, p95 = (f"{turn.percentile(percent) * 1000:.1f}" for percent in (50, 95))
        return f"p50 {p50} ms, p95 {p95} ms of {len(turn.ttft_s)} streams"

    refused = quiet.refused + beside.refused
    return [
        Figure(name="first token without a batch", value=told(quiet), bar="", met=True),
        Figure(name="first token beside a batch", value=told(beside), bar="", met=True),
        Figure(
            name="p95 beside a batch to that without",
            value=f"{found.ratio:.2f}",
            bar=f"at most {RATIO_MAX}",
            met=found.ratio <= RATIO_MAX,
        ),
        Figure(name="live streams refused", value=str(refused), bar="none", met=not refused),
        Figure(
            name="lines answered meanwhile",
            value=f"{beside.lines / beside.seconds:.1f} a second",
            bar="some",
            met=beside.lines > 0,
        ),
    ]


async def measure_pace(reps: int, window_s: float, tell: Callable[[str], None]) -> Found:
    """Windows without and with a batch in turns, `reps` of each."""
    found = Found(Turn(), Turn())
    with tempfile.TemporaryDirectory(prefix="tollgate-batch-") as folder:
        async with _gateway(Path(folder)) as (base_url, secret), sdk(base_url, secret) as client:
            live = Live(base_url, secret)
            await live.window(Turn(), 3.0)
            for rep in range(reps):
                await live.window(found.quiet, window_s)
                batch = await create(client, *(_line(number) for number in range(LINES)))
                await eventually(
                    lambda batch=batch: client.batches.retrieve(batch.id),
                    lambda now: now.status == "in_progress",
                    within_s=60,
                )
                await live.window(found.beside, window_s)
                ended = await client.batches.cancel(batch.id)
                found.beside.lines += ended.request_counts.completed
                await eventually(
                    lambda batch=batch: client.batches.retrieve(batch.id),
                    lambda now: now.status == "cancelled",
                    within_s=60,
                )
                tell(f"{rep + 1} of {reps}: {ended.request_counts.completed} lines answered")
    return found


def _line(number: int) -> dict:
    return line(number, seed=number, max_tokens=LINE_TOKENS, ignore_eos=True)


class Live:
    """An open loop: each stream is timed from the moment at which it was due."""

    def __init__(self, base_url: str, secret: str) -> None:
        self._host, _, port = base_url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._rng = random.Random(1)
        asked = {
            "model": "fake",
            "messages": [{"role": "user", "content": "What is it?"}],
            "max_tokens": LIVE_TOKENS,
            "ignore_eos": True,
            "stream": True,
        }
        body = json.dumps(asked).encode()
        head = f"POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {secret}\r\n"
        self._request = f"{head}host: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body

    async def window(self, turn: Turn, seconds: float) -> None:
        began_s = due_s = time.monotonic()
        streams = []
        while due_s < began_s + seconds:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            streams.append(asyncio.create_task(self._stream(turn, due_s)))
            due_s += self._rng.expovariate(LIVE_RATE)
        await asyncio.gather(*streams)
        turn.seconds += seconds

    async def _stream(self, turn: Turn, due_s: float) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(self._request)
            status = await reader.readline()
            if b" 200 " not in status:
                turn.refused += 1
                return
            await reader.readuntil(b"data: ")
            turn.ttft_s.append(time.monotonic() - due_s)
            while await reader.read(2**16):
                pass
        finally:
            writer.close()
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def _gateway(home: Path) -> AsyncIterator[tuple[str, str]]:
    """A gateway over one node, each a process of its own: its URL, and a key."""
    node_port, port = held_port(), held_port()
    node_url = f"http://127.0.0.1:{node_port}"
    text = MODEL.format(server="") + NODE.format(index=0, url=node_url, engine="vllm", capacity=256)
    Home(home).config_file.write_text(text)
    secret = open_account(home, "1000")
    node = await _start("serving.fake_node", "--port", str(node_port), *PACE)
    try:
        gateway = await _start("gateway", "serve", "--home", str(home), "--port", str(port))
        try:
            yield f"http://127.0.0.1:{port}", secret
        finally:
            gateway.terminate()
            await gateway.wait()
    finally:
        node.terminate()
        await node.wait()


async def _start(module: str, *arguments: str) -> asyncio.subprocess.Process:
    """Returns once it said its first line: then it serves."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline(), f"{module} ended before it served"
    return process
