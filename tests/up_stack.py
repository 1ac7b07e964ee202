"""A running `tollgate up`, and what the end-to-end tests ask of it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from router.types import NodeRecord
from serving.child_process import log_tail
from serving.process_table import owned_by
from serving.ray_dashboard import RayDashboard
from serving.ray_discovery import RayDiscovery

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0
# Guards give a tree ten seconds to end well.
KILLED_TIMEOUT_S = 30.0
LEDGER_TIMEOUT_S = 20.0


class EngineTokens(NamedTuple):
    """vLLM's own counters."""

    prompt: int
    generation: int


def wait_until(
    what: str,
    check: Callable[[], object],
    within_s: float,
    explain: Callable[[], str] = lambda: "",
) -> None:
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, f"waited {within_s:g} s for {what}\n{explain()}"
        time.sleep(0.05)


def stays_open() -> str:
    """An ide.toml whose epochs no test lives to see the end of."""
    return "epoch_s = 31_536_000\n"


def get(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10.0) as answer:
        return bytes(answer.read())


class Stack:
    """`tollgate up` as a child, with everything it says and writes."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.home / "up.out").open("wb") as output:
            return subprocess.Popen(
                self.command(), cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
            )

    def command(self) -> list[str]:
        up = [sys.executable, "-m", "gateway", "up"]
        return [*up, "--home", str(self.home), "--port", str(self.port)]

    def start_again(self) -> None:
        self.process = self._start()

    def wait_until_serving(self) -> None:
        wait_until(
            "`tollgate up` to serve",
            lambda: (self.home / "up.json").exists() or self.process.poll() is not None,
            START_TIMEOUT_S,
            lambda: f"{self.output}\n{log_tail(self.home / 'logs' / 'gateway.log')}",
        )
        assert self.process.poll() is None, self.output

    def kill(self) -> None:
        """`kill -9` of the supervisor; fails if anything of it lives on."""
        self.process.kill()
        self.process.wait()
        wait_until("a killed `up` to leave nothing", lambda: not self.left(), KILLED_TIMEOUT_S)

    def stop(self) -> int:
        """SIGTERM to the supervisor; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)

    def left(self) -> list[int]:
        """Processes that were started for this home and live."""
        return owned_by(str(self.home))

    @property
    def output(self) -> str:
        return (self.home / "up.out").read_text()

    @property
    def curl_line(self) -> str:
        (line,) = re.findall(r"^curl .*$", self.output, re.MULTILINE)
        return str(line)

    @property
    def state(self) -> dict[str, Any]:
        """up.json as it is now."""
        state: dict[str, Any] = json.loads((self.home / "up.json").read_text())
        return state

    @property
    def base_url(self) -> str:
        return str(self.state["base_url"])

    @property
    def metrics_url(self) -> str:
        return str(self.state["metrics_url"])

    @property
    def api_key(self) -> str:
        return str(self.state["api_key"])

    @property
    def model(self) -> str:
        return str(self.state["model"])

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"}

    def gateway_pid(self) -> int:
        return int(self.state["gateway_pid"])

    def kill_gateway(self) -> None:
        """`kill -9`, and until the next one serves."""
        killed = self.gateway_pid()
        os.kill(killed, signal.SIGKILL)
        self.eventually(lambda: self.gateway_pid() != killed and self.serves(), within_s=60)

    def serves(self) -> bool:
        try:
            return bool(json.loads(get(f"http://127.0.0.1:{self.port}/readyz"))["ready"])
        except OSError:
            return False

    def nodes(self) -> list[NodeRecord]:
        """What discovery finds, as the gateway does."""
        ray = tomllib.loads((self.home / "serve.toml").read_text())["ray"]
        dashboard = RayDashboard(ray["dashboard_url"], Path(ray["token_file"]))
        return asyncio.run(RayDiscovery(dashboard).poll()).records

    def engine_tokens(self) -> EngineTokens:
        return EngineTokens(
            prompt=self._engine_metric("vllm:prompt_tokens_total"),
            generation=self._engine_metric("vllm:generation_tokens_total"),
        )

    def engine_running(self) -> int:
        return self._engine_metric("vllm:num_requests_running")

    def _engine_metric(self, name: str) -> int:
        (node,) = self.nodes()
        samples = re.findall(
            rf"^{name}\{{[^}}]*\}} (\S+)$", get(f"{node.url}/metrics").decode(), re.MULTILINE
        )
        assert samples, f"vLLM has no metric {name}"
        return int(sum(float(sample) for sample in samples))

    def tollgate(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self._run(*arguments))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments, "--home", str(self.home)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60.0,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def usage(self) -> list[dict[str, Any]]:
        """All charges in the ledger, oldest first."""
        return [json.loads(line) for line in self._run("usage", "--json").splitlines()]

    def charged(self) -> int:
        """How many charges there are, once those of all that ended are in the ledger."""
        wait_until("the spool to be booked", self._booked, LEDGER_TIMEOUT_S)
        return len(self.usage())

    def _booked(self) -> bool:
        told = get(self.metrics_url).decode()
        return re.search(r"^tollgate_spool_backlog_rows 0\.0$", told, re.MULTILINE) is not None

    def paid_since(self, before: int) -> list[dict[str, Any]]:
        """Of the charges after the first `before` those that cost something."""
        return [charge for charge in self.usage()[before:] if charge["cost_nano_usd"]]

    def usage_after(self, before: int, count: int) -> list[dict[str, Any]]:
        """The charges after the first `before`, once there are `count`; more are a failure."""
        wait_until(
            f"{count} charges in the ledger",
            lambda: len(self.usage()) >= before + count,
            LEDGER_TIMEOUT_S,
        )
        charges = self.usage()[before:]
        assert len(charges) == count
        return charges

    def settle(self) -> Any:
        return self.tollgate("settle", "run", "--io-price", "2.5", "--json")

    def trial_balance(self) -> dict[str, int]:
        """What each account holds, credits less debits."""
        accounts = self.tollgate("ledger", "trial-balance", "--json")["accounts"]
        return {
            line["account"]: line["credits_posted"] - line["debits_posted"] for line in accounts
        }

    @staticmethod
    def eventually(check: Callable[[], object], within_s: float) -> None:
        wait_until("what the test waits for", check, within_s)
