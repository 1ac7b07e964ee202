"""The port that a test hands to a process: nobody else's, and the process's whenever it likes."""

from __future__ import annotations

import socket

import pytest
from held_port import held_port


def listening(port: int) -> socket.socket:
    """As servers listen."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


def test_it_is_kept_from_others_and_open_to_servers_one_after_the_other():
    port = held_port()
    for _ in range(2):
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with listening(port), socket.create_connection(("127.0.0.1", port)):
            pass
