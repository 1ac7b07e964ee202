"""Streams that their client cuts at a random byte: what is charged, when the node is let go."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from served import Served, configuration, eventually, serve

from metering.accounts import customer
from metering.charge import ChargeOutcome, ChargeRecord
from serving.fake_faults import Fault
from serving.fake_generation import Generation
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

CHAT = "/v1/chat/completions"
ABORT_S = 1.0
CREDIT_USD = "100"
AT_ONCE = 8
TOKENS = 200
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
SILENT_AFTER = (0, 1, 2, 3, 7, 20)
"""Events after which a node says nothing more: what it told by then is known to the token."""


class Plan(msgspec.Struct, frozen=True):
    """One stream. `silent_after` None: the node goes on, and the cut is somewhere in between."""

    number: int
    choices: int
    tools: bool
    silent_after: int | None
    cut_bytes: int
    """Of the body and its head, after which the client closes."""


class Report(msgspec.Struct):
    streams: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    exact: int = 0
    """Charged for the last usage that the node had sent when the client closed."""
    in_flight: int = 0
    """Charged for one just before or after that: an event was on its way."""
    abort_ms: list[float] = []
    failures: list[str] = []


def plans(streams: int, seed: int) -> list[Plan]:
    rng = random.Random(seed)
    return [
        Plan(
            number,
            choices=(1, 3)[number % 2],
            tools=number // 2 % 2 == 1,
            silent_after=SILENT_AFTER[number // 8 % len(SILENT_AFTER)] if number // 4 % 2 else None,
            cut_bytes=rng.choice((0, rng.randrange(400), rng.randrange(12_000))),
        )
        for number in range(streams)
    ]


async def run(
    folder: Path, streams: int, seed: int, tell: Callable[[Report], None] = lambda report: None
) -> Report:
    """Raises nothing over what it finds: that is in the report."""
    report, began_s = Report(), time.monotonic()
    async with FakeNode(pace=Pace(ttft_ms=2, token_ms=3)) as node:
        config = configuration([node], capacity=256)
        async with serve(folder, config, credit_usd=CREDIT_USD) as served:
            by_silence: dict[int | None, list[Plan]] = {}
            for plan in plans(streams, seed):
                by_silence.setdefault(plan.silent_after, []).append(plan)
            for silent_after, same in by_silence.items():
                await node.inject(Fault(stall_after_events=silent_after))
                for start in range(0, len(same), AT_ONCE):
                    await asyncio.gather(
                        *(
                            _cut(node, served, plan, report)
                            for plan in same[start : start + AT_ONCE]
                        )
                    )
                    report.seconds = time.monotonic() - began_s
                    tell(report)
            await _released(served, report)
    return report


async def _cut(node: FakeNode, served: Served, plan: Plan, report: Report) -> None:
    client = _Client(served.server.port)
    await client.ask(served.secret, _body(plan))
    generation = await eventually(lambda: _generation(node, plan), lambda found: found)
    if plan.silent_after is None:
        await client.read(plan.cut_bytes)
    else:
        await client.read(0 if plan.silent_after == 0 else plan.cut_bytes, plan.silent_after)
    cut_s, told = asyncio.get_running_loop().time(), generation.told_tokens
    client.close(resets=plan.number % 3 == 0)
    await eventually(lambda: generation.ended_s, lambda ended: ended is not None)
    charge = await eventually(lambda: _charge(served, generation), lambda found: found)
    report.streams += 1
    report.abort_ms.append((generation.ended_s - cut_s) * 1000)
    kind = "silent" if plan.silent_after is not None else "running"
    report.kinds[f"{kind}, n={plan.choices}{', tools' if plan.tools else ''}"] += 1
    report.exact += charge.completion_tokens == told
    report.in_flight += charge.completion_tokens != told
    for wrong in _faults(plan, generation, charge, told, client.events):
        report.failures.append(f"{plan}: {wrong}")


def _faults(
    plan: Plan, generation: Generation, charge: ChargeRecord, told: int, seen: int
) -> list[str]:
    found: list[str] = []
    charged = charge.completion_tokens
    if charge.outcome is not ChargeOutcome.CLIENT_GONE:
        found.append(f"ended as {charge.outcome}")
    if plan.silent_after is not None and charged != told:
        found.append(f"charged {charged} tokens, the node had told {told}")
    if not told - plan.choices <= charged <= generation.told_tokens:
        upto = generation.told_tokens
        found.append(f"charged {charged} tokens, the node told {told} by the cut and {upto} in all")
    if charged < seen - plan.choices:
        found.append(f"charged {charged} tokens, the client saw {seen} events")
    if (charge.prompt_tokens > 0) != (charged > 0) or (charge.cost_nano_usd > 0) != (charged > 0):
        found.append(f"prompt {charge.prompt_tokens}, cost {charge.cost_nano_usd} of {charged}")
    return found


async def _released(served: Served, report: Report) -> None:
    """Nothing is held any more, in the books or in memory, and the books are right."""
    till = served.server._gateway._books.till
    if late := [round(ms) for ms in report.abort_ms if ms > 1000 * ABORT_S]:
        report.failures.append(f"nodes let go after {late} ms")
    await eventually(lambda: till.backlog_rows, lambda rows: rows == 0)
    with served.ledger() as ledger:
        left = ledger.balance(customer("acme"))
        charges, found = list(ledger.charges()), ledger.verify()
    if not found.ok:
        report.failures.append(str(found.problem))
    if till.open_charges or left.debits_pending:
        report.failures.append(f"{till.open_charges} open, {left.debits_pending} held")
    if len(charges) != report.streams:
        report.failures.append(f"{len(charges)} charges of {report.streams} streams")
    await eventually(lambda: till._budget.available("acme"), lambda free: free == left.available)


def _body(plan: Plan) -> bytes:
    fields = {
        "model": "fake",
        "messages": [{"role": "user", "content": f"stream-{plan.number}-"}],
        "n": plan.choices,
        "stream": True,
        "max_tokens": TOKENS,
        "ignore_eos": True,
    }
    return json.dumps(fields | ({"tools": TOOLS} if plan.tools else {})).encode()


def _generation(node: FakeNode, plan: Plan) -> Generation | None:
    for request in node.received:
        if f"stream-{plan.number}-".encode() in request.body:
            name = request.headers["x-request-id"]
            return next((each for each in node.generations if each.id.endswith(name)), None)
    return None


def _charge(served: Served, generation: Generation) -> ChargeRecord | None:
    with served.ledger() as ledger:
        latest = ledger.charges(newest_first=True, limit=4 * AT_ONCE)
        return next((each for each in latest if generation.id.endswith(each.request_id)), None)


class _Client:
    """A socket that reads so many bytes and no more."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._seen = b""

    @property
    def events(self) -> int:
        """Whole ones that were read."""
        return self._seen.count(b"\n\n")

    async def ask(self, secret: str, body: bytes) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\n"
        head += f"content-length: {len(body)}\r\n\r\n"
        await loop.sock_sendall(self._socket, head.encode() + body)

    async def read(self, size: int, silent_after: int = 0) -> None:
        """So many bytes; of a node that fell silent after so many events, once they all are here:
        what is not read lies in the socket. Looked for again and again: a `sock_recv` that is given
        up as something comes has taken it, and loses it.
        """
        while len(self._seen) < size:
            await eventually(lambda: self._waiting() or self._is_all(silent_after), bool)
            if not self._waiting():
                return
            self._seen += self._socket.recv(size - len(self._seen))
        await eventually(self._events_here, lambda events: events >= silent_after)

    def _is_all(self, silent_after: int) -> bool:
        return 0 < silent_after <= self._events_here()

    def _waiting(self) -> bytes:
        try:
            return self._socket.recv(2**20, socket.MSG_PEEK)
        except BlockingIOError:
            return b""

    def _events_here(self) -> int:
        return (self._seen + self._waiting()).count(b"data: {")

    def close(self, *, resets: bool) -> None:
        if resets:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def lines(report: Report) -> Iterator[str]:
    """A report as text."""
    slowest_ms = max(report.abort_ms, default=0.0)
    yield (
        f"disconnects: {report.streams} streams cut in {report.seconds:.0f} s, "
        f"{len(report.failures)} failed"
    )
    yield from (f"  {count:>8}  {kind}" for kind, count in sorted(report.kinds.items()))
    yield (
        f"  charged for the last usage sent: {report.exact}; for one an event before or after, "
        f"which was on its way: {report.in_flight}; node let go within {slowest_ms:.0f} ms at most"
    )
    yield from report.failures
