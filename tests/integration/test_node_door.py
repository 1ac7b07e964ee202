"""The door of a node, by itself."""

from __future__ import annotations

import asyncio

import pytest
from held_port import held_port

from serving.enrolment.front import Front
from serving.enrolment.key_files import certificate
from serving.enrolment.tls import to_node

pytestmark = pytest.mark.anyio


async def test_it_stays_open_while_no_gateway_has_said_that_it_is_there(tmp_path):
    node, gateway = tmp_path / "node.pem", tmp_path / "gateway.pem"
    shown, trusted = certificate(node, "node"), certificate(gateway, "gateway")
    port = held_port()
    front = Front("127.0.0.1", port, node)
    await front.trust([trusted])
    await front.trust([])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=to_node(shown, gateway))
    writer.transport.abort()
    await front.close()
