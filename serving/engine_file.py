"""Where the engine of one machine is reached: a file that `tollgate up` writes and a gateway reads.

Ports change from start to start, so they are not configuration. The file says either where Ray's
dashboard is (its replicas are asked for), or which nodes there are.
"""

import os
from pathlib import Path

import msgspec

from router.types import NodeRecord
from serving.ray_dashboard import RayDashboard
from serving.ray_discovery import RayDiscovery


class EngineFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dashboard_url: str | None = None
    token_file: str | None = None
    nodes: tuple[NodeRecord, ...] = ()


def write_engine_file(path: Path, content: EngineFile) -> None:
    """Replaces the file in one step, so that a reader never sees half of it."""
    draft = path.with_suffix(".tmp")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    os.replace(draft, path)


class EngineDiscovery:
    """The nodes that the engine file leads to; call `poll` every one or two seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: bytes | None = None
        self._content = EngineFile()
        self._ray: RayDiscovery | None = None

    async def poll(self) -> list[NodeRecord]:
        """All nodes that take requests now; none while there is no file.

        Raises `RayUnavailableError` (keep the records of before), and `msgspec.DecodeError` for a
        file that `tollgate up` has not written.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        if content != self._read:
            self._content = msgspec.json.decode(content, type=EngineFile)
            self._read = content
            self._ray = _ray(self._content)
        ray_nodes = await self._ray.poll() if self._ray else []
        return [*self._content.nodes, *ray_nodes]


def _ray(content: EngineFile) -> RayDiscovery | None:
    if content.dashboard_url is None or content.token_file is None:
        return None
    return RayDiscovery(RayDashboard(content.dashboard_url, Path(content.token_file)))
