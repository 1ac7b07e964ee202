"""The supervisor behind `tollgate up`: engine and gateway of one machine, started, watched, ended.

    start:  lock the home, end what a killed supervisor left, check port and memory,
            account and key, engine, gateway, up.json
    watch:  a gateway or an engine that ends is started again, later each time
    stop:   gateway (it drains its open streams), engine, up.json; a second signal skips waiting

Children run under guards (`serving/guard.py`): should this process be killed, they end themselves.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import msgspec

from gateway.config import ConfigError, load
from gateway.home import Home
from gateway.up import files
from gateway.up.files import UpState
from gateway.up.screen import Screen
from metering.ledger import LedgerError
from serving import process_table
from serving.child_process import ChildProcess, log_tail
from serving.engine_spec import EngineSpec, memory_bytes
from serving.free_ports import LOOPBACK, free_ports, is_free
from serving.local_engine import EngineAddress, LocalEngine, Phase, ProcessEngine, RayEngine
from serving.model_files import DEMO_MODEL_NAME
from serving.ray_app import Pool

POLL_S = 0.25
ENGINE_START_TIMEOUT_S = 1800.0  # a large model on a slow disk; the person sees what it does
GATEWAY_START_TIMEOUT_S = 60.0
# The gateway's own drain deadline is 30 s; a little more, so that it ends by itself.
GATEWAY_GRACE_S = 35.0
RESTART_DELAYS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_S = 60.0  # a child that ran this long has earned a quick restart
MIB = 1 << 20
# A CPU replica needs 2.0 GiB besides model and KV cache, Ray 1 GiB more (both measured).
ENGINE_BYTES = 2048 * MIB
RAY_BYTES = 1024 * MIB


class UpError(Exception):
    """A start that failed: what was wrong, the log that tells more, what to do."""

    def __init__(self, message: str, log: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.log = log
        self.advice = advice


class StoppedError(Exception):
    """A signal asked for the end during the start."""


class UpOptions(msgspec.Struct, frozen=True, kw_only=True):
    home: Home
    port: int
    spec: EngineSpec
    ray: bool
    as_json: bool = False

    @property
    def origin(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


class Supervisor:
    def __init__(self, options: UpOptions, screen: Screen) -> None:
        self._options = options
        self._home = options.home
        self._screen = screen
        self._signals = 0
        self._wake = threading.Event()
        self._engine: LocalEngine | None = None
        self._gateway: ChildProcess | None = None
        self._secrets = ("", "")
        self._engine_port = free_ports(1)[0]  # kept over restarts: the gateway knows it
        self._address: EngineAddress | None = None
        self._failures = {"engine": 0, "gateway": 0}

    def run(self) -> int:
        """Serves until a signal; returns the exit code. The caller holds the home's lock."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._prepare()
            self._start_engine()
            self._start_gateway()
            self._announce()
            self._watch()
        except StoppedError:
            self._screen.say("stopping")
        except UpError as error:
            self._screen.fail(str(error), error.log, error.advice)
            return 1
        finally:
            self._stop()
        return 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        self._wake.set()

    def _prepare(self) -> None:
        """Everything that can be found wrong before something is started."""
        self._end_leftovers()
        if not is_free(self._options.port):
            raise UpError(
                f"port {self._options.port} on {LOOPBACK} is taken by another program",
                advice="Take another one: tollgate up --port N",
            )
        self._check_memory()
        files.ensure_config(self._home, self._options.spec, self._options.port)
        ledger = self._check_config()
        try:
            api_key = files.ensure_demo_account(self._home, ledger)
        except LedgerError as error:
            raise UpError(str(error)) from None
        self._secrets = (api_key, files.ensure_admin_key(self._home))

    def _end_leftovers(self) -> None:
        self._home.up_file.unlink(missing_ok=True)
        pids = process_table.owned_by(str(self._home.path))
        if not pids:
            return
        with self._screen.step(f"ending {len(pids)} processes of an earlier run that was killed"):
            left = process_table.end(pids, grace_s=10.0)
        if left:
            raise UpError(
                f"processes {left} of an earlier run do not end", advice="End them first."
            )

    def _check_memory(self) -> None:
        spec = self._options.spec
        weights = sum(f.stat().st_size for f in Path(spec.model_path).glob("*.safetensors"))
        needed = ENGINE_BYTES + memory_bytes(spec) + 2 * weights
        needed += RAY_BYTES if self._options.ray else 0
        available = process_table.memory_available_bytes()
        if available < needed:
            self._screen.say(
                f"warning: {available // MIB} MiB of memory are free and about {needed // MIB} MiB "
                "are needed; the engine may be killed. Close something"
                + (" or use --no-ray (1 GiB less)." if self._options.ray else ".")
            )

    def _check_config(self) -> Path | str:
        """Where the ledger is."""
        path, model = self._home.config_file, self._options.spec.served_name
        try:
            config = load(path)
            where = config.ledger.where(self._home)
        except ConfigError as error:
            raise UpError(
                str(error), advice=f"Correct it, or remove {path} for a new one."
            ) from None
        models = [configured.id for configured in config.model]
        if model not in models:
            raise UpError(
                f"{path} prices no model {model!r}, only {', '.join(models)}",
                advice=f"Add a [[model]] with id = {model!r}, or take another --home.",
            )
        return where

    def _start_engine(self) -> None:
        kind = RayEngine if self._options.ray else ProcessEngine
        with self._screen.step("starting Ray" if self._options.ray else "starting vLLM") as step:
            if not is_free(self._engine_port):
                self._engine_port = free_ports(1)[0]
            engine = kind(self._options.spec, Pool(), home=self._home.path, port=self._engine_port)
            self._engine = engine
            deadline_s = time.monotonic() + ENGINE_START_TIMEOUT_S
            while (progress := engine.progress()).phase is not Phase.SERVING:
                if progress.phase is Phase.FAILED or time.monotonic() > deadline_s:
                    raise UpError(
                        f"{progress.step}: {progress.detail or 'see its log'}",
                        engine.log_tail(),
                        f"The whole log: {engine.process.log}",
                    )
                step.update(progress.step)
                self._pause()
            step.update(progress.step)
        address = engine.address()
        files.write_serve_config(self._home, address)
        if self._gateway is not None and address != self._address:
            self._gateway.terminate()  # it comes back and reads where the engine is now
        self._address = address

    def _start_gateway(self) -> None:
        port = self._options.port
        command = [sys.executable, "-m", "gateway", "serve", "--home", str(self._home.path)]
        command += ["--config", str(self._home.up_config_file), "--port", str(port)]
        with self._screen.step("starting the gateway"):
            self._gateway = gateway = ChildProcess(
                "gateway",
                command,
                owner=str(self._home.path),
                log=self._home.path / "logs" / "gateway.log",
                env={"PYTHONPATH": str(Path(__file__).parents[2])},
                grace_s=GATEWAY_GRACE_S,
                # The engine dies with this process too: a gateway that drained would only see its
                # streams fail. Killed, it bills them at the next start as far as was recorded.
                kill_orphan=True,
            )
            deadline_s = time.monotonic() + GATEWAY_START_TIMEOUT_S
            while not _answers(f"{self._options.origin}/readyz"):
                if gateway.poll() is not None or time.monotonic() > deadline_s:
                    raise UpError(
                        "the gateway does not serve",
                        log_tail(gateway.log),
                        f"The whole log: {gateway.log}",
                    )
                self._pause()
        self._write_state(gateway.pid)

    def _write_state(self, gateway_pid: int) -> None:
        api_key, admin_key = self._secrets
        files.write_state(
            self._home,
            UpState(
                base_url=f"{self._options.origin}/v1",
                api_key=api_key,
                admin_key=admin_key,
                model=self._options.spec.served_name,
                metrics_url=f"{self._options.origin}/metrics",
                pid=os.getpid(),
                gateway_pid=gateway_pid,
            ),
        )

    def _announce(self) -> None:
        if self._options.as_json:
            state = json.loads(self._home.up_file.read_text(encoding="utf-8"))
            sys.stdout.write(json.dumps(state) + "\n")
            sys.stdout.flush()
        model, (api_key, _) = self._options.spec.served_name, self._secrets
        demo = " (a demo: it recites a few answers)" if model == DEMO_MODEL_NAME else ""
        origin, home = self._options.origin, self._home
        body = json.dumps(
            {"model": model, "messages": [{"role": "user", "content": "What is Tollgate?"}]}
        )
        self._screen.say(
            f"\nTollgate serves {model}{demo}.\n"
            f"  base URL  {origin}/v1\n"
            f"  API key   {api_key}\n"
            f"  chat      {origin}/playground with that key\n"
            f"  console   {origin}/console with the key in {home.admin_key_file}\n"
            f"  explorer  {origin}/explorer\n"
            f"  state     {home.up_file}\n\n"
            "Try it, and then `tollgate usage`, in another terminal:\n\n"
            f"curl -s {origin}/v1/chat/completions "
            f"-H 'Authorization: Bearer {api_key}' -H 'Content-Type: application/json' "
            f"-d '{body}'\n\nCtrl-C ends it: open streams finish, charges reach the books."
        )

    def _watch(self) -> None:
        """Until a signal: starts again what has ended. Ray looks after its replicas itself."""
        since = time.monotonic()
        while True:
            self._pause()
            if time.monotonic() - since > STEADY_S:
                self._failures = dict.fromkeys(self._failures, 0)
            for name, child, start in (
                ("engine", self._engine_process(), self._start_engine),
                ("gateway", self._gateway, self._start_gateway),
            ):
                if child is not None and child.poll() is not None:
                    child.close()
                    self._screen.say(f"the {name} has ended with status {child.poll()}")
                    self._restart(name, start)
                    since = time.monotonic()

    def _restart(self, name: str, start: Callable[[], None]) -> None:
        while True:
            delay_s = RESTART_DELAYS_S[min(self._failures[name], len(RESTART_DELAYS_S) - 1)]
            self._failures[name] += 1
            self._screen.say(f"starting the {name} again in {delay_s:g} s")
            self._pause(delay_s)
            try:
                start()
            except UpError as error:
                self._screen.fail(str(error), error.log, error.advice)
                self._end(self._gateway if name == "gateway" else self._engine_process())
                continue
            return

    def _pause(self, seconds: float = POLL_S) -> None:
        """Waits. Raises `StoppedError` as soon as a signal has come."""
        if self._signals or self._wake.wait(seconds):
            raise StoppedError

    def _stop(self) -> None:
        self._home.up_file.unlink(missing_ok=True)
        if self._gateway is not None:
            with self._screen.step("draining the gateway"):
                self._end(self._gateway)
        if self._engine is not None:
            with self._screen.step("ending the engine"):
                self._end(self._engine_process())

    def _engine_process(self) -> ChildProcess | None:
        return self._engine.process if self._engine else None

    def _end(self, child: ChildProcess | None) -> None:
        """Ends a child and waits for all that it has started; each further signal hurries it."""
        if child is None:
            return
        told = 0
        while child.wait(0.1) is None:
            if told == 0 or told < self._signals:
                child.terminate()
                told += 1
        child.close()


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
