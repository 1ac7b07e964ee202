"""A connection in memory: the gateway holds a transport, the test holds the wire behind it.

It is as unforgiving as uvloop's transports: what those refuse (writing after the end, touching a
closed handle) is refused, and what is written leaves at the end of the turn.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

HIGH, LOW = 64 * 1024, 16 * 1024


class Wire(asyncio.Transport):
    """The gateway's end, as asyncio knows it; and the methods by which the other side acts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, reads_all: bool = True) -> None:
        super().__init__()
        self.protocol: asyncio.Protocol | None = None
        self.sent = bytearray()
        """What the other side has read."""
        self.reads_all = reads_all
        """The other side reads whatever comes; else only what `read` takes."""
        self.ended = False
        """The gateway said that nothing more comes, or the connection is gone."""
        self.closed = False
        self.unsent_most = 0
        self._loop = loop
        self._unsent = bytearray()
        self._high, self._low = HIGH, LOW
        self._write_paused = False
        self._reading = True
        self._closing = False
        self._lost = False
        self._eof = False
        self._flushing = False

    def attach(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        protocol.connection_made(self)

    # -- the other side ---------------------------------------------------------------------------

    @property
    def heard(self) -> bool:
        """What the other side sends now is read."""
        return self._reading and not self._closing

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def deliver(self, data: bytes) -> None:
        if self.heard and self.protocol is not None:
            self.protocol.data_received(data)

    def deliver_eof(self) -> None:
        if self.heard and self.protocol is not None:
            if self.protocol.eof_received():
                self._reading = False
            else:
                self.close()

    def reset(self) -> None:
        self._force_close(ConnectionResetError("reset by the other side"))

    def read(self, most: int) -> None:
        """The other side reads so many bytes of what was written."""
        if self._lost:
            return
        self.sent += self._unsent[:most]
        del self._unsent[:most]
        if self._write_paused and len(self._unsent) <= self._low and self.protocol is not None:
            self._write_paused = False
            self.protocol.resume_writing()
        if not self._unsent:
            if self._eof:
                self.ended = True
            if self._closing and not self._lost:
                self._lose(None)

    # -- asyncio.Transport ------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        self._must_live()
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self._lost:
            return
        self._unsent += data
        self.unsent_most = max(self.unsent_most, len(self._unsent))
        if self.reads_all and len(self._unsent) > self._high:
            self.read(len(self._unsent))
        elif self.reads_all and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        if len(self._unsent) > self._high and not self._write_paused:
            self._write_paused = True
            cast(asyncio.Protocol, self.protocol).pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self._must_live()
        self._eof = True
        if not self._unsent:
            self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._closing and not self.closed:
            self._closing = True
            if not self._unsent:
                self._lose(None)

    def abort(self) -> None:
        self._force_close(None)

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._closing:
            self._reading = True

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._must_live()
        self._high = HIGH if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": ("192.0.2.1", 4000), "sockname": ("192.0.2.2", 80)}.get(name, default)

    # -- inside -----------------------------------------------------------------------------------

    def _must_live(self) -> None:
        if self.closed:
            raise RuntimeError("unable to perform operation on a transport; the handler is closed")

    def _flush(self) -> None:
        self._flushing = False
        if self.reads_all:
            self.read(len(self._unsent))

    def _force_close(self, error: Exception | None) -> None:
        if not self._lost and not self.closed:
            self._closing = True
            self._unsent.clear()
            self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        self._lost = True
        self._loop.call_soon(self._connection_lost, error)

    def _connection_lost(self, error: Exception | None) -> None:
        protocol = cast(asyncio.Protocol, self.protocol)
        try:
            protocol.connection_lost(error)
        finally:
            self.closed = self.ended = True
            self.protocol = None
