"""A node without a model: vLLM's HTTP interface on a simulated engine, with faults on demand.

    python -m serving.fake_node --port 8100 --control-port 8101 --token-ms 20
    curl -d '{"reset_after_events": 3, "requests": 1}' http://127.0.0.1:8101/fault

In a test: `async with FakeNode() as node`, then `node.url`, `node.engine`, `node.inject(...)`.
"""

import asyncio
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Self

import click
import msgspec

from serving import vllm_wire
from serving.fake_faults import NO_FAULT, Fault
from serving.fake_generation import Generation
from serving.fake_http import HttpConnection, Received, Wire
from serving.fake_pooling import POOLING, pool
from serving.simulated_engine import Pace, SimulatedEngine
from serving.vllm_request import RefusedError, read_job, read_json, read_tokens

RECEIVED_MAX = 1_000
_GARBAGE = b"\x16\x03\x01\x00\x00 this is not HTTP\r\n\r\n"
_INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n"
_MESSAGES = {
    500: "Internal server error",
    503: "The engine is currently busy and cannot accept new requests. "
    "Please try again later or on a different instance.",
}
_TOKENS = ("/tokenize", "/detokenize")
_POST = ("/v1/chat/completions", "/v1/completions", *POOLING, *_TOKENS)


class FakeNode:
    """One node on one port. Everything it does is seen from outside: counters, requests, faults."""

    def __init__(
        self,
        *,
        model: str = "fake",
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int | None = None,
        seed: int = 0,
        pace: Pace | None = None,
        context_tokens_max: int = 2048,
        tokens_per_event: int = 1,
    ) -> None:
        self.model = model
        self.pace = pace or Pace()
        self.context_tokens_max = context_tokens_max
        self.tokens_per_event = tokens_per_event
        self.engine = SimulatedEngine(seed=seed)
        self.fault = NO_FAULT
        self.received: deque[Received] = deque(maxlen=RECEIVED_MAX)
        """Requests for inference, the last ones."""
        self.generations: deque[Generation] = deque(maxlen=RECEIVED_MAX)
        """What came of them: the last ones that were accepted."""
        self.connections: set[HttpConnection] = set()
        self.connections_opened = 0
        self._host = host
        self._port = port
        self._control_port = control_port
        self._fault_requests_left: int | None = None
        self._asked = 0
        self._rng = Random(seed)
        self._listener: asyncio.Server | None = None
        self._control: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it serves; known once started."""
        return f"http://{self._host}:{self._port}"

    @property
    def control_url(self) -> str:
        """Where faults are set; empty if it was given no control port."""
        return "" if self._control_port is None else f"http://{self._host}:{self._control_port}"

    async def start(self) -> Self:
        """Listen. Port 0 becomes a free one."""
        await self._listen()
        if self._control_port is not None:
            self._control, self._control_port = await self._open(
                self._control_port, lambda: HttpConnection(self._serve_control, set(), self._rng)
            )
        return self

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._control is not None:
            self._control.close()
        self._refuse()
        self.drop_connections()
        # One turn of the loop: dropped connections cancel their answers.
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def inject(self, fault: Fault) -> None:
        """Let the next requests fail like this; `Fault()` makes the node well again."""
        self.fault = fault
        self._fault_requests_left = fault.requests
        if fault.refuse_connections:
            self._refuse()
        elif self._listener is None:
            await self._listen()

    def drop_connections(self) -> None:
        """Reset every open connection. With `refuse_connections`, this is a process that died."""
        for connection in list(self.connections):
            connection.drop()

    async def _listen(self) -> None:
        def connected() -> HttpConnection:
            self.connections_opened += 1
            return HttpConnection(self.respond, self.connections, self._rng)

        self._listener, self._port = await self._open(self._port, connected)

    async def _open(
        self, port: int, connected: Callable[[], HttpConnection]
    ) -> tuple[asyncio.Server, int]:
        server = await asyncio.get_running_loop().create_server(connected, self._host, port)
        return server, server.sockets[0].getsockname()[1]

    def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def respond(self, request: Received, wire: Wire) -> None:
        """Answer one request."""
        if request.method == "POST" and request.path in _POST:
            self.received.append(request)
            await self._infer(request, wire, self._take_fault())
            return
        pages: dict[str, Callable[[], Awaitable[None]]] = {
            "/health": lambda: wire.answer(200, "text/plain", b""),
            "/version": lambda: wire.json(200, {"version": "0.32.0"}),
            "/v1/models": lambda: wire.json(
                200, vllm_wire.models(self.model, int(time.time()), self.context_tokens_max)
            ),
            "/metrics": lambda: wire.answer(
                200,
                "text/plain; version=1.0.0; charset=utf-8",
                vllm_wire.metrics(self.model, self.engine),
            ),
        }
        if request.method == "GET" and request.path in pages:
            await pages[request.path]()
        elif request.path in pages or request.path in _POST:
            await wire.json(405, {"detail": "Method Not Allowed"})
        else:
            await wire.json(404, {"detail": "Not Found"})

    def _take_fault(self) -> Fault:
        fault = self.fault
        self._asked += 1
        if self._asked % fault.every:
            return NO_FAULT
        if self._fault_requests_left is not None:
            self._fault_requests_left -= 1
            if self._fault_requests_left <= 0:
                self.fault, self._fault_requests_left = NO_FAULT, None
        return fault

    async def _infer(self, request: Received, wire: Wire, fault: Fault) -> None:
        wire.split = fault.split
        if fault.garbage:
            await wire.write(_GARBAGE)
            wire.close()
            return
        if fault.interim:
            await wire.write(_INTERIM)
        if fault.head_delay_ms:
            await asyncio.sleep(fault.head_delay_ms / 1000)
        if fault.reset_before_head:
            wire.reset()
            return
        try:
            if fault.status is not None:
                message = _MESSAGES.get(fault.status, "The request was refused by a fault.")
                raise RefusedError(fault.status, vllm_wire.error(fault.status, message))
            await self._answer(request, wire, fault)
        except RefusedError as refused:
            await wire.json(refused.status, refused.body)
        if fault.close_after_answer:
            wire.close()

    async def _answer(self, request: Received, wire: Wire, fault: Fault) -> None:
        asked = read_json(request.body)
        if request.path in POOLING:
            await self._pool(request, asked, wire)
            return
        if request.path in _TOKENS:
            await wire.json(200, self._told_tokens(request.path, asked))
            return
        chat = request.path == "/v1/chat/completions"
        job = read_job(
            asked, chat=chat, model=self.model, context_tokens_max=self.context_tokens_max
        )
        called = fault.call(job.call)
        answer = vllm_wire.Answer(
            id=self._answer_id("chatcmpl" if chat else "cmpl", request),
            created=int(time.time()),
            model=self.model,
            chat=chat,
            show_token_ids=job.return_token_ids,
            closes_with_usage=job.include_usage,
            tool=None if called is None else called.name,
        )
        generation = Generation(self.engine, self.pace, fault, job, answer, wire, called)
        self.generations.append(generation)
        await generation.run(self.tokens_per_event)

    def _told_tokens(self, path: str, asked: vllm_wire.Json) -> vllm_wire.Json:
        if path == "/detokenize":
            return {"prompt": " ".join(f"w{token}" for token in asked["tokens"])}
        tokens = read_tokens(asked, self.model)
        return {
            "count": len(tokens),
            "max_model_len": self.context_tokens_max,
            "tokens": tokens,
            "token_strs": None,
        }

    async def _pool(self, request: Received, asked: vllm_wire.Json, wire: Wire) -> None:
        answer = vllm_wire.Answer(
            id=self._answer_id(POOLING[request.path], request),
            created=int(time.time()),
            model=self.model,
            chat=False,
        )
        told, tokens = pool(request.path, asked, answer)
        self.engine.prompt_tokens += tokens
        await wire.json(200, told)

    def _answer_id(self, kind: str, request: Received) -> str:
        """Like vLLM, build it on the caller's request id if there is one."""
        own = f"{self._rng.getrandbits(64):016x}"
        return f"{kind}-{request.headers.get('x-request-id', own)}"

    async def _serve_control(self, request: Received, wire: Wire) -> None:
        if request.path != "/fault":
            await wire.json(404, {"error": "there is only /fault: GET it or POST a new one"})
            return
        if request.method == "POST":
            try:
                await self.inject(msgspec.json.decode(request.body, type=Fault))
            except msgspec.DecodeError as wrong:
                await wire.json(400, {"error": str(wrong)})
                return
        await wire.json(200, self.fault)


async def serve(node: FakeNode) -> None:
    """Run a node until the process is told to end."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with node:
        click.echo(f"{node.url} {node.control_url}".rstrip())
        await ended.wait()


@click.command()
@click.option("--port", default=0, show_default="a free one", help="Port to serve on.")
@click.option("--control-port", type=int, help="Port to set faults on: GET or POST /fault.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--model", default="fake", show_default=True, help="Name of the model.")
@click.option("--ttft-ms", default=0.0, show_default=True, help="Time to the first token.")
@click.option("--token-ms", default=0.0, show_default=True, help="Time between tokens.")
@click.option("--crowd-ms", default=0.0, show_default=True, help="More, for each other request.")
@click.option("--context-tokens-max", default=2048, show_default=True)
@click.option("--tokens-per-event", default=1, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Another seed, other answers.")
def main(
    port: int,
    control_port: int | None,
    host: str,
    model: str,
    ttft_ms: float,
    token_ms: float,
    crowd_ms: float,
    context_tokens_max: int,
    tokens_per_event: int,
    seed: int,
) -> None:
    """Serve a node without a model. Prints its URL, and that of its control port, once it listens.

    Example: python -m serving.fake_node --port 8100 --token-ms 20
    """
    node = FakeNode(
        model=model,
        host=host,
        port=port,
        control_port=control_port,
        seed=seed,
        pace=Pace(ttft_ms=ttft_ms, token_ms=token_ms, crowd_ms=crowd_ms),
        context_tokens_max=context_tokens_max,
        tokens_per_event=tokens_per_event,
    )
    asyncio.run(serve(node))


if __name__ == "__main__":
    main()
