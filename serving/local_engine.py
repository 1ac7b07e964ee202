"""The engine of one machine, in either form: under Ray Serve, or as a plain child process.

A supervisor starts one, asks it for its progress until it serves, and tells a gateway where it is.
"""

from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from router.types import NodeRecord
from serving.child_process import ChildProcess, log_tail
from serving.engine_spec import EngineSpec
from serving.ray_app import AppPhase, Pool, app_config, app_name, app_state, serve_config
from serving.ray_dashboard import RayRefusedError, RayUnavailableError
from serving.ray_node import RayNode
from serving.vllm_process import VLLMProcess

_START_LINES = 500  # as many as a start prints


class Phase(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    FAILED = "failed"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a start has got to. `step` is for a person, and so is `detail` when it failed."""

    phase: Phase
    step: str
    detail: str = ""


class EngineAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine is reached: by asking Ray's dashboard for its replicas, or at once."""

    dashboard_url: str = ""
    token_file: str = ""
    node: NodeRecord | None = None


class LocalEngine(Protocol):
    process: ChildProcess

    def progress(self) -> Progress:
        """Looks how far it is; may take a second, never more than ten."""
        ...

    def address(self) -> EngineAddress:
        """Where it is reached."""
        ...

    def log_tail(self) -> str:
        """What its log says last."""
        ...


class RayEngine:
    """A Ray head, and on it one Serve application with one vLLM replica."""

    def __init__(self, spec: EngineSpec, pool: Pool, *, home: Path, port: int) -> None:
        """`port` is the dashboard's."""
        self._spec = spec
        self._pool = pool
        log = home / "logs" / "ray.log"
        self._node = RayNode(home / "ray", dashboard_port=port, owner=str(home), log=log)
        self.process = self._node.process
        self._deployed = False

    def progress(self) -> Progress:
        if self.process.poll() is not None:
            return Progress(phase=Phase.FAILED, step="Ray has ended")
        try:
            if not self._deployed:
                return self._deploy()
            state = app_state(self._node.dashboard.applications(), self._app)
        except RayUnavailableError as error:
            return Progress(phase=Phase.STARTING, step="starting Ray", detail=str(error))
        if state.phase is AppPhase.FAILED:
            return Progress(phase=Phase.FAILED, step="the engine failed", detail=state.detail)
        if state.phase is AppPhase.RUNNING:
            return Progress(phase=Phase.SERVING, step="the engine serves")
        return Progress(phase=Phase.STARTING, step=engine_step(self._worker_log(_START_LINES)))

    def address(self) -> EngineAddress:
        return EngineAddress(
            dashboard_url=self._node.dashboard.url,
            token_file=str(self._node.token_path.resolve()),
        )

    def log_tail(self) -> str:
        return "\n".join(
            part for part in (log_tail(self.process.log, 5), self._worker_log(30)) if part
        )

    @property
    def _app(self) -> str:
        return app_name(self._spec, self._pool)

    def _deploy(self) -> Progress:
        if not self._node.is_ready():
            return Progress(phase=Phase.STARTING, step="starting Ray")
        apps = [app_config(self._spec, self._pool)]
        try:
            self._node.dashboard.deploy(serve_config(apps, self._node.proxy_port))
        except RayRefusedError as error:
            return Progress(phase=Phase.FAILED, step="Ray Serve refused", detail=str(error))
        self._deployed = True
        return Progress(phase=Phase.STARTING, step="starting Ray Serve")

    def _worker_log(self, lines: int) -> str:
        """What the replica and its engine have printed."""
        logs = sorted(
            self._node.worker_logs.glob("worker-*-01000000-*.[eo][ru][rt]"),
            key=lambda path: path.stat().st_mtime,
        )
        return "\n".join(log_tail(path, lines) for path in logs[-2:])


class ProcessEngine:
    """vLLM's API server as a child of this process."""

    def __init__(self, spec: EngineSpec, pool: Pool, *, home: Path, port: int) -> None:
        self._server = VLLMProcess(
            spec,
            home / "engine",
            port=port,
            supplier_id=pool.supplier_id,
            owner=str(home),
            log=home / "logs" / "engine.log",
        )
        self.process = self._server.process

    def progress(self) -> Progress:
        if self.process.poll() is not None:
            return Progress(phase=Phase.FAILED, step="the engine has ended")
        if self._server.is_ready():
            return Progress(phase=Phase.SERVING, step="the engine serves")
        return Progress(
            phase=Phase.STARTING, step=engine_step(log_tail(self.process.log, _START_LINES))
        )

    def address(self) -> EngineAddress:
        return EngineAddress(node=self._server.record())

    def log_tail(self) -> str:
        return log_tail(self.process.log, 30)


# What vLLM prints, in the order of a start, and what it does from there on.
_STEPS = (
    ("Resolved architecture", "starting its processes"),
    ("Initializing a V1 LLM engine", "importing vLLM in its worker"),
    ("Starting to load model", "loading the weights"),
    ("Loading weights took", "measuring memory"),
    ("Dynamo bytecode transform", "compiling"),
    ("KV cache size", "warming up"),
    ("Capturing CUDA graphs", "capturing CUDA graphs"),
    ("init engine", "opening its port"),
)


def engine_step(log: str) -> str:
    """What the engine is doing, by the latest step of a start that its log shows."""
    seen = [step for mark, step in _STEPS if mark in log]
    return f"starting the engine: {seen[-1] if seen else 'importing vLLM'}"
