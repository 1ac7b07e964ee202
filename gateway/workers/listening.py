"""The sockets of a server's address, bound but not listening yet."""

from __future__ import annotations

import contextlib
import socket


class AddressError(Exception):
    """The address cannot be had; the message says which and why."""


def bind(host: str, port: int, *, shared: bool = True) -> list[socket.socket]:
    """One socket for every address of the host, all on one port; port 0 takes a free one.

    Shared, other processes of this user may bind them too, and a connection goes to one of those
    that listen. Raises AddressError.
    """
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        try:
            for family, address in _addresses(host):
                bound = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.bind((address, port))
                port = port or bound.getsockname()[1]
                sockets.append(bound)
        except OSError as error:
            raise AddressError(
                f"cannot listen on {host} port {port}: {error.strerror}; end what uses it, or "
                "write another [server] host or port"
            ) from None
        opened.pop_all()
        return sockets


def reserve(host: str, port: int) -> list[socket.socket]:
    """As `bind`, but raises AddressError too where others share the port: its connections would be
    divided between two services. What is returned keeps the port for this user's processes.
    """
    for probe in bind(host, port, shared=False):
        probe.close()
    return bind(host, port)


def _addresses(host: str) -> list[tuple[int, str]]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))
