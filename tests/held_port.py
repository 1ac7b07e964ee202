"""A TCP port of the loopback interface for a process that cannot be asked which one it took."""

from __future__ import annotations

import atexit
import socket

_holding: list[socket.socket] = []


def held_port() -> int:
    """A server that sets SO_REUSEADDR, as servers do, can listen there, and again after it ended.

    A number that was only looked up could be another's by then: here a socket that never listens
    keeps it until this process ends, and Linux gives it to no `bind` to port 0 and no outgoing
    connection. Who connects while no server listens is refused.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _holding.append(holder)
    port: int = holder.getsockname()[1]
    return port


@atexit.register
def _let_go() -> None:
    for holder in _holding:
        holder.close()
