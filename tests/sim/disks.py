"""The disks of one world and their fuse; and what of the gateway is set small for it to matter."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from memory_folder import Content, MemoryFolder, Moment

from metering import poster, spool, spool_log, spool_queue
from metering.sqlite_ledger import SqliteLedger

from .fuse import Fuse
from .vfs import Vfs

LEDGER = "ledger.db"


class Disks:
    """What is in `files` is a ledger's disk to begin with."""

    def __init__(self, vfs: Vfs, seed: int, files: dict[str, bytes]) -> None:
        self.fuse = Fuse()
        self.spool = MemoryFolder(lambda step: self.fuse.step("spool", step))
        self._vfs = vfs
        self._fate = random.Random(f"fate {seed}")
        vfs.rng = random.Random(f"sqlite {seed}")
        vfs.folder = MemoryFolder(self._step_of_ledger, buffered=True)
        for name, data in files.items():
            content = Content(data)
            content.sync()
            vfs.folder.files[name] = content
        vfs.folder._sync()
        spool_log.secrets = _Secrets(random.Random(f"salt {seed}"))  # type: ignore[attr-defined]

    def _step_of_ledger(self, step: str) -> Moment | None:
        return self.fuse.step(self._vfs.at.removeprefix(LEDGER).strip("-") or "ledger", step)

    def cut_power(self) -> None:
        self.spool.cut_power(self._fate)
        self._vfs.folder.cut_power(self._fate)

    def end_process(self) -> None:
        self._vfs.end_process()

    def contents(self) -> Iterator[tuple[str, bytearray]]:
        """Every file, as memory has it."""
        files = {**self._vfs.folder.files, **self.spool.files}
        for name, content in sorted(files.items()):
            yield name, content.memory


class _Secrets:
    """Random, but a seed's."""

    def __init__(self, rng: random.Random) -> None:
        self.token_bytes = rng.randbytes
        self._rng = rng

    def token_hex(self, size: int) -> str:
        return self._rng.randbytes(size).hex()


class _NoThread:
    """A thread that never runs: its steps are taken by the world."""

    ident = None

    def __init__(self, **_: object) -> None: ...

    def start(self) -> None: ...


@contextlib.contextmanager
def simulated(vfs: Vfs, folder: Path) -> Iterator[dict[str, bytes]]:
    """All of the gateway's disks in memory, its threads still; gives the files of a new ledger."""
    threads = SimpleNamespace(**{**vars(spool.threading), "Thread": _NoThread})
    with contextlib.ExitStack() as patches:
        for module, name, value in (
            (spool_log, "SEGMENT_BYTES", 1000),
            (spool_log, "secrets", spool_log.secrets),
            (spool_queue, "UNAWAITED_S", 0),
            (spool_queue, "GATHER_S", 0),
            (spool_queue, "GATHER_MAX_S", 0),
            (spool, "threading", threads),
            (poster, "threading", threads),
            (poster, "GATHER_S", 0),
            (poster, "POLL_INTERVAL_S", 0),
            (poster, "BATCH_ROWS", 12),
            (poster, "FORGET_ROWS", 5),
        ):
            patches.enter_context(patch.object(module, name, value))
        logger = logging.getLogger("tollgate")
        patches.enter_context(patch.object(logger, "disabled", True))
        patches.enter_context(vfs.installed())
        vfs.forget()
        SqliteLedger(folder / LEDGER).close()
        vfs.end_process()
        yield {name: bytes(file.memory) for name, file in vfs.folder.files.items()}
