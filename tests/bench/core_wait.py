"""How long threads were ready to run and had no core: what a busy machine adds, read from Linux."""

from __future__ import annotations

import os


class CoreWait:
    """Of the main thread of each of these processes."""

    def __init__(self, *pids: int) -> None:
        self._files = [os.open(f"/proc/{pid}/task/{pid}/schedstat", os.O_RDONLY) for pid in pids]

    def seconds(self) -> tuple[float, ...]:
        """Since each began. A wait is in it once it is over."""
        return tuple(int(os.pread(file, 64, 0).split()[1]) / 1e9 for file in self._files)

    def longest_since(self, before: tuple[float, ...]) -> float:
        """What one of them alone has waited: waits of both at once count once."""
        return max(now - then for now, then in zip(self.seconds(), before, strict=True))

    def close(self) -> None:
        for file in self._files:
            os.close(file)
