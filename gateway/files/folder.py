"""The bytes of files, on disk: a file is there whole and durable, or it is not there."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_INCOMING = ".incoming-"
_ABANDONED_S = 24 * 3600
"""So old, what was begun is nobody's any more."""


class Incoming:
    """A file that is being written; all methods block. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"{_INCOMING}{secrets.token_hex(8)}"
        self._file = self._path.open("xb")
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.bytes += len(data)

    def keep(self, file_id: str) -> None:
        """From now on it is the file of this id, and will be after a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.replace(self._folder / file_id)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """It was not kept."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class FileFolder:
    """Ids are the gateway's own: they hold no path. Raises OSError."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path

    def begin(self) -> Incoming:
        return Incoming(self._path)

    def open(self, file_id: str) -> BinaryIO:
        return (self._path / file_id).open("rb")

    def remove(self, file_id: str) -> None:
        (self._path / file_id).unlink(missing_ok=True)

    def remove_abandoned(self) -> None:
        """What a process that died was writing."""
        begun_before_s = time.time() - _ABANDONED_S
        for path in self._path.glob(f"{_INCOMING}*"):
            if path.stat().st_mtime < begun_before_s:
                path.unlink(missing_ok=True)


def parts(file: BinaryIO, part_bytes: int) -> Iterator[bytes]:
    """The file's bytes, to its end, which closes it."""
    with file:
        while part := file.read(part_bytes):
            yield part
