"""Clients that connect to a busy gateway are taken together, not one in each turn of its loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from raw_node import WHOLE, RawNode, ok
from served import configuration, serve

from gateway.server import ACCEPTED_AT_ONCE

pytestmark = pytest.mark.anyio
CLIENTS = 4 * ACCEPTED_AT_ONCE


async def test_who_connects_waits_few_turns_of_the_loop(tmp_path):
    async with RawNode(ok(WHOLE)) as node, serve(tmp_path, configuration([node])) as served:
        taken = served.server.server_state.connections
        with contextlib.ExitStack() as clients:
            for _ in range(CLIENTS):  # while the loop stands still
                clients.enter_context(socket.create_connection(("127.0.0.1", served.server.port)))
            turns = 0
            while len(taken) < CLIENTS:
                await asyncio.sleep(0)
                turns += 1
        assert turns < CLIENTS / 4
