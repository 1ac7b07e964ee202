"""`tollgate serve --workers N` as a process of its own, seen from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from served import CREDIT_USD, MODEL, NODE, eventually, open_account

from gateway.home import Home
from serving.fake_node import FakeNode

REDIS = '[redis]\nurl_env = "TOLLGATE_TEST_REDIS_URL"\n'
LEDGER = '[ledger]\nurl_env = "TOLLGATE_TEST_LEDGER_URL"\n'
WAIT_S = 120


class Together:
    """A supervisor, its workers, and a client whose every request has a connection of its own."""

    def __init__(self, process: asyncio.subprocess.Process, secret: str, alone: bool) -> None:
        self.process = process
        self.secret = secret
        self.alone = alone
        self.client = httpx.AsyncClient()
        self._seen: set[int] = set()

    @property
    def workers(self) -> list[int]:
        """The pids of all that were seen and live."""
        if self.process.returncode is None:
            self._seen.update(children_of(self.process.pid))
        return [pid for pid in self._seen if lives(pid)]

    def workers_ever(self) -> int:
        """How many were seen, looked at often enough."""
        return len(self.workers) and len(self._seen)

    async def serving(self) -> None:
        assert self.process.stdout is not None
        said = await asyncio.wait_for(self.process.stdout.readline(), WAIT_S)
        line = said.decode()
        assert line.startswith("Serving http://127.0.0.1:"), line
        assert self.workers or self.alone
        self.client = httpx.AsyncClient(
            base_url=line.split()[1].removesuffix("/v1"),
            headers={"authorization": f"Bearer {self.secret}"},
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=120,
        )

    async def once(self, path: str, body: dict | None = None) -> tuple[str, str] | None:
        """The head and the body of an answer, on a connection of its own; None if that broke.

        Not by httpx, which trips over a connection that is reset while it is being made.
        """
        data = b"" if body is None else json.dumps(body).encode()
        method, url = "GET" if body is None else "POST", self.client.base_url
        head = f"{method} {path} HTTP/1.0\r\nauthorization: Bearer {self.secret}\r\n"
        head += f"host: {url.host}\r\ncontent-length: {len(data)}\r\n\r\n"
        try:
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(head.encode() + data)
            answer = await reader.read()
            writer.close()
        except OSError:
            return None
        told, _, text = answer.decode().partition("\r\n\r\n")
        if not text:
            return None
        assert told.split()[1] == "200", answer
        return told, text

    def signal(self, number: signal.Signals) -> None:
        assert self.workers or self.alone
        self.process.send_signal(number)

    async def ended(self) -> int:
        """The exit status; every worker has ended too, within the moment that a signal takes."""
        status = await asyncio.wait_for(self.process.wait(), WAIT_S)
        await eventually(lambda: self.workers, lambda left: not left)
        return status

    async def end(self) -> None:
        self.signal(signal.SIGTERM)
        assert await self.ended() == 0

    async def close(self) -> None:
        await self.client.aclose()
        workers = self.workers
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    """Runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat[stat.rindex(b")") + 2 :][:1] not in (b"Z", b"X")


def write_config(home: Path, nodes: list[FakeNode], server: str = "", more: str = REDIS) -> None:
    text = MODEL.format(server=server) + more
    for index, node in enumerate(nodes):
        text += NODE.format(index=index, url=node.url, engine="vllm", capacity=256, more="")
    Home(home).config_file.write_text(text)


def command(home: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", "serve", "--home", str(home), *arguments]


@contextlib.asynccontextmanager
async def together(
    home: Path, *arguments: str, secret: str | None = None
) -> AsyncIterator[Together]:
    """All serve when the block begins; what still runs at its end is killed. `secret` is that of
    the run before, in a home that has one.
    """
    process = await asyncio.create_subprocess_exec(
        *command(home, *arguments), stdout=asyncio.subprocess.PIPE
    )
    running = Together(process, secret or open_account(home, CREDIT_USD), "1" in arguments)
    try:
        await running.serving()
        yield running
    finally:
        await running.close()
