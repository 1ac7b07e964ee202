"""What anyone may ask for as often as he likes, worked out once in some seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """Thread-safe. Who asks while it is being made gets the last one, unless there is none."""

    def __init__(self, make: Callable[[], T], for_ns: int, now_ns: Callable[[], int]) -> None:
        self._make = make
        self._for_ns = for_ns
        self._now_ns = now_ns
        self._making = threading.Lock()
        self._made: tuple[T, int] | None = None

    def get(self) -> T:
        """Raises what making it raises."""
        made = self._made
        if made is not None and (self._now_ns() < made[1] or self._making.locked()):
            return made[0]
        with self._making:
            made = self._made
            if made is None or self._now_ns() >= made[1]:
                made = self._made = (self._make(), self._now_ns() + self._for_ns)
            return made[0]
