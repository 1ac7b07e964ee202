"""A ledger that a newer version migrates under a gateway of the version before, which serves on."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from served import open_account_at
from together import LEDGER, REDIS, Together, together, write_config

from metering.backend import open_ledger
from metering.postgres_link import MIGRATIONS
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
KNOWN = len(list(MIGRATIONS.glob("*.sql")))
A_TABLE = "CREATE TABLE of_a_newer_version (id TEXT PRIMARY KEY)"
A_COLUMN = "ALTER TABLE charge ADD COLUMN of_a_newer_version TEXT"
DROPPED = "ALTER TABLE charge DROP COLUMN of_a_newer_version"
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
EACH = 10


async def ask(gateway: Together) -> None:
    for _ in range(EACH):
        answer = await gateway.client.post("/v1/chat/completions", json=ASKED)
        assert answer.status_code == 200, answer.text


def charges(url: str) -> int:
    with contextlib.closing(open_ledger(url)) as ledger:
        assert ledger.verify().ok
        return len(list(ledger.charges()))


def migrate(url: str, version: int, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement)
        connection.execute("UPDATE ledger_schema SET version = %s", [version])


@pytest.mark.parametrize("added", [A_TABLE, A_COLUMN], ids=["table", "column"])
async def test_it_serves_on_and_every_charge_is_booked_once(
    tmp_path, redis, postgres_url, monkeypatch, added
):
    monkeypatch.setenv("TOLLGATE_TEST_LEDGER_URL", postgres_url)
    secret = open_account_at(postgres_url, "1")
    async with FakeNode() as node:
        write_config(tmp_path, [node], more=LEDGER + REDIS)
        async with together(tmp_path, "--workers", "1", secret=secret) as gateway:
            await ask(gateway)
            migrate(postgres_url, KNOWN + 1, added)
            await ask(gateway)
            assert (await gateway.client.get("/readyz")).status_code == 200
            await gateway.end()
        # from here on as a version that knows what was added would see it
        migrate(postgres_url, KNOWN, DROPPED if added == A_COLUMN else "SELECT 1")
        booked = charges(postgres_url)
        assert booked <= EACH if added == A_COLUMN else booked == 2 * EACH
        async with together(tmp_path, "--workers", "1", secret=secret) as gateway:
            await ask(gateway)
            await gateway.end()
    assert charges(postgres_url) == 3 * EACH
