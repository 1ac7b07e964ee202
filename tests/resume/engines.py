"""Two real engines with the demo model, each the child of a guard; they end with this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from serving.child_process import log_tail
from serving.engine_spec import Device, EngineSpec, describe_model
from serving.free_ports import free_ports
from serving.guard import descendants
from serving.model_files import DEMO_MODEL
from serving.vllm_process import VLLMProcess

_ESTABLISHED = "01"
START_S = 600
END_S = 30


class Engine:
    def __init__(self, folder: Path, name: str, port: int) -> None:
        self._folder = folder / name
        self._port = port
        self.node_id = self.supplier_id = ""
        """As the gateway calls it, and who runs it."""
        self.begin()

    def begin(self) -> None:
        facts = describe_model(msgspec.json.decode((DEMO_MODEL / "config.json").read_bytes()))
        spec = EngineSpec(
            model_path=str(DEMO_MODEL),
            served_name="fake",
            facts=facts,
            device=Device.CPU,
            cache_dir=str(self._folder / "cache"),
        )
        self._running = VLLMProcess(
            spec,
            self._folder,
            port=self._port,
            supplier_id="local",
            owner=str(self._folder),
            log=self._folder / "engine.log",
        )
        self.url = self._running.url

    async def serves(self) -> None:
        deadline = time.monotonic() + START_S
        while not await asyncio.to_thread(self._running.is_ready):
            log = log_tail(self._folder / "engine.log")
            assert self._running.process.poll() is None, log
            assert time.monotonic() < deadline, log
            await asyncio.sleep(0.5)

    def halt(self) -> None:
        """SIGSTOP to the server: it reads nothing and says nothing any more."""
        os.kill(self._running.process.pid, signal.SIGSTOP)

    def unread(self) -> int:
        """Connections on which something was sent that its server has not taken."""
        port, count = f":{self._port:04X}", 0
        for row in Path("/proc/net/tcp").read_text().splitlines():
            _, local, _, state, queues, *_ = row.split()
            if local.endswith(port) and state == _ESTABLISHED:
                count += not queues.endswith(":00000000")
        return count

    def kill(self, part: str) -> None:
        """SIGKILL to the `server` that answers, or to the `core` behind it that computes; a server
        that was halted and lives goes on.
        """
        server = self._running.process.pid
        os.kill(server if part == "server" else self._core(server), signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.SIGCONT)

    def _core(self, server: int) -> int:
        for pid in descendants(server):
            with contextlib.suppress(OSError):
                if b"EngineCore" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        raise AssertionError(f"no EngineCore below {server}")

    async def end(self) -> None:
        process = self._running.process
        process.terminate()
        assert await asyncio.to_thread(process.wait, END_S) is not None
        process.close()


@contextlib.asynccontextmanager
async def engines(folder: Path) -> AsyncIterator[list[Engine]]:
    """Both serve when the block begins."""
    ports = free_ports(2)
    async with contextlib.AsyncExitStack() as running:
        made = []
        for index, port in enumerate(ports):
            engine = Engine(folder, f"engine-{index}", port)
            engine.node_id, engine.supplier_id = f"node-{index}", f"supplier-{index}"
            running.push_async_callback(engine.end)
            made.append(engine)
        await asyncio.gather(*(engine.serves() for engine in made))
        yield made
