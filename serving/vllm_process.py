"""A node without Ray: vLLM's own API server as a child process on a free port."""

import http.client
import sys
import tempfile
import urllib.request
from pathlib import Path

from router.types import NodeRecord
from serving.child_process import ChildProcess
from serving.engine_spec import EngineSpec, block_size, engine_argv, engine_env
from serving.free_ports import LOOPBACK
from serving.ray_node import SHORT_TEMP_DIR

_SERVER = (sys.executable, "-m", "serving.vllm_server")
# vLLM's sockets are TMPDIR/<36 characters>; a Unix socket path may have 107 bytes.
TEMP_DIR_BYTES_MAX = 64


class VLLMProcess:
    """A running server. It holds the port only once it serves, half a minute after the start."""

    def __init__(
        self,
        spec: EngineSpec,
        state_dir: Path,
        *,
        port: int,
        supplier_id: str,
        owner: str,
        log: Path,
    ) -> None:
        self._spec = spec
        self._supplier_id = supplier_id
        self._port = port
        self.url = f"http://{LOOPBACK}:{port}"
        state_dir.mkdir(parents=True, exist_ok=True)
        temp_dir = Path(tempfile.mkdtemp(prefix="tg-", dir=_short(state_dir.resolve())))
        self.process = ChildProcess(
            "engine",
            [*_SERVER, "--host", LOOPBACK, "--port", str(port), *engine_argv(spec)],
            owner=owner,
            log=log,
            env={**engine_env(spec), "TMPDIR": str(temp_dir)},
            remove=temp_dir,
        )

    def is_ready(self) -> bool:
        """Whether it answers that it is healthy."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/health", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def record(self) -> NodeRecord:
        return NodeRecord(
            node_id=f"local-{self._port}",
            supplier_id=self._supplier_id,
            url=self.url,
            model=self._spec.served_name,
            capacity=self._spec.requests_max,
            engine="vllm",
            block_size=block_size(self._spec),
        )


def _short(directory: Path) -> Path:
    return directory if len(str(directory).encode()) <= TEMP_DIR_BYTES_MAX - 12 else SHORT_TEMP_DIR
