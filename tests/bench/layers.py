"""Where the microseconds of a request go: each layer's functions, called alone, many times.

In one process and without a node, so the figures are what the code itself costs. What `make bench`
measures on top of their sum is the event loop, the system calls and what a cold cache costs.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import msgspec
from fastapi import FastAPI

from gateway.admission.admission import Known, settled
from gateway.client.head import read_head
from gateway.exchange.actions import Action, Record
from gateway.exchange.exchange import Exchange
from gateway.home import Home
from gateway.nodes.connection import NodeConnection
from gateway.openai.node_body import for_node
from gateway.openai.request import Endpoint, read
from gateway.wiring import Gateway
from metering.charge import CloseCharge
from metering.limits import Limits
from metering.poster import Poster
from metering.spool import Spool
from metering.sqlite_ledger import SqliteLedger
from metering.stream_meter import StreamMeter
from router.types import RequestFeatures, Termination

from . import serve
from .asker import request
from .mixed import AT_ONCE, seconds_of_turns
from .node_bytes import MODEL, frames, whole
from .peers import KEY
from .shape import Shape

ROUNDS = 5
STREAM = Shape(events=128)
_HEADERS = {b"authorization": f"Bearer {KEY}".encode()}


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    microseconds: float
    of: str
    """A request, or an event of a stream."""


async def measure(calls: int) -> list[Layer]:
    """Time every layer over so many calls: the fastest of some rounds, CPU of all threads."""
    asked = _body(None)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        serve.open_account(home)
        urls = ["http://127.0.0.1:9"]  # nobody is asked
        gateway = Gateway(home, serve.config(0, urls, first_byte_timeout_s=300))
        async with gateway._lifespan(FastAPI()):
            await settled(lambda known: _admit(gateway, asked, known))  # learns the balance
            layers = [*_http(calls), *_admission(gateway, asked, calls)]
            layers += _exchange(gateway, asked, calls)
            layers += _events(_admit(gateway, _body(STREAM)), calls)
            layers.append(_mixed(gateway, calls))
        rows = _rows(gateway, asked)
        layers += await _durability(Path(folder), rows, calls)
    return layers


def _http(calls: int) -> list[Layer]:
    """What the client sent, judged and read; what the node answered, parsed."""
    asked = request(8080, Endpoint.CHAT.path, (f"Authorization: Bearer {KEY}",), MODEL, None)
    head = asked[: asked.index(b"\r\n\r\n") + 4]
    answered = whole()
    connection, call = _node_connection(), _Call()

    def answer() -> None:
        connection.send(call, b"")
        connection.data_received(answered)

    return [
        _timed("head of the client's request, read", lambda: read_head(head), calls),
        _timed("connection to the node, one answer", answer, calls),
    ]


def _admission(gateway: Gateway, asked: bytes, calls: int) -> list[Layer]:
    admission, router = gateway.admission, gateway._router
    question = read(Endpoint.CHAT, asked)
    features = RequestFeatures(
        model=MODEL, prompt_tokens=100, completion_tokens_max=140, stream=False
    )

    def route() -> None:
        lease = router.start(router.choose(features, time.monotonic_ns()))
        lease.finish(Termination.COMPLETED, time.monotonic_ns(), 1_000_000)

    return [
        _timed("key found", lambda: admission.authenticate(_HEADERS, {}), calls),
        _timed("body parsed and judged", lambda: read(Endpoint.CHAT, asked), calls),
        _timed("node chosen among 16, counted, released", route, calls),
        _timed(
            "all of admission: those three, credit, ids, charge",
            lambda: _admit(gateway, asked),
            calls,
        ),
        _timed(
            "body rewritten for the node",
            lambda: for_node(question, asked, served_model=MODEL, is_vllm=True),
            calls,
        ),
    ]


def _exchange(gateway: Gateway, asked: bytes, calls: int) -> list[Layer]:
    answer = whole().partition(b"\r\n\r\n")[2]
    admitted = iter([_admit(gateway, asked) for _ in range(calls * ROUNDS)])
    ended = _play(_admit(gateway, asked), answer)
    telemetry = gateway._telemetry
    return [
        _timed("exchange, from start to end", lambda: _play(next(admitted), answer), calls),
        _timed("telemetry", lambda: telemetry.finished(ended), calls),
    ]


def _admit(gateway: Gateway, asked: bytes, known: Known = MappingProxyType({})) -> Exchange:
    """Of a key without limits, and forgotten at once: what is admitted here never ends."""
    key = gateway.admission.authenticate(_HEADERS, {})
    free = msgspec.structs.replace(key, key_id="key_free", limits=Limits())
    exchange = gateway.admission.admit("req-1", free, Endpoint.CHAT, asked, known)
    del gateway._books.till._open[exchange.charge.charge_id]
    return exchange


def _play(exchange: Exchange, answer: bytes) -> Exchange:
    """Answer the request at once; every row that is waited for is durable at once too."""
    now_ns = time.monotonic_ns()
    _recorded(exchange, exchange.start(now_ns), now_ns)
    exchange.node_head(200, now_ns)
    exchange.node_body(answer, now_ns)
    _recorded(exchange, exchange.node_end(now_ns), now_ns)
    return exchange


def _recorded(exchange: Exchange, actions: list[Action], now_ns: int) -> None:
    for action in actions:
        if type(action) is Record and action.awaited:
            exchange.durable(None, now_ns)


def _rows(gateway: Gateway, asked: bytes) -> tuple[object, CloseCharge]:
    """The opening and the closing row of one request."""
    exchange = _admit(gateway, asked)
    now_ns = time.monotonic_ns()
    _recorded(exchange, exchange.start(now_ns), now_ns)
    exchange.node_head(200, now_ns)
    exchange.node_body(whole().partition(b"\r\n\r\n")[2], now_ns)
    closing = [a.row for a in exchange.node_end(now_ns) if isinstance(a, Record)]
    assert isinstance(closing[0], CloseCharge)
    return exchange.charge, closing[0]


async def _durability(folder: Path, rows: tuple, calls: int) -> list[Layer]:
    """Both rows of a charge on disk, then in the ledger. In batches as large as they come."""
    opened, closed = rows
    home = Home(folder / "books")
    home.path.mkdir()
    serve.open_account(home)
    spool, ledger = Spool(home.spool_folder(0)), SqliteLedger(home.ledger_file)
    poster = Poster(spool, ledger, lambda updates: None, lambda: None)
    spool.recover(0)
    spool.start(asyncio.get_running_loop().call_soon_threadsafe)
    began_s = time.process_time()
    last: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for number in range(calls):
        charge_id = f"charge-{number}"
        spool.append(msgspec.structs.replace(opened, charge_id=charge_id, request_id=charge_id))
        final = number == calls - 1
        on_durable = (lambda failure: last.set_result(None)) if final else (lambda failure: None)
        spool.append(msgspec.structs.replace(closed, charge_id=charge_id), on_durable)
    await last
    durable_s = time.process_time()
    poster.start()
    assert await asyncio.to_thread(poster.drain, 600.0), "the ledger does not take the rows"
    booked_s = time.process_time()
    poster.stop()
    spool.close()
    ledger.close()
    return [
        _layer("two rows made durable", durable_s - began_s, calls),
        _layer("charge booked in the ledger", booked_s - durable_s, calls),
    ]


def _events(exchange: Exchange, calls: int) -> list[Layer]:
    """An event of a stream with running usage: counted, and the usage cut out."""
    first, chunk = frames(STREAM.events, running=True, closing=True)[:2]
    event = chunk.partition(b"\r\n")[2][:-2]
    meter = StreamMeter(keep_closing=False)
    connection = _node_connection()
    connection.send(_Call(), b"")
    connection.data_received(first)
    now_ns = time.monotonic_ns()
    _recorded(exchange, exchange.start(now_ns), now_ns)
    exchange.node_head(200, now_ns)
    return [
        _timed("connection to the node", lambda: connection.data_received(chunk), calls, "event"),
        _timed("counted, and our part cut out", lambda: meter.feed(event), calls, "event"),
        _timed(
            "all of the exchange: that, and its actions",
            lambda: exchange.node_body(event, time.monotonic_ns()),
            calls,
            "event",
        ),
    ]


class _Call:
    """Listens to a connection to a node, and does nothing."""

    listener = None

    def ended(self) -> None: ...

    def lost(self, *, answered: bool) -> None:
        raise AssertionError("the answer was whole")


class _Pool:
    def give_back(self, connection: NodeConnection) -> None: ...

    def forget(self, connection: NodeConnection) -> None: ...


class _Sink(asyncio.Transport):
    """Takes everything at once."""

    def write(self, data: object) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


def _node_connection() -> NodeConnection:
    connection = NodeConnection(_Pool())
    connection.connection_made(_Sink())
    return connection


def _mixed(gateway: Gateway, calls: int) -> Layer:
    """With the key's limits, and everything else that a request goes through."""
    asked = request(8080, Endpoint.CHAT.path, (f"Authorization: Bearer {KEY}",), MODEL, None)
    turns = calls // AT_ONCE + 1
    seconds = min(seconds_of_turns(gateway, asked, whole(), turns) for _ in range(ROUNDS))
    return _layer("all of the event loop's Python, 32 at once", seconds, turns * AT_ONCE)


def _body(shape: Shape | None) -> bytes:
    return request(0, "", (), MODEL, shape).partition(b"\r\n\r\n")[2]


def _timed(name: str, call: Callable[[], object], calls: int, of: str = "request") -> Layer:
    rounds = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(calls):
            call()
        rounds.append(time.process_time() - began_s)
    return _layer(name, min(rounds), calls, of)


def _layer(name: str, seconds: float, calls: int, of: str = "request") -> Layer:
    return Layer(name=name, microseconds=seconds / calls * 1_000_000, of=of)
