"""A folder whose disk can be cut off at any step: what was synced is kept, of the rest anything.

Every step may end in three ways that nobody is told of: nothing of it happened, it is in memory
alone, it is done. A write is durable once it returns, as with O_DSYNC; in a `buffered` folder only
with the next sync of its file.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from enum import Enum

SECTOR_BYTES = 16
"""Small, so that small records are torn in the middle."""
_BLOCK_BYTES = 4096
"""Compared at once."""


class Moment(Enum):
    """Of a step, when it fails."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


Faults = Callable[[str], Moment | None]
"""Asked at each step, which is named by what is done; says whether and when it fails."""


def no_faults(step: str) -> None:
    """Nothing ever fails."""


class MemoryFolder:
    def __init__(self, faults: Faults = no_faults, *, buffered: bool = False) -> None:
        self.faults = faults
        self.buffered = buffered
        self.error = errno.EIO
        self.bytes_a_write: int | None = None
        self.files: dict[str, Content] = {}
        self._durable: dict[str, Content] = {}
        self._unsynced: list[dict[str, Content]] = []

    # -- what the log does ------------------------------------------------------------------------

    def names(self) -> list[str]:
        return list(self.files)

    def create(self, name: str, size: int) -> MemoryFile:
        content = Content(bytes(size))
        self.step("create", lambda: self._change({**self.files, name: content}))
        return MemoryFile(self, content)

    def open(self, name: str) -> MemoryFile:
        self.step("open", lambda: None)
        return MemoryFile(self, self.files[name])

    def rename(self, name: str, new_name: str) -> None:
        changed = {**self.files, new_name: self.files[name]}
        del changed[name]
        self.step("rename", lambda: self._change(changed))

    def remove(self, name: str) -> None:
        changed = dict(self.files)
        del changed[name]
        self.step("remove", lambda: self._change(changed))

    def sync(self) -> None:
        self.step("sync folder", lambda: None, self._sync)

    def step(
        self, name: str, in_memory: Callable[[], None], on_disk: Callable[[], None] = lambda: None
    ) -> None:
        fails = self.faults(name)
        if fails is Moment.BEFORE:
            raise self._failure(name)
        in_memory()
        if fails is Moment.DURING:
            raise self._failure(name)
        on_disk()
        if fails is Moment.AFTER:
            raise self._failure(name)

    def _failure(self, step: str) -> OSError:
        return OSError(self.error, f"{os.strerror(self.error)}: {step}")

    def _change(self, files: dict[str, Content]) -> None:
        self.files = files
        self._unsynced.append(files)

    def _sync(self) -> None:
        self._durable = self.files
        self._unsynced = []

    # -- what happens to it -----------------------------------------------------------------------

    def cut_power(self, rng: random.Random) -> None:
        """Names change in their order, up to some point; contents are kept in any parts."""
        self.files = self._durable = rng.choice([self._durable, *self._unsynced])
        self._unsynced = []
        for content in self.files.values():
            content.cut_power(rng)


class Content:
    """Of a file: as the kernel shows it, and as the disk has it."""

    def __init__(self, memory: bytes) -> None:
        self.memory = bytearray(memory)
        self.disk = bytearray()
        self._unsynced = (0, len(memory))

    def write(self, data: bytes, offset: int) -> None:
        end, memory = offset + len(data), self.memory
        start, until = self._unsynced
        begin = min(offset, len(memory))
        self._unsynced = (min(start, begin), max(until, end)) if until else (begin, end)
        memory.extend(bytes(max(0, end - len(memory))))
        memory[offset:end] = data

    def sync(self) -> None:
        start, end = self._unsynced
        self._unsynced = (0, 0)
        self.disk = _sized(self.disk, len(self.memory))
        self.disk[start:end] = self.memory[start:end]

    def cut_power(self, rng: random.Random) -> None:
        size = rng.choice((len(self.disk), len(self.memory)))
        old, new = bytearray(_sized(self.disk, size)), _sized(self.memory, size)
        kept = rng.choice((0.0, 0.5, 1.0))
        for block in range(0, size, _BLOCK_BYTES):
            if old[block : block + _BLOCK_BYTES] == new[block : block + _BLOCK_BYTES]:
                continue
            for start in range(block, min(block + _BLOCK_BYTES, size), SECTOR_BYTES):
                sector = slice(start, start + SECTOR_BYTES)
                if old[sector] != new[sector] and rng.random() < kept:
                    old[sector] = new[sector]
        self.memory, self.disk = bytearray(old), old
        self._unsynced = (0, 0)


def _sized(data: bytearray, size: int) -> bytearray:
    return data if len(data) == size else (data + bytes(max(0, size - len(data))))[:size]


class MemoryFile:
    def __init__(self, folder: MemoryFolder, content: Content) -> None:
        self._folder = folder
        self._content = content
        self._closed = False

    def write(self, data: bytes, offset: int) -> int:
        part = data[: self._folder.bytes_a_write]
        end = offset + len(part)

        def in_memory() -> None:
            self._content.write(part, offset)

        def on_disk() -> None:
            disk = self._content.disk
            disk.extend(bytes(max(0, end - len(disk))))
            disk[offset:end] = part

        if self._folder.buffered:
            self._folder.step("write", in_memory)
        else:
            self._folder.step("write", in_memory, on_disk)
        return len(part)

    def read(self, size: int, offset: int) -> bytes:
        self._folder.step("read", lambda: None)
        return bytes(self._content.memory[offset : offset + size])

    def size(self) -> int:
        return len(self._content.memory)

    def sync(self) -> None:
        self._folder.step("sync", lambda: None, self._content.sync)

    def truncate(self, size: int) -> None:
        def in_memory() -> None:
            del self._content.memory[size:]

        self._folder.step("truncate", in_memory)

    def close(self) -> None:
        """Makes nothing durable."""
        assert not self._closed, "closed twice: by then the descriptor may be another file's"
        self._closed = True
