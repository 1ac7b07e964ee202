"""`tollgate node run` against a gateway: listed, called through its own door, drained."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from held_port import held_port
from served import MODEL, Served, eventually, serve

from gateway.cli import main
from gateway.config import parse
from gateway.enrolment.enrolment import invitation
from gateway.enrolment.node import Terms
from gateway.enrolment.node_store import NodeStore
from metering.backend import open_database
from metering.gpu_time_store import GpuTimeStore
from serving.enrolment.key_files import write_secret
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = pytest.mark.anyio
GATEWAY = "gw.example"
ENROLMENT = f'[enrolment]\nauthority = "{GATEWAY}"\nlease_s = 3\n'
WAIT_S = 120
CHAT = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}


class Node:
    """The process, the port of its door, its folder and its id."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path, port: int) -> None:
        self.process = process
        self.home = home
        self.port = port

    @property
    def node_id(self) -> str:
        return json.loads((self.home / "enrolled.json").read_text())["node_id"]

    async def says(self, words: str) -> str:
        """Its next line with these words."""
        while True:
            assert self.process.stdout is not None
            line = await asyncio.wait_for(self.process.stdout.readline(), WAIT_S)
            assert line, f"the node ended before it said {words!r}"
            if words in line.decode():
                return line.decode()

    async def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), WAIT_S)


def invited(home: Path, supplier: str = "alice") -> str:
    now_ns = time.time_ns()
    secret, made = invitation(Terms(supplier_id=supplier, region="eu"), now_ns + 60 * 10**9)
    with nodes_of(home) as store:
        store.invite(made, now_ns)
    return secret


def prepare(home: Path, served: Served, secret: str = "") -> None:
    home.mkdir(exist_ok=True)
    if not (home / "invitation").exists():
        (home / "invitation").write_text(secret or invited(served.home))


@contextlib.contextmanager
def nodes_of(home: Path):
    with contextlib.closing(open_database(home / "ledger.db")) as database:
        yield NodeStore(database)


@contextlib.asynccontextmanager
async def node_run(served: Served, engine: FakeNode, home: Path, *more: str) -> AsyncIterator[Node]:
    prepare(home, served)
    port = held_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "node", "run", "--gateway", served.base_url),
        *("--authority", GATEWAY, "--invitation-file", str(home / "invitation")),
        *("--engine-url", engine.url, "--model", "fake", "--listen", f"127.0.0.1:{port}"),
        *("--home", str(home), *more),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Node(process, home, port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@contextlib.asynccontextmanager
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(tmp_path, parse(MODEL.format(server="") + ENROLMENT)) as served:
        yield served


async def answered(served: Served) -> httpx.Response:
    """The answer to a chat, once there is a node for it."""
    return await eventually(
        lambda: served.client.post("/v1/chat/completions", json=CHAT),
        lambda answer: answer.status_code == 200,
        within_s=WAIT_S,
    )


async def test_its_time_counts_by_checks_through_its_own_door(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.enrolment.attendance.ROUND_S", 0.1)
    async with (
        FakeNode() as engine,
        gateway(tmp_path) as served,
        node_run(served, engine, tmp_path / "node") as node,
    ):
        await node.says("listed")
        with contextlib.closing(open_database(served.home / "ledger.db")) as database:
            NodeStore(database).set_terms(node.node_id, time.time_ns(), gpu="L4", gpus=8)
            times = GpuTimeStore(database)
            (counted,) = await eventually(lambda: times.over(0), bool, within_s=WAIT_S)
    assert (counted.supplier_id, counted.gpu_class) == ("alice", "L4")
    assert {request.path for request in engine.received} == {"/v1/chat/completions"}


async def test_it_enrols_serves_through_its_own_door_and_drains(tmp_path):
    async with (
        FakeNode(pace=Pace(ttft_ms=2, token_ms=20)) as engine,
        gateway(tmp_path) as served,
        node_run(served, engine, tmp_path / "node") as node,
    ):
        await node.says("is listed")
        audit = CliRunner().invoke(main, ["node", "audit", "--home", str(served.home)])
        assert "leased" in audit.output
        assert "CERTIFICATE" not in audit.output
        await answered(served)
        (charge,) = await served.charges(1)
        assert (charge.node_id, charge.supplier_id) == (node.node_id, "alice")
        body = {**CHAT, "max_tokens": 60, "ignore_eos": True, "stream": True}
        async with served.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            parts = answer.aiter_bytes()
            told = await anext(parts)
            node.process.send_signal(signal.SIGTERM)
            told += b"".join([part async for part in parts])
        assert told.endswith(b"data: [DONE]\n\n")
        assert await asyncio.wait_for(node.process.wait(), WAIT_S) == 0
        refused = await eventually(
            lambda: served.client.post("/v1/chat/completions", json=CHAT),
            lambda answer: answer.status_code != 200,
        )
        assert refused.status_code == 429
        assert len(await served.charges(2)) == 2


async def test_its_door_lets_in_the_gateway_and_nobody_else(tmp_path):
    async with (
        FakeNode() as engine,
        gateway(tmp_path) as served,
        node_run(served, engine, tmp_path / "node") as node,
    ):
        await node.says("is listed")
        await answered(served)
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname = False
        anybody.verify_mode = ssl.CERT_NONE
        another = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        another.check_hostname = False
        another.verify_mode = ssl.CERT_NONE
        another.load_cert_chain(tmp_path / "node" / "node_identity.pem")
        for context in (anybody, another):
            async with httpx.AsyncClient(verify=context) as client:
                with pytest.raises(httpx.TransportError):
                    await client.get(f"https://127.0.0.1:{node.port}/health")


async def test_one_that_is_revoked_gets_nothing_more_and_ends(tmp_path):
    async with (
        FakeNode() as engine,
        gateway(tmp_path) as served,
        node_run(served, engine, tmp_path / "one") as one,
        node_run(served, engine, tmp_path / "two") as two,
    ):
        await one.says("is listed")
        await two.says("is listed")
        with nodes_of(served.home) as store:
            store.revoke(one.node_id, "test", time.time_ns())
        assert await asyncio.wait_for(one.process.wait(), WAIT_S) == 1
        for _ in range(4):
            await answered(served)
        charges = (await served.charges(4))[-4:]
        assert {charge.node_id for charge in charges} == {two.node_id}


async def test_it_comes_back_by_the_same_key_and_goes_on_with_a_new_one(tmp_path):
    async with FakeNode() as engine, gateway(tmp_path) as served:
        async with node_run(served, engine, tmp_path / "node") as node:
            await node.says("is listed")
            first = node.node_id
            node.process.kill()
        old = (tmp_path / "node" / "node_key").read_bytes()
        await rotate(served, tmp_path / "node")
        new = tmp_path / "node" / "node_key"
        new.rename(tmp_path / "node" / "node_key.next")  # as if it had ended before its answer came
        write_secret(new, old)
        await rotate(served, tmp_path / "node")
        async with node_run(served, engine, tmp_path / "node") as node:
            await node.says("is listed")
            assert node.node_id == first
            await answered(served)


async def rotate(served: Served, home: Path) -> None:
    rotation = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "node", "rotate", "--gateway", served.base_url),
        *("--authority", GATEWAY, "--home", str(home)),
    )
    assert await asyncio.wait_for(rotation.wait(), WAIT_S) == 0


async def test_it_says_what_is_wrong_and_what_to_do(tmp_path):
    async with FakeNode() as engine, gateway(tmp_path) as served:
        prepare(tmp_path / "node", served, "invite-" + "x" * 40)
        async with node_run(served, engine, tmp_path / "node") as node:
            assert await asyncio.wait_for(node.process.wait(), WAIT_S) == 1
        with nodes_of(served.home) as store:
            refused = await eventually(lambda: store.audit(limit=9), bool)
        assert [(entry.action, entry.detail) for _, entry in refused] == [("refused", "invitation")]
        audit = CliRunner().invoke(main, ["node", "audit", "--home", str(served.home)])
        assert "refused" in audit.output
        assert audit.exit_code == 0
