"""`tollgate up`, whole: real Ray, real vLLM, real gateway."""

import json
import os
import signal
import stat
import subprocess
from pathlib import Path

from up_stack import Stack, get, wait_until

from serving.demo_corpus import CORPUS
from serving.process_table import is_alive


def test_up_json_says_where_everything_is(stack: Stack) -> None:
    state = stack.state
    assert state["base_url"] == f"http://127.0.0.1:{stack.port}/v1"
    assert state["model"] == "tollgate-demo"
    assert state["pid"] == stack.process.pid
    assert is_alive(int(state["gateway_pid"]))
    assert state["api_key"] == (stack.home / "api_key").read_text().strip()
    assert state["admin_key"] == (stack.home / "admin_key").read_text().strip()
    assert b"tollgate_" in get(str(state["metrics_url"]))
    for name in ("up.json", "api_key", "admin_key"):
        assert stat.S_IMODE((stack.home / name).stat().st_mode) == 0o600


def test_the_printed_curl_line_answers_a_readable_sentence(stack: Stack) -> None:
    done = subprocess.run(
        ["sh", "-c", stack.curl_line], capture_output=True, timeout=30.0, check=True
    )
    answer = json.loads(done.stdout)["choices"][0]["message"]["content"]
    assert answer in {topic.answer for topic in CORPUS.topic}
    assert answer.startswith("Tollgate is an OpenAI-compatible gateway")


def test_a_second_up_on_the_same_home_is_refused_and_touches_nothing(stack: Stack) -> None:
    before = (stack.home / "up.json").read_bytes()
    second = subprocess.run(
        stack.command(), capture_output=True, text=True, timeout=60.0, check=False
    )
    assert second.returncode == 1
    assert f"pid {stack.process.pid}" in second.stdout
    assert str(stack.state["base_url"]) in second.stdout
    assert (stack.home / "up.json").read_bytes() == before
    assert stack.process.poll() is None


def test_discovery_lists_the_replica_at_its_own_port(stack: Stack) -> None:
    (record,) = stack.nodes()
    assert record.model == "tollgate-demo"
    served = json.loads(get(f"{record.url}/v1/models"))["data"][0]
    assert served["id"] == "tollgate-demo"
    assert served["max_model_len"] == 4096


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    sockets = {socket for pid in [stack.process.pid, *stack.left()] for socket in _sockets(pid)}
    table = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    listening = {row[1] for row in table if row[3] == "0A" and row[9] in sockets}
    assert listening
    # 127.0.0.1 as the kernel prints it, and the same mapped into IPv6.
    loopback = ("0100007F:", "0000000000000000FFFF00000100007F:")
    assert [address for address in listening if not address.startswith(loopback)] == []


def test_a_killed_gateway_is_started_again(stack: Stack) -> None:
    killed = stack.gateway_pid()
    os.kill(killed, signal.SIGKILL)
    wait_until("another gateway", lambda: stack.gateway_pid() != killed, 60.0)
    wait_until("the gateway to serve", stack.serves, 10.0)
    assert "the gateway has ended" in stack.output


def _sockets(pid: int) -> set[str]:
    """Inode numbers of the sockets that a process has open."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found
