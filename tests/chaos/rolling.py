"""Gateways restarted one after the other under streams, behind what a load balancer does.

A balancer asks `/readyz` of each a few times a second and sends nothing to one that is not ready.
Its clients try again only where a connection was refused: whatever was sent must be answered, to
its end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from served import eventually

from serving.simulated_engine import Pace

from .load import ANSWER_S, Asked, Load, kinds, read
from .rounds import settled
from .stand import ACCOUNTS, Stand, stand
from .verdict import Nodes, faults

READY_EVERY_S = 0.25
LEAVE_S = 2
STREAM_TOKENS = (40, 160)
PATIENCE_S = 120


class Report(msgspec.Struct):
    restarts: int = 0
    seconds: float = 0.0
    ended: Counter[str] = msgspec.field(default_factory=Counter)
    at_once_least: int = 0
    """The fewest streams that were open at a moment when a gateway was away."""
    connects_refused: int = 0
    """Tried again elsewhere."""
    leaving_s: list[float] = []
    """From the signal to the first restarted answer of `/readyz`."""
    charges: int = 0
    failures: list[str] = []


class Balancer:
    """The ports that are ready, looked at now and then."""

    def __init__(self, ports: list[int]) -> None:
        self.ready = set(ports)
        self._ports = ports
        self._turn = itertools.count()

    async def watch(self) -> None:
        while True:
            states = await asyncio.gather(*(_is_ready(port) for port in self._ports))
            self.ready = {port for port, good in zip(self._ports, states, strict=True) if good}
            await asyncio.sleep(READY_EVERY_S)

    def choose(self) -> int | None:
        ready = sorted(self.ready)
        return ready[next(self._turn) % len(ready)] if ready else None


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /readyz HTTP/1.0\r\nhost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return answer.split(b" ", 2)[1:2] == [b"200"]


class Streams(Load):
    """So many streams at once, all the time."""

    def __init__(self, balancer: Balancer, keys: list[tuple[str, str]], clients: int) -> None:
        super().__init__([], keys, clients, seed=9)
        self.connects_refused = 0
        self.open = 0
        self._balancer = balancer
        self._lengths = random.Random(10)

    async def _client(self) -> None:
        while not self.stopping.is_set():
            port = self._balancer.choose()
            if port is None:
                await asyncio.sleep(READY_EVERY_S)
                continue
            await self._stream(*self._rng.choice(self._keys), port)

    async def _stream(self, account: str, secret: str, port: int) -> None:
        asked = Asked(next(self._numbers), account, stream=True)
        fields = {
            "model": "fake",
            "messages": [{"role": "user", "content": f"{asked.mark} what is it?"}],
            "max_tokens": self._lengths.randint(*STREAM_TOKENS),
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        try:
            async with asyncio.timeout(ANSWER_S):
                self.open += 1
                answer = await self._exchange(secret, port, json.dumps(fields).encode())
        except ConnectionRefusedError:
            self.connects_refused += 1
            return
        finally:
            self.open -= 1
        self.asked.append(asked)
        read(asked, answer)


async def run(folder: Path, streams: int, restarts: int, tokens_a_second: int = 20) -> Report:
    """Two gateways on PostgreSQL and Redis, each restarted so often, never both at once."""
    report, began_s = Report(at_once_least=streams), time.monotonic()
    pace = Pace(ttft_ms=20, token_ms=1000 / tokens_a_second)
    server = f"leave_s = {LEAVE_S}\ndrain_s = 60"
    async with stand(folder, postgres=True, server=server, pace=pace) as made:
        keys = [key for key in made.keys if key[0] == "rich"][:1]
        balancer = Balancer([gateway.port for gateway in made.gateways])
        load = Streams(balancer, keys, streams)
        watching = asyncio.create_task(balancer.watch())
        loading = asyncio.create_task(load.run())
        try:
            await eventually(lambda: load.open, lambda count: count >= streams, within_s=PATIENCE_S)
            for number in range(2 * restarts):
                await _restart(made, number % 2, balancer, load, report)
        finally:
            load.stopping.set()
            await loading
            watching.cancel()
        await settled(made, load.asked)
        report.ended.update(dict(kinds(load.asked)))
        report.connects_refused = load.connects_refused
        report.failures += _unserved(load.asked)
        nodes = Nodes()
        nodes.look(made.nodes)
        with made.ledger() as ledger:
            report.failures += faults(ledger, load.asked, nodes, ACCOUNTS)
            report.charges = sum(1 for _ in ledger.charges())
        if any(statuses := await made.stop()):
            report.failures.append(f"the last stop ended with {statuses}")
    report.seconds = time.monotonic() - began_s
    return report


async def _restart(
    made: Stand, index: int, balancer: Balancer, load: Streams, report: Report
) -> None:
    gateway = made.gateways[index]
    began_s = time.monotonic()
    status = await gateway.stop()
    report.at_once_least = min(report.at_once_least, load.open)
    if status:
        report.failures.append(f"restart {report.restarts + 1} ended with status {status}")
    await gateway.start()
    await eventually(lambda: balancer.ready, lambda ready: gateway.port in ready, within_s=30)
    report.leaving_s.append(time.monotonic() - began_s)
    report.restarts += 1


def _unserved(asked: list[Asked]) -> list[str]:
    return [f"not answered to its end: {each}" for each in asked if each.usage is None]


def lines(report: Report) -> Iterator[str]:
    """A report as text."""
    yield f"{report.restarts} restarts in {report.seconds:.0f} s, failed: {len(report.failures)}"
    yield f"  streams: {', '.join(f'{count} {kind}' for kind, count in report.ended.items())}"
    yield f"  open while one was away: {report.at_once_least} at least; {report.charges} charges"
    yield f"  connections refused, and made elsewhere: {report.connects_refused}"
    yield f"  one restart, from the signal to ready again: {max(report.leaving_s):.1f} s at most"
    yield from report.failures
