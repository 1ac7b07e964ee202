"""Several processes on one port: what they serve adds up, and no death costs a charge."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from served import eventually, sample_sum
from together import (
    REDIS,
    WAIT_S,
    Together,
    children_of,
    command,
    lives,
    together,
    write_config,
)

from gateway.home import Home
from gateway.telemetry.reports import Report
from metering.charge import ChargeOutcome, ChargeRecord
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode
from serving.simulated_engine import Pace

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("redis")]
CHAT = "/v1/chat/completions"
TOKENS = 12
TWO = ("--workers", "2")


def chat(**fields) -> dict:
    hi = [{"role": "user", "content": "hi there"}]
    return {"model": "fake", "messages": hi, "max_tokens": TOKENS, **fields}


def books(home: Path) -> list[ChargeRecord]:
    """The finished charges; the ledger is whole, and nothing is set aside any more."""
    with contextlib.closing(SqliteLedger(home / "ledger.db")) as ledger:
        found = ledger.verify()
        assert found.ok, found.problem
        assert not any(line.balance.debits_pending for line in ledger.trial_balance())
        charges = list(ledger.charges())
    assert len({charge.charge_id for charge in charges}) == len(charges)
    return charges


def reports(home: Path) -> list[Report]:
    """What each worker said of itself last."""
    files = [Home(home).metrics_file(worker) for worker in range(2)]
    return [msgspec.msgpack.decode(file.read_bytes(), type=Report) for file in files]


def requests(report: Report) -> int:
    return sum(ended.requests for ended in report.counts.ended.values())


async def counted(running: Together) -> float | None:
    """The requests that ended, as whichever worker answers has them, if it does not die over it."""
    told = await running.once("/metrics")
    return None if told is None else sample_sum(told[1], "tollgate_requests_total", {})


async def ask(running: Together, answered: list[str]) -> bool:
    """Notes the request's id once its answer is whole; False if the connection broke."""
    told = await running.once(CHAT, chat())
    if told is None:
        return False
    head, answer = told
    assert json.loads(answer)["usage"]["completion_tokens"] == TOKENS
    answered.append(head.partition("x-request-id: ")[2].split()[0])
    return True


async def until_refused(running: Together) -> None:
    """Until nobody listens any more: the first signal has come to all."""
    await eventually(lambda: running.once("/healthz"), lambda told: told is None)


async def last_of(lines: AsyncIterator[str]) -> str:
    return [line async for line in lines][-1]


async def test_what_workers_serve_adds_up(tmp_path):
    async with FakeNode(pace=Pace(token_ms=4)) as node:
        write_config(tmp_path, [node])
        async with together(tmp_path, *TWO) as running:
            answered: list[str] = []
            for _ in range(4):
                assert all(await asyncio.gather(*(ask(running, answered) for _ in range(15))))
            for _ in range(8):  # whoever answers
                await eventually(lambda: counted(running), lambda count: count == 60)
            async with running.client.stream("POST", CHAT, json=chat(stream=True)) as last:
                running.signal(signal.SIGTERM)
                answered.append(last.headers["x-request-id"])
                assert (await last.aread()).endswith(b"[DONE]\n\n")
            assert await running.ended() == 0
        charges = books(tmp_path)
        assert sorted(charge.request_id for charge in charges) == sorted(answered)
        assert {charge.completion_tokens for charge in charges} == {TOKENS}
        shares = [requests(report) for report in reports(tmp_path)]
        assert min(shares) > 0
        assert sum(shares) == 61


async def test_kill_9_of_a_worker_loses_no_charge_and_lowers_no_counter(tmp_path):
    async with FakeNode(pace=Pace(token_ms=1)) as node:
        write_config(tmp_path, [node])
        async with together(tmp_path, *TWO) as running:
            answered: list[str] = []
            counts = [0.0]
            over = asyncio.Event()

            async def load() -> None:
                while not over.is_set():
                    await ask(running, answered)

            async def scrape() -> None:
                while not over.is_set():
                    if (count := await counted(running)) is not None:
                        counts.append(count)
                    await asyncio.sleep(0.02)

            async with asyncio.TaskGroup() as tasks:
                running_tasks = [tasks.create_task(load()) for _ in range(8)]
                running_tasks.append(tasks.create_task(scrape()))
                await eventually(lambda: len(answered), lambda count: count > 60)
                victim = reports(tmp_path)[1].pid
                assert victim in running.workers
                os.kill(victim, signal.SIGKILL)
                await eventually(
                    lambda: reports(tmp_path)[1].pid, lambda pid: pid != victim, within_s=30
                )
                served = requests(reports(tmp_path)[1])
                await eventually(lambda: requests(reports(tmp_path)[1]), lambda now: now > served)
                over.set()
            await running.end()
        assert len(counts) > 10
        assert counts == sorted(counts)
        charges = books(tmp_path)
        done = [charge for charge in charges if charge.outcome is ChargeOutcome.COMPLETED]
        assert set(answered) <= {charge.request_id for charge in done}
        assert {charge.completion_tokens for charge in done} == {TOKENS}
        assert len(charges) - len(answered) <= 8  # what was under way in the victim


async def test_a_worker_that_cannot_come_back_is_tried_again_while_others_serve(tmp_path):
    async with FakeNode() as node:
        write_config(tmp_path, [node])
        async with together(tmp_path, *TWO) as running:
            answered: list[str] = []
            await eventually(lambda: reports(tmp_path)[1].pid in running.workers, bool)
            victim = reports(tmp_path)[1].pid
            with (tmp_path / "spool-1" / "lock").open("rb") as lock:
                os.kill(victim, signal.SIGKILL)
                await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
                await eventually(lambda: running.workers_ever(), lambda ever: ever > 3)
                for _ in range(10):
                    assert await ask(running, answered)
            await eventually(
                lambda: reports(tmp_path)[1].pid, lambda pid: pid != victim, within_s=30
            )
            await running.end()
        assert len(books(tmp_path)) == 10


async def test_kill_9_of_the_supervisor_drains_its_workers(tmp_path):
    async with FakeNode(pace=Pace(token_ms=5)) as node:
        write_config(tmp_path, [node])
        async with together(tmp_path, *TWO) as running:
            asked = chat(stream=True, max_tokens=100, ignore_eos=True)
            async with running.client.stream("POST", CHAT, json=asked) as last:
                running.signal(signal.SIGKILL)
                assert (await last.aread()).endswith(b"[DONE]\n\n")
            assert await running.ended() == -signal.SIGKILL
        (charge,) = books(tmp_path)
        assert charge.completion_tokens == 100


def test_kill_9_of_the_supervisor_ends_a_worker_that_has_not_begun(tmp_path):
    write_config(tmp_path, [])
    deadline = time.monotonic() + WAIT_S
    with subprocess.Popen(command(tmp_path, *TWO), stdout=subprocess.DEVNULL) as supervisor:
        try:
            while not (children := children_of(supervisor.pid)):
                assert supervisor.poll() is None
                assert time.monotonic() < deadline
        finally:
            supervisor.kill()
    while lives(children[0]):
        assert time.monotonic() < deadline


async def test_fewer_workers_book_what_the_absent_ones_left(tmp_path):
    async with FakeNode(pace=Pace(token_ms=20)) as node, contextlib.AsyncExitStack() as streams:
        write_config(tmp_path, [node])
        async with together(tmp_path, *TWO) as running:
            asked = chat(stream=True, max_tokens=1000, ignore_eos=True)
            for _ in range(16):
                stream = running.client.stream("POST", CHAT, json=asked)
                await streams.enter_async_context(stream)
            running.signal(signal.SIGKILL)
            for pid in running.workers:
                os.kill(pid, signal.SIGKILL)
            await running.ended()
        async with together(tmp_path, "--workers", "1", secret=running.secret) as alone:
            answered: list[str] = []
            assert await ask(alone, answered)
            await alone.end()
        charges = books(tmp_path)
        assert len(charges) == 17
        outcomes = [charge.outcome for charge in charges]
        assert outcomes.count(ChargeOutcome.GATEWAY_CRASH) == 16


async def test_a_second_signal_cuts_and_charges_what_was_delivered(tmp_path):
    async with FakeNode(pace=Pace(token_ms=100)) as node:
        write_config(tmp_path, [node])
        async with together(tmp_path, *TWO) as running:
            asked = chat(stream=True, max_tokens=1500, ignore_eos=True)
            async with running.client.stream("POST", CHAT, json=asked) as last:
                lines = last.aiter_lines()
                for _ in range(20):
                    await anext(lines)
                running.signal(signal.SIGTERM)
                await until_refused(running)
                running.signal(signal.SIGINT)
                with pytest.raises(httpx.TransportError):
                    await last_of(lines)
            assert await running.ended() == 0
        (charge,) = books(tmp_path)
        assert charge.outcome is ChargeOutcome.CLIENT_GONE
        assert 10 <= charge.completion_tokens < 1000


def refusal(home: Path, *arguments: str) -> str:
    return refused(command(home, *arguments))


def refused(command: list[str]) -> str:
    """The one line of a start that fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    lines = [line for line in done.stderr.splitlines() if line.startswith("tollgate serve: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_without_redis_several_workers_are_refused(tmp_path):
    write_config(tmp_path, [], more="")
    said = refusal(tmp_path, *TWO)
    assert "2 workers" in said
    assert "[redis] url_env" in said
    write_config(tmp_path, [], server="workers = 3", more="")
    assert "3 workers" in refusal(tmp_path)
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize("shares", [0, 1])
def test_a_port_in_use_is_refused(tmp_path, shares):
    write_config(tmp_path, [])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shares)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refusal(tmp_path, *TWO, "--port", str(port))
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in said


def test_what_only_a_worker_finds_wrong_ends_the_start(tmp_path):
    node = '[[node]]\nid = "n"\nsupplier = "s"\nurl = "http://127.0.0.1:1"\nmodel = "fake"\n'
    write_config(tmp_path, [], more=REDIS + node + 'api_key_env = "TOLLGATE_TEST_NO_SUCH_KEY"\n')
    assert "TOLLGATE_TEST_NO_SUCH_KEY is empty" in refusal(tmp_path, *TWO)


def test_a_worker_that_cannot_even_start_is_told(tmp_path):
    write_config(tmp_path, [])
    program = "import sys; sys.executable = 'no/python'; from gateway.cli import main; main()"
    said = refused([sys.executable, "-c", program, *command(tmp_path, *TWO)[3:]])
    assert "worker 0 cannot be started: [Errno 2]" in said
