"""The log of a gateway that runs: JSON lines with request ids, and nothing of what was said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from served import open_account
from together import command, write_config

from serving.fake_faults import Fault
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ADMIN_KEY = "sk-tg-admin-Zw7planted0123456789"
PROMPT, FIELD, MODEL = "Planted-prompt-4711", "planted_field_4712", "planted-model-4713"
LOG = (
    '[log]\nformat = "json"\nlevel = "debug"\naccess_one_in = {one_in}\n[redis]\nurl = "{redis}"\n'
)


class Running:
    def __init__(self, client: httpx.AsyncClient, secret: str, log: Path) -> None:
        self.client = client
        self.secret = secret
        self._log = log

    @property
    def text(self) -> str:
        return self._log.read_text()

    def lines(self) -> list[dict]:
        """Each must be an object with what every line has."""
        told = [json.loads(line) for line in self.text.splitlines()]
        assert all({"time", "level", "logger", "message"} <= set(line) for line in told)
        return told

    def requests(self) -> list[dict]:
        return [line for line in self.lines() if line["logger"] == "tollgate.access"]


@contextlib.asynccontextmanager
async def running(home: Path, node: FakeNode, redis, *, one_in: int, workers: int = 1):
    """The real command; its stderr is the log. Stopped in order at the end."""
    (home / "admin_key").write_text(ADMIN_KEY)
    write_config(home, [node], more=LOG.format(one_in=one_in, redis=redis.url))
    secret, log = open_account(home, "1"), home / "log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command(home, "--workers", str(workers)),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    assert process.stdout is not None
    try:
        said = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        assert said.startswith("Serving "), log.read_text()
        base_url = said.split()[1].removesuffix("/v1")
        async with httpx.AsyncClient(base_url=base_url, timeout=20) as client:
            yield Running(client, secret, log)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def whole_run(tmp_path, redis) -> AsyncIterator[tuple[Running, list[str]]]:
    """Everything there is to say, said; and the answers' texts. The gateway has ended."""
    async with FakeNode() as node:
        async with running(tmp_path, node, redis, one_in=1, workers=2) as gateway:
            answers = await _said(gateway, node)
        yield gateway, answers


async def _said(gateway: Running, node: FakeNode) -> list[str]:
    client = gateway.client
    customer = {"authorization": f"Bearer {gateway.secret}"}
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    asked = {"model": "fake", "max_tokens": 30, "messages": [{"role": "user", "content": PROMPT}]}
    answers = []
    for _ in range(4):  # both workers
        answer = await client.post(CHAT, json=asked, headers=customer)
        answers.append(answer.json()["choices"][0]["message"]["content"])
    streamed = asked | {"stream": True}
    assert (await client.post(CHAT, json=streamed, headers=customer)).status_code == 200
    answer = await client.post("/v1/messages", json=asked, headers={"x-api-key": gateway.secret})
    assert answer.status_code == 200
    responses = {"model": "fake", "input": PROMPT}
    assert (await client.post("/v1/responses", json=responses, headers=customer)).status_code == 200
    wrong = [asked | {FIELD: PROMPT}, asked | {"model": MODEL}, asked | {"temperature": PROMPT}]
    for body in wrong:
        assert (await client.post(CHAT, json=body, headers=customer)).status_code in (400, 404)
    garbage = f'{{"model": "{PROMPT}'.encode()
    assert (await client.post(CHAT, content=garbage, headers=customer)).status_code == 400
    stranger = {"authorization": f"Bearer sk-tg-{PROMPT}"}
    assert (await client.post(CHAT, json=asked, headers=stranger)).status_code == 401
    for path in ("/v1/models", "/v1/usage", f"/admin/v1/accounts/{PROMPT}", f"/{PROMPT}"):
        assert (await client.get(path, headers=stranger)).status_code in (401, 403, 404)
    made = await client.post("/admin/v1/keys", json={"account": "acme"}, headers=admin)
    answers.append(made.json()["api_key"])
    for fault in (Fault(status=500), Fault(status=400), Fault(garbage=True)):
        await node.inject(fault)
        assert (await client.post(CHAT, json=asked, headers=customer)).status_code >= 400
    await node.inject(Fault(end_after_events=3))
    await client.post(CHAT, json=streamed, headers=customer)
    await node.inject(Fault())
    assert (await client.get(f"/v1/files/{PROMPT}", headers=customer)).status_code == 404
    return answers


async def test_a_whole_run_leaves_no_secret_in_the_log(whole_run) -> None:
    gateway, answers = whole_run
    text = gateway.text
    planted = [PROMPT, FIELD, MODEL, ADMIN_KEY, gateway.secret, *filter(None, answers)]
    assert all(len(each) > 8 for each in planted)
    assert [each for each in planted if each in text] == []
    told = gateway.requests()
    assert {line["message"] for line in told} == {"request", "refused"}
    assert {line["worker"] for line in told} <= {0, 1}
    assert all(line["request_id"].startswith("req") for line in told), told
    outcomes = {line["outcome"] for line in told if line["message"] == "request"}
    assert {"completed", "node_error", "node_broken"} <= outcomes
    assert {400, 401, 404} <= {line["status"] for line in told if line["message"] == "refused"}
    stopped = [line.get("worker") for line in gateway.lines() if line["message"] == "stopped"]
    assert sorted(stopped) == [0, 1], "a stop in order says so"
    (first, *_) = (line for line in told if line.get("outcome") == "completed")
    assert first["account"] == "acme"
    assert first["completion_tokens"] > 0
    assert first["cost_nano_usd"] > 0


async def test_a_line_has_the_id_that_the_client_got(tmp_path, redis) -> None:
    async with FakeNode() as node, running(tmp_path, node, redis, one_in=1) as gateway:
        asked = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {gateway.secret}"}
        ids = []
        for body in (asked, asked | {"stream": True}, asked | {"model": "none"}):
            answer = await gateway.client.post(CHAT, json=body, headers=headers)
            ids.append(answer.headers["x-request-id"])
    assert [line["request_id"] for line in gateway.requests()] == ids


async def test_of_what_goes_well_one_in_so_many_is_told_and_every_failure(tmp_path, redis) -> None:
    async with FakeNode() as node, running(tmp_path, node, redis, one_in=5) as gateway:
        asked = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {gateway.secret}"}
        for _ in range(11):
            await gateway.client.post(CHAT, json=asked, headers=headers)
        for _ in range(2):
            await node.inject(Fault(status=500))
            await gateway.client.post(CHAT, json=asked, headers=headers)
    told = [line["outcome"] for line in gateway.requests() if line["message"] == "request"]
    assert told.count("completed") == 3
    assert told.count("node_error") >= 1


async def test_without_an_access_log_requests_leave_no_line(tmp_path, redis) -> None:
    async with FakeNode() as node, running(tmp_path, node, redis, one_in=0) as gateway:
        asked = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"authorization": f"Bearer {gateway.secret}"}
        for body in (asked, asked | {"model": "none"}):
            await gateway.client.post(CHAT, json=body, headers=headers)
    assert gateway.requests() == []
    assert gateway.lines(), "the gateway's own lines are JSON too"
