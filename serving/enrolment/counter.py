"""A number that only grows, whatever the clock does and however often the node starts again."""

from __future__ import annotations

import os
from pathlib import Path

RESERVED = 10_000
"""So many are taken at once, so that a message does not cost a write to disk."""


class Counter:
    """Kept in a file: what it says is above all that were given out. One process may use it."""

    def __init__(self, path: Path, now_us: int) -> None:
        """`now_us`: any time; a fresh file begins there: a lost or damaged one does no harm."""
        self._path = path
        try:
            said = int(path.read_text())
        except (FileNotFoundError, ValueError):
            said = 0
        self._next = max(said, now_us)
        self._reserved = self._next

    def take(self) -> int:
        if self._next >= self._reserved:
            self._reserved = self._next + RESERVED
            self._write()
        self._next += 1
        return self._next - 1

    def _write(self) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        with fresh.open("w") as file:
            file.write(str(self._reserved))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
