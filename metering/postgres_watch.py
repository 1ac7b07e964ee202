"""Gives up a PostgreSQL that took a question and never answers: frozen, or its disk hangs.

libpq waits without end, and TCP sees nothing wrong: the server's kernel still acknowledges. So a
connection that has been waited on for too long has its socket shut, and libpq reports it as lost.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from weakref import WeakSet

ANSWER_S = 300.0
"""Bookings take milliseconds, a lock is given up after 10 s; sums over epochs take minutes."""
_LOOK_S = 1.0


class Plug:
    """One connection's way out, which another thread may take."""

    def __init__(self, descriptor: int, answer_s: float) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))  # libpq may close its own any time
        self.answer_s = answer_s
        """Nobody waits longer; infinite for what may take hours, as a migration."""
        self._since_s: float | None = None
        _watch.add(self)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        self._since_s = time.monotonic()
        try:
            yield
        finally:
            self._since_s = None

    def pull_if_late(self, now_s: float) -> None:
        since_s = self._since_s
        if since_s is not None and now_s - since_s > self.answer_s:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._since_s = None
        self._socket.close()


class _Watch:
    """One thread for all plugs, from the first one on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plugs: WeakSet[Plug] = WeakSet()
        self._thread: threading.Thread | None = None

    def add(self, plug: Plug) -> None:
        with self._lock:
            self._plugs.add(plug)
            if self._thread is None or not self._thread.is_alive():  # a fork leaves it behind
                self._thread = threading.Thread(target=self._look, name="pg-watch", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                plugs = list(self._plugs)
            for plug in plugs:
                plug.pull_if_late(time.monotonic())


_watch = _Watch()
