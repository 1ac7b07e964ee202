"""HTTP on the client's connection, as the protocol driver speaks it: what is understood, in which
order it is answered, what is refused, and that nobody can hold it for ever.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket

import pytest
from raw_client import CHAT, RawClient
from raw_node import WHOLE, RawNode, ok
from served import configuration, eventually, serve

from metering.charge import ChargeOutcome
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12}
BODY = json.dumps(ASKED).encode()
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


@pytest.fixture
def quiet_log(caplog):
    """Nothing that a client does may make the gateway complain about itself."""
    caplog.set_level(logging.INFO)
    yield caplog
    assert not [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


async def test_every_kind_of_request_on_one_connection(tmp_path, quiet_log):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        chunked = client.head("Transfer-Encoding: chunked")
        length = f"Content-Length: {len(BODY)}"
        upgrade = client.post(ASKED, "Connection: Upgrade", "Upgrade: h2c")
        for request in (
            client.post(ASKED),
            GET,
            b"\r\n\r\n" + client.post(ASKED),
            chunked + chunks(BODY),
            chunked + chunks(BODY[:7], BODY[7:], end=b"0;a=b\r\nX: y\r\n\r\n"),
            upgrade,
            client.post(ASKED, path=CHAT + "?api-version=1"),
            client.post(ASKED, path="http://x" + CHAT),
        ):
            client.send(request)
            assert (await client.answer()).status == 200
        client.send(client.head("Expect: 100-continue", length))
        assert (await client.answer()).status == 100
        client.send(BODY)
        assert (await client.answer()).status == 200
        assert node.connections == 1
        assert len(await served.charges(8)) == 8


@pytest.mark.parametrize("step", [1, 2, 7, 64])
async def test_request_cut_anywhere_is_the_same_request(tmp_path, step):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        requests = client.post(ASKED) + client.head("Transfer-Encoding: chunked") + chunks(BODY)
        for start in range(0, len(requests), step):
            client.send(requests[start : start + step])
            await asyncio.sleep(0)
        for _ in range(2):
            assert (await client.answer()).body == WHOLE
        assert [r.partition(b"\r\n\r\n")[2] for r in node.requests] == [
            node.requests[0].partition(b"\r\n\r\n")[2]
        ] * 2


async def test_pipelined_requests_are_answered_in_order(tmp_path, quiet_log):
    """Slow and quick ones, refusals and other routes, all in one write."""
    async with (
        FakeNode(pace=Pace(token_ms=1)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        many = [client.post({**ASKED, "max_tokens": n, "ignore_eos": True}) for n in (9, 2, 5)]
        stream = client.post({**ASKED, "stream": True})
        wrong = client.post({**ASKED, "model": "nope"})
        client.send(many[0] + GET + many[1] + wrong + stream + many[2] + GET)
        answers = [await client.answer() for _ in range(7)]
        assert [a.status for a in answers] == [200, 200, 200, 404, 200, 200, 200]
        used = [json.loads(answers[n].body)["usage"]["completion_tokens"] for n in (0, 2, 5)]
        assert used == [9, 2, 5]
        assert answers[4].body.endswith(b"data: [DONE]\n\n")
        assert len(await served.charges(4)) == 4


async def test_client_that_asks_on_and_on_is_not_read(tmp_path):
    """10,000 requests behind a slow one: the gateway stops reading, then answers all in order."""
    async with (
        FakeNode(pace=Pace(ttft_ms=600)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        client.send(client.post(ASKED))
        await eventually(lambda: node.received, bool)
        count = 10_000
        client.send((GET[:-2] + b"X-Filler: %b\r\n\r\n" % (b"x" * 1000)) * count)
        (connection,) = [c for c in served.server.server_state.connections if c.request]
        await eventually(lambda: connection.flow.read_paused, bool)
        assert connection.held_bytes < 1024 * 1024
        assert client.writer.transport.get_write_buffer_size() > 0
        for _ in range(1 + count):
            assert (await client.answer()).status == 200


async def test_http_1_0_gets_plain_bytes_and_the_end(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        for stream in (False, True):
            async with await RawClient.connect(served) as client:
                client.send(client.post({**ASKED, "stream": stream}, version="1.0"))
                answer = await client.answer()
                assert answer.status == 200
                assert answer.headers["connection"] == "close"
                assert "transfer-encoding" not in answer.headers
                assert answer.body.endswith(b"[DONE]\n\n" if stream else b"}")
                assert await client.ended()


POST = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
SMUGGLING = {
    "length and chunks": POST + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and length": POST + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "two lengths": POST + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "one length twice": POST + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "list of lengths": POST + "Content-Length: 3, 3\r\n\r\n",
    "signed length": POST + "Content-Length: +3\r\n\r\n",
    "hexadecimal length": POST + "Content-Length: 0x3\r\n\r\n",
    "huge length": POST + "Content-Length: 99999999999999999999999\r\n\r\n",
    "no length": POST + "Content-Length:\r\n\r\n",
    "space before colon": POST + "Content-Length : 3\r\n\r\n",
    "folded header": POST + "X: a\r\n Content-Length: 3\r\n\r\n",
    "folded with a tab": POST + "Transfer-Encoding:\r\n\tchunked\r\n\r\n",
    "bare line feed": POST + "X: a\nContent-Length: 3\r\n\r\n",
    "only line feeds": "GET / HTTP/1.1\nHost: x\n\n",
    "bare carriage return": POST + "X: a\rContent-Length: 3\r\n\r\n",
    "null byte": POST + "X: a\0b\r\n\r\n",
    "other coding": POST + "Transfer-Encoding: gzip, chunked\r\n\r\n",
    "chunks then other": POST + "Transfer-Encoding: chunked, gzip\r\n\r\n",
    "chunks twice": POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "disguised chunks": POST + "Transfer-Encoding: \x0bchunked\r\n\r\n",
    "chunks in HTTP/1.0": "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two hosts": POST + "Host: y\r\n\r\n",
    "two keys": POST + "Authorization: Bearer a\r\nAUTHORIZATION: Bearer b\r\n\r\n",
    "one key twice": POST + "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n\r\n",
    "no host": "GET /healthz HTTP/1.1\r\n\r\n",
    "HTTP/0.9": "GET /healthz\r\n\r\n",
    "HTTP/1.2": "GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two spaces": "POST  /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n",
    "target and body of HEAD": "HEAD h:// HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in the target": "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "no URL": "GET healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "nonsense": "nonsense\r\n\r\n",
}


@pytest.mark.parametrize("form", SMUGGLING)
async def test_what_can_be_read_in_two_ways_is_refused(tmp_path, quiet_log, form):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        client.send(SMUGGLING[form].encode("latin-1"))
        client.send(b"abc" + client.post(ASKED))  # the smuggled one
        answer = await client.answer()
        assert (answer.status, answer.code) == (400, "invalid_http")
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-request-id"].startswith("req_")
        assert await client.ended()
        assert not node.requests


@pytest.mark.parametrize(
    "body", [b"3\nabc\r\n", b"0x3\r\nabc\r\n", b"ffffffffffffffffff\r\n", b"zz"]
)
async def test_malformed_chunks_are_refused(tmp_path, quiet_log, body):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        client.send(client.head("Transfer-Encoding: chunked") + body)
        answer = await client.answer()
        assert (answer.status, answer.code) == (400, "invalid_http")
        assert await client.ended()
        assert not node.requests


async def test_request_behind_chunks_in_one_write_is_not_guessed_at(tmp_path):
    """Where it begins is not known, so the first is answered and the connection ends."""
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        client.send(client.head("Transfer-Encoding: chunked") + chunks(BODY) + client.post(ASKED))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.ended()
        assert len(node.requests) == 1


@pytest.mark.parametrize("ending", [b"", b"\r\n\r\n"])
async def test_headers_have_a_limit(tmp_path, ending):
    async with (
        RawNode(ok(WHOLE)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        client.send(client.post(ASKED, "X: " + "a" * 30_000))
        assert (await client.answer()).status == 200
        client.send(client.head()[:-2] + b"X: aaaaaaaa\r\n" * 3000 + ending)
        answer = await client.answer()
        assert (answer.status, answer.code) == (431, "headers_too_large")
        assert await client.ended()


@pytest.mark.parametrize("chunked", [False, True])
async def test_answer_to_a_body_that_is_too_large_can_be_read(tmp_path, chunked):
    """The client writes all of it before it reads: it must find the answer, not a reset."""
    async with FakeNode() as node:
        config = configuration([node], server="body_bytes_max = 100000")
        async with serve(tmp_path, config) as served, await RawClient.connect(served) as client:
            size = 20_000_000
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
            client.send(client.head(framing))
            for _ in range(20):
                piece = b"x" * (size // 20)
                client.send(chunks(piece, end=b"") if chunked else piece)
                await client.writer.drain()
            answer = await client.answer()
            assert (answer.status, answer.code) == (413, "request_too_large")
            assert await client.ended()
            assert not node.received


async def test_stranger_uploads_nothing(tmp_path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        async with await RawClient.connect(served) as client:
            head = client.head("Content-Length: 3000000").replace(b"Bearer ", b"Bearer x")
            client.send(head)
            answer = await client.answer()
            assert (answer.status, answer.code) == (401, "invalid_api_key")
            assert await client.ended()
        async with await RawClient.connect(served) as client:
            client.send(client.post(ASKED).replace(b"Bearer ", b"Bearer x"))
            assert (await client.answer()).status == 401
            client.send(client.post(ASKED))  # it was whole, so the connection lives
            assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    ("part", "head_s", "body_s"), [("head", 1, 60), ("body", 60, 1), ("chunked body", 60, 1)]
)
async def test_slow_sender_is_cut_off(tmp_path, part, head_s, body_s):
    server = f"client_head_timeout_s = {head_s}\nclient_body_timeout_s = {body_s}"
    async with FakeNode() as node:
        config = configuration([node], server=server)
        async with serve(tmp_path, config) as served, await RawClient.connect(served) as client:
            client.send(client.post(ASKED))
            assert (await client.answer()).status == 200
            beginning = {
                "head": client.head()[:-2] + b"X: ",
                "body": client.head("Content-Length: 3000"),
                "chunked body": client.head("Transfer-Encoding: chunked") + b"fff\r\n",
            }[part]
            client.send(beginning)
            answering = asyncio.ensure_future(client.answer())
            while not answering.done():  # a byte now and then is no progress
                client.send(b"x")
                await asyncio.wait([answering], timeout=0.05)
            answer = answering.result()
            assert (answer.status, answer.code) == (408, "request_timeout")
            assert answer.headers["connection"] == "close"
            assert await client.ended()
            assert len(node.received) == 1


async def test_body_that_comes_fast_enough_has_time(tmp_path):
    """Longer than the first patience, at more than the slowest rate."""
    async with RawNode(ok(WHOLE)) as node:
        config = configuration([node], server="client_body_timeout_s = 1")
        async with serve(tmp_path, config) as served, await RawClient.connect(served) as client:
            asked = json.dumps({**ASKED, "user": "x" * 100_000}).encode()
            client.send(client.head(f"Content-Length: {len(asked)}"))
            step = len(asked) // 40
            for start in range(0, len(asked), step):
                client.send(asked[start : start + step])
                await asyncio.sleep(0.05)  # 50 KiB/s for 2 s
            assert (await client.answer()).status == 200


async def test_idle_connection_is_closed(tmp_path):
    async with RawNode(ok(WHOLE)) as node:
        server = "client_idle_timeout_s = 1\nclient_head_timeout_s = 1"
        async with serve(tmp_path, configuration([node], server=server)) as served:
            async with await RawClient.connect(served) as used:
                used.send(used.post(ASKED))
                assert (await used.answer()).status == 200
                assert await used.ended()
            async with await RawClient.connect(served) as silent:
                assert await silent.ended()


@pytest.mark.parametrize("garbage", [b"x", b"\0" * 300_000, b"GET / HTTP/1.1\r\n\r\n"], ids=len)
async def test_garbage_behind_a_request_does_not_spoil_its_answer(tmp_path, quiet_log, garbage):
    async with (
        FakeNode(pace=Pace(token_ms=2)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        client.send(client.post({**ASKED, "stream": True}) + garbage + b"\r\n\r\n")
        answer = await client.answer()
        assert answer.status == 200
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert (await client.answer()).code == "invalid_http"
        assert await client.ended()
        assert (await served.charges(1))[0].outcome is ChargeOutcome.COMPLETED


@pytest.mark.parametrize("stream", [False, True])
async def test_half_closing_is_leaving(tmp_path, stream):
    """A client that ends its side in the middle is taken to be gone, as nginx and uvicorn do: it
    cannot be told from one that closed, and a node must not work for nobody.
    """
    async with (
        FakeNode(pace=Pace(token_ms=5)) as node,
        serve(tmp_path, configuration([node])) as served,
        await RawClient.connect(served) as client,
    ):
        client.send(client.post({**ASKED, "stream": stream, "max_tokens": 2000}))
        await eventually(lambda: node.engine.running, lambda running: running == 1)
        client.writer.write_eof()
        await eventually(lambda: node.engine.running, lambda running: running == 0)
        (charge,) = await served.charges(1)
        assert charge.outcome is ChargeOutcome.CLIENT_GONE
        assert await served.metric("tollgate_requests_in_flight") == 0


@pytest.mark.parametrize("framing", ["Content-Length: 3000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", [CHAT, "/v1/nothing"])
async def test_leaving_in_the_middle_of_a_body(tmp_path, quiet_log, framing, path):
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        async with await RawClient.connect(served) as client:
            client.send(client.head(framing, path=path) + b"fff\r\n{")
            await client.writer.drain()
        connections = served.server.server_state.connections
        await eventually(
            lambda: [c for c in connections if c.request is not None], lambda busy: not busy
        )
        assert (await served.client.post(CHAT, json=ASKED)).status_code == 200
        assert len(node.received) == 1


async def test_drain_ends_idle_connections_and_takes_no_new_ones(tmp_path):
    async with (
        FakeNode(pace=Pace(token_ms=10)) as node,
        serve(tmp_path, configuration([node])) as served,
    ):
        busy, idle = [await RawClient.connect(served) for _ in range(2)]
        idle.send(GET)
        assert (await idle.answer()).status == 200
        busy.send(busy.post({**ASKED, "max_tokens": 300, "ignore_eos": True, "stream": True}))
        await busy.reader.readuntil(b"\r\n\r\n")
        port = served.server.port
        served.server.should_exit = True
        assert await idle.ended()
        assert node.engine.running == 1
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert (await busy.reader.read()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        (charge,) = await served.charges(1)
        assert charge.completion_tokens == 300
        for client in (busy, idle):
            client.writer.close()
