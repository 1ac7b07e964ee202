"""A Ray head and labelled nodes on this machine, each a raylet of its own with made-up GPUs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from serving.child_process import ChildProcess, log_tail
from serving.free_ports import LOOPBACK, free_ports
from serving.guard import descendants
from serving.ray_dashboard import RayUnavailableError
from serving.ray_node import OBJECT_STORE_BYTES, RayNode

START_S = 120.0
LABEL = "gpu-type"


class NodeKind(msgspec.Struct, frozen=True):
    """What one node is to say of itself."""

    name: str
    gpu_type: str
    gpus: int


class RayCluster:
    """Up once made; `close` ends every process."""

    def __init__(self, folder: Path, kinds: tuple[NodeKind, ...]) -> None:
        (port,) = free_ports(1)
        self._folder = folder
        self.head = RayNode(folder / "ray", dashboard_port=port, owner=str(folder), log=self._log())
        self.nodes: dict[str, ChildProcess] = {}
        try:
            self._until_ready()
            for kind in kinds:
                self._join(kind)
        except BaseException:
            self.close()
            raise

    def kill(self, name: str) -> None:
        """SIGKILL its raylet; its replicas go with it, as when a machine loses its power."""
        for pid in descendants(self.nodes[name].guard_pid):
            with contextlib.suppress(OSError):
                if b"raylet/raylet" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                    os.kill(pid, signal.SIGKILL)

    def end(self, name: str) -> None:
        """All that is left of a node."""
        _end(self.nodes.pop(name))

    def close(self) -> None:
        for process in self.nodes.values():
            process.terminate()
        for process in (*self.nodes.values(), self.head.process):
            _end(process)

    def _log(self, name: str = "head") -> Path:
        return self._folder / "logs" / f"{name}.log"

    def _until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self.head.is_ready():
            head = self.head.process
            assert head.poll() is None, log_tail(head.log)
            assert time.monotonic() < deadline, log_tail(head.log)
            time.sleep(0.2)

    def _join(self, kind: NodeKind) -> None:
        """One after the other: a node that has not joined within half a minute gives up, which is
        short for four at once on a busy machine.
        """
        deadline = time.monotonic() + START_S
        while kind.name not in self.names().values():
            assert time.monotonic() < deadline, log_tail(self._log(kind.name))
            process = self.nodes.get(kind.name)
            if process is None or process.poll() is not None:
                self.nodes[kind.name] = self._start(kind)
            time.sleep(0.2)

    def names(self) -> dict[str, str]:
        """Of the labelled nodes that live, by Ray's ids of them."""
        try:
            nodes = self.head.dashboard.nodes()
        except RayUnavailableError:
            return {}
        return {
            node["node_id"]: node["labels"]["node"] for node in nodes if LABEL in node["labels"]
        }

    def _start(self, kind: NodeKind) -> ChildProcess:
        names = (
            *("object-manager-port", "node-manager-port", "dashboard-agent-listen-port"),
            *("dashboard-agent-grpc-port", "runtime-env-agent-port", "metrics-export-port"),
        )
        options = {
            "address": self.head.address,
            "node-ip-address": LOOPBACK,
            "labels": f"{LABEL}={kind.gpu_type},node={kind.name}",
            "num-gpus": kind.gpus,
            "num-cpus": 8,
            "min-worker-port": 0,
            "max-worker-port": 0,
            "object-store-memory": OBJECT_STORE_BYTES,
            **dict(zip(names, free_ports(len(names)), strict=True)),
        }
        ray = [sys.executable, str(Path(__file__).with_name("loopback_ray.py"))]
        flags = [f"--{name}={value}" for name, value in options.items()]
        return ChildProcess(
            kind.name,
            [*ray, "start", "--block", *flags],
            owner=str(self._folder),
            log=self._log(kind.name),
            env=self.head.environment,
            grace_s=2.0,
        )


def _end(process: ChildProcess) -> None:
    process.terminate()
    if process.wait(20.0) is None:
        process.terminate()
        process.wait(20.0)
    process.close()
