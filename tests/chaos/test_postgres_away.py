"""PostgreSQL away for as long as it takes, under load: two gateways serve on until their spools are
full, then refuse early; when it is back, all is booked, once, and nobody was restarted.
"""

from __future__ import annotations

import asyncio

import pytest
from served import eventually

from .gateway_process import BACKLOG, IN_FLIGHT, GatewayProcess
from .load import Load
from .rounds import CLIENTS, serves, settled
from .stand import ACCOUNTS, Stand, stand
from .verdict import Nodes, faults

pytestmark = pytest.mark.anyio

ROWS_MAX = 150
SPOOL = f"[spool]\nrows_max = {ROWS_MAX}\n"
ROWS_OF_A_REQUEST_MAX = 8
"""Its opening, its end, and what a stream of some hundred milliseconds tells between them."""
WAITING_BEFORE_MAX = ROWS_MAX // 2
"""What a spool may hold already when the ledger goes: the poster gathers before it posts."""
REFUSED = (429, "not_recording")


async def full(gateway: GatewayProcess) -> bool:
    """It takes no more, and what it took has ended."""
    return await gateway.metric("tollgate_recording") == 0 == await gateway.metric(IN_FLIGHT)


async def assert_refuses_early(made: Stand, load: Load) -> None:
    """Every key at every gateway, in the time of a few refusals and without asking a node."""
    asked_before = [len(node.received) for node in made.nodes]
    for gateway in made.gateways:
        for account, secret in made.keys:
            asked = await asyncio.wait_for(load.ask(account, secret, gateway.port), 5)
            assert (asked.status, asked.code) == REFUSED
            assert asked.retry_after_s >= 1
    assert [len(node.received) for node in made.nodes] == asked_before


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_ledger_away_for_long_fills_the_spools_and_costs_nothing(tmp_path, how):
    async with stand(tmp_path, postgres=True, more=SPOOL) as made:
        pids = [gateway.pid for gateway in made.gateways]
        load = Load([gateway.port for gateway in made.gateways], made.keys, CLIENTS, seed=5)
        loading = asyncio.create_task(load.run())
        await eventually(lambda: len(load.asked), lambda count: count > 100)

        before = len(load.asked)
        await made.kill_postgres(how)  # stopping takes it a while, in which it books nothing
        for gateway in made.gateways:
            await eventually(lambda gateway=gateway: full(gateway), bool, within_s=60)
            rows = await gateway.metric(BACKLOG)
            assert ROWS_MAX <= rows <= ROWS_MAX + CLIENTS * ROWS_OF_A_REQUEST_MAX
        meanwhile = load.asked[before:]
        served = sum(1 for asked in meanwhile if asked.usage is not None)
        room = len(made.gateways) * (ROWS_MAX - WAITING_BEFORE_MAX)
        assert served >= room // ROWS_OF_A_REQUEST_MAX
        assert REFUSED in {(asked.status, asked.code) for asked in meanwhile}
        await assert_refuses_early(made, load)

        await made.start()
        await serves(made, load, [key for key in made.keys if key[0] != "poor"])
        load.stopping.set()
        await loading
        assert [gateway.pid for gateway in made.gateways] == pids
        await settled(made, load.asked)
        nodes = Nodes()
        nodes.look(made.nodes)
        with made.ledger() as ledger:
            assert faults(ledger, load.asked, nodes, ACCOUNTS) == []
        assert await made.stop() == [0, 0]
        assert made.leases() == []
