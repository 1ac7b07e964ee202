"""What a node may do on the wire, and what of it is believed, over both drivers."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from raw_node import STREAM, WHOLE, RawNode, ok
from served import MODEL, NODE, configuration, eventually, serve

from gateway.config import parse
from metering.charge import ChargeOutcome

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


@pytest.fixture(params=["protocol", "asgi"])
def driver(request):
    return request.param


def chat(**fields) -> dict:
    messages = [{"role": "user", "content": "hi"}]
    return {"model": "fake", "messages": messages, "max_tokens": 12, **fields}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


GOOD = {
    "length": ok(WHOLE),
    "chunks": CHUNKED + b"\r\n" + chunk(WHOLE[:9]) + chunk(WHOLE[9:]) + b"0\r\n\r\n",
    "chunk extensions": CHUNKED + b"\r\n%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(WHOLE), WHOLE),
    "trailers": CHUNKED + b"Trailer: x\r\n\r\n" + chunk(WHOLE) + b"0\r\nX: y\r\n\r\n",
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n"
    + ok(WHOLE),
}


@pytest.mark.parametrize("form", GOOD)
async def test_answer_in_any_form_is_understood_and_the_connection_reused(tmp_path, driver, form):
    async with (
        RawNode(GOOD[form]) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        for _ in range(3):
            answer = await served.client.post(CHAT, json=chat())
            assert (answer.status_code, answer.content) == (200, WHOLE)
        assert node.connections == 1
        assert {c.completion_tokens for c in await served.charges(3)} == {2}


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 103 E\r\nA: b\r\n\r\n"
     b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_answer_may_end_with_its_connection(tmp_path, driver, head, stream):
    body = STREAM if stream else WHOLE
    async with (
        RawNode(head + body, closes=True) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        for _ in range(2):
            answer = await served.client.post(CHAT, json=chat(stream=stream))
            assert answer.status_code == 200
            assert answer.content.endswith(b"[DONE]\n\n" if stream else WHOLE)
        assert node.connections == 2
        assert {c.outcome for c in await served.charges(2)} == {ChargeOutcome.COMPLETED}


BROKEN = {
    "length and chunks": CHUNKED + b"Content-Length: 3\r\n\r\n" + chunk(WHOLE) + b"0\r\n\r\n",
    "two lengths": ok(WHOLE, f"Content-Length: {len(WHOLE)}"),
    "other lengths": ok(WHOLE, "Content-Length: 3"),
    "no chunk": CHUNKED + b"\r\n" + WHOLE,
    "chunk too long for its length": CHUNKED + b"\r\n3\r\n" + WHOLE,
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + WHOLE,
    "bare line feeds": ok(WHOLE).replace(b"\r\n", b"\n"),
    "folded header": ok(WHOLE, "X: a\r\n b"),
    "upgrade": b"HTTP/1.1 101 Other\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + WHOLE,
    "short": ok(WHOLE)[:-1],
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("form", BROKEN)
async def test_malformed_answer_is_a_broken_node(tmp_path, driver, form):
    async with (
        RawNode(BROKEN[form], closes=True) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        answer = await served.client.post(CHAT, json=chat())
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "no_capacity"
        (charge,) = await served.charges(1)
        assert (charge.outcome, charge.charged_nano_usd) == (ChargeOutcome.NO_CAPACITY, 0)
        await eventually(lambda: node.open, lambda count: count == 0)
        assert await served.metric("tollgate_node_in_flight") == 0


async def test_connection_that_speaks_http_1_0_serves_one_request(tmp_path, driver):
    """RFC 9112, 6.1: it may keep alive and yet know nothing of chunks."""
    answer = ok(WHOLE, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")
    async with (
        RawNode(answer) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        for _ in range(2):
            assert (await served.client.post(CHAT, json=chat())).content == WHOLE
        assert node.connections == 2


@pytest.mark.parametrize("coding", [b"gzip", b"chunked\r\nTransfer-Encoding: gzip"])
async def test_stream_in_an_unknown_coding_is_not_passed_on(tmp_path, driver, coding):
    """Its framing would reach the client as if it were text."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %b\r\n\r\n" % coding
    async with (
        RawNode(head + STREAM) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        answer = await served.client.post(CHAT, json=chat(stream=True))
        assert answer.json()["error"]["code"] == "no_capacity"
        await eventually(lambda: node.open, lambda count: count == 0)


@pytest.mark.parametrize("lines", [b"", b"\r\n\r\n"])
async def test_length_behind_empty_lines_is_heeded(tmp_path, driver, lines):
    """A connection's end does not end an answer that has a length."""
    short = ok(WHOLE, "Connection: close")[:-1]
    async with (
        RawNode(lines + b"HTTP/1.1 103 Early\r\n\r\n" + lines + short, closes=True) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        answer = await served.client.post(CHAT, json=chat())
        assert answer.json()["error"]["code"] == "no_capacity"


@pytest.mark.parametrize(
    "more", [b"X", b"HTTP/1.1 200 OK\r\nContent-Len", ok(b"{}"), ok(b"evil" * 9)], ids=len
)
async def test_bytes_after_an_answer_never_become_the_next_one(tmp_path, driver, more):
    async with (
        RawNode(ok(WHOLE) + more, ok(WHOLE)) as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        for _ in range(2):
            answer = await served.client.post(CHAT, json=chat())
            assert (answer.status_code, answer.content) == (200, WHOLE)
        assert node.connections == 2


class Endless(RawNode):
    """Sends this for ever."""

    def __init__(self, beginning: bytes, again: bytes) -> None:
        super().__init__(beginning)
        self.again = again
        self.sent_bytes = 0

    async def _serve(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._answers[0])
        self.open += 1
        try:
            while True:
                writer.write(self.again)
                await writer.drain()
                self.sent_bytes += len(self.again)
        except ConnectionError:
            self.open -= 1
            writer.close()


@pytest.mark.parametrize(
    "node",
    [
        Endless(b"HTTP/1.1 200 OK\r\n", b"X-More: of the same\r\n" * 100),
        Endless(b"", b"HTTP/1.1 103 Early\r\n\r\n" * 100),
        Endless(CHUNKED + b"\r\n" + chunk(WHOLE) + b"0\r\n", b"X-More: of the same\r\n" * 100),
        Endless(CHUNKED + b"\r\n5;", b"extension" * 100),
    ],
    ids=["head", "interim answers", "trailers", "chunk extension"],
)
async def test_node_that_never_comes_to_the_point_is_cut_off(tmp_path, driver, node):
    async with node, serve(tmp_path, configuration([node]), driver=driver) as served:
        answer = await served.client.post(CHAT, json=chat())
        assert answer.status_code == 429
        await eventually(lambda: node.open, lambda count: count == 0)
        assert node.sent_bytes < 8 * 1024 * 1024  # what the kernel's buffers held


async def test_node_on_a_unix_socket(tmp_path, driver):
    async with (
        RawNode(ok(WHOLE), socket_path=tmp_path / "node.sock") as node,
        serve(tmp_path, configuration([node]), driver=driver) as served,
    ):
        for _ in range(2):
            assert (await served.client.post(CHAT, json=chat())).content == WHOLE
        assert node.connections == 1
        assert b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n" in node.requests[0]


async def test_node_behind_tls_is_verified_against_its_own_authority(tmp_path, driver, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "node.pem", authority / "node.key")
    async with RawNode(ok(WHOLE), tls=context) as node:
        trusting = configuration([node], node=f'ca_file = "{authority / "ca.pem"}"')
        homes = [tmp_path / "trusting", tmp_path / "not"]
        for home in homes:
            home.mkdir()
        async with serve(homes[0], trusting, driver=driver) as served:
            for _ in range(2):
                assert (await served.client.post(CHAT, json=chat())).content == WHOLE
            assert node.connections == 1
        async with serve(homes[1], configuration([node]), driver=driver) as served:
            assert (await served.client.post(CHAT, json=chat())).status_code == 429
        assert len(node.requests) == 2


async def test_connections_to_a_node_are_bounded_by_its_capacity(tmp_path, driver):
    async with RawNode(ok(WHOLE)) as node:
        config = configuration([node], capacity=4)
        async with serve(tmp_path, config, driver=driver) as served:
            answers = await asyncio.gather(
                *(served.client.post(CHAT, json=chat()) for _ in range(60))
            )
            statuses = [answer.status_code for answer in answers]
            assert set(statuses) <= {200, 429}
            assert 1 <= node.open_most <= 4
            assert node.connections <= 4
            assert len(await served.charges(statuses.count(200))) == statuses.count(200)


async def test_a_node_whose_host_is_none_fails_at_once(tmp_path, driver):
    node = NODE.format(index=0, url="http://a..b:1", engine="openai", capacity=4)
    config = parse(MODEL.format(server="") + node)
    async with serve(tmp_path, config, driver=driver) as served:
        answer = await asyncio.wait_for(served.client.post(CHAT, json=chat()), 10)
        assert answer.status_code >= 429
