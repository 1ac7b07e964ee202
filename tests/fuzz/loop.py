"""An event loop whose time is a number and whose sockets are bytearrays.

It runs only when it is told to, in the order of the calls: the same input gives the same run. It
offers what the gateway asks of a loop and nothing else, so whatever is new there fails loudly here.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import sys
import time
from asyncio import events
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import Context
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

T = TypeVar("T")
TURNS_MAX = 50_000
"""Callbacks in one go; more than that is a loop that feeds itself."""

NewProtocol = Callable[[], asyncio.Protocol]
Connected = tuple[asyncio.Transport, asyncio.Protocol]
Connect = Callable[[NewProtocol, str], Awaitable[Connected]]


class StuckError(AssertionError):
    """Callbacks make callbacks without end."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """`connect` makes the other end of a connection to a host, or raises OSError."""

    def __init__(self) -> None:
        self.now_ns = 10**18
        self.connect: Connect | None = None
        self.faults: list[str] = []
        """What a real loop would have logged: exceptions that nobody caught."""
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []

    # -- run by the test --------------------------------------------------------------------------

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """`asyncio.get_running_loop()` is this one, and the gateway's clocks tell its time."""
        assert events._get_running_loop() is None, "one world at a time: loop and clocks are global"
        swapped = list(_clocks())
        clock = SimpleNamespace(
            monotonic_ns=lambda: self.now_ns, time_ns=lambda: self.now_ns, monotonic=self.time
        )
        for module, name, value in swapped:
            setattr(module, name, clock if value is time else clock.monotonic_ns)
        events._set_running_loop(self)
        try:
            yield
        finally:
            events._set_running_loop(None)
            for module, name, value in swapped:
                setattr(module, name, value)

    def run_ready(self) -> None:
        """Run callbacks until there are none. Raises StuckError."""
        ready = self._ready
        for _ in range(TURNS_MAX):
            if not ready:
                return
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()
        raise StuckError(f"after {TURNS_MAX} callbacks there are still {len(ready)}")

    def run_turn(self) -> bool:
        """Run what is ready now, as a loop does before it reads sockets again; False if nothing."""
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()
        return bool(self._ready)

    def leap(self, nanoseconds: int) -> None:
        """Let time pass at once, as for a process that was not scheduled; then run what is due."""
        self.now_ns += nanoseconds
        now_s = self.time()
        while self._timers and self._timers[0].when() <= now_s:
            self._ready.append(heapq.heappop(self._timers))
        self.run_ready()

    # -- asyncio.AbstractEventLoop ----------------------------------------------------------------

    def time(self) -> float:
        return self.now_ns / 1e9

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays in the heap until it is due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, T], **named: Any) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, **named)

    def run_in_executor(
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """On this thread and at once."""
        future = self.create_future()
        future.set_result(func(*args))
        return future

    async def create_connection(
        self, protocol_factory: NewProtocol, host: str, port: int, **_: object
    ) -> Connected:
        assert self.connect is not None
        return await self.connect(protocol_factory, host)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")


def _clocks() -> Iterator[tuple[ModuleType, str, object]]:
    """Where the gateway's modules keep a clock: `time` itself, or one function of it."""
    for module in [m for n, m in sys.modules.items() if n.startswith("gateway.") and m]:
        for name, value in list(vars(module).items()):
            if value is time or value is time.monotonic_ns:
                yield module, name, value
