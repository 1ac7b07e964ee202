"""Who may have a port, and who gets its connections."""

from __future__ import annotations

import contextlib
import socket

import pytest

from gateway.workers.listening import AddressError, bind, reserve

HOST = "127.0.0.1"


@contextlib.contextmanager
def closing_all(sockets):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(one) for one in sockets]


def test_a_reserved_port_gives_no_connection_to_who_does_not_listen():
    with closing_all(reserve(HOST, 0)) as (holder,):
        port = holder.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with closing_all(bind(HOST, port)) as (listener,):
            listener.listen()
            for _ in range(20):
                socket.create_connection((HOST, port)).close()
                accepted, _ = listener.accept()
                accepted.close()


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_that_somebody_serves_is_refused(shared):
    with closing_all(bind(HOST, 0, shared=shared)) as (other,):
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(AddressError, match=f"{HOST} port {port}: Address already in use"):
            reserve(HOST, port)


def test_every_address_of_a_host_has_the_same_port():
    with closing_all(bind("localhost", 0)) as sockets:
        assert len({one.getsockname()[1] for one in sockets}) == 1


def test_a_host_that_is_none_is_named():
    with pytest.raises(AddressError, match=r"cannot listen on no\.such\.host\.invalid port 1"):
        bind("no.such.host.invalid", 1)
