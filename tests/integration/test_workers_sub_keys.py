"""Keys and the keys that they made, over several workers that share a Redis."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from served import eventually
from together import together, write_config

from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.limits import Limits
from metering.sqlite_database import SqliteDatabase
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 12}


def make_family(home, requests_per_minute: int) -> tuple[str, list[str]]:
    """The id of a key with that limit, and the secrets of four that it made."""
    terms = KeyTerms(limits=Limits(requests_per_minute=requests_per_minute), manages_keys=True)
    with contextlib.closing(SqliteDatabase(home / "ledger.db")) as database:
        store = KeyStore(database)
        parent, _ = store.create("acme", terms=terms)
        return parent.key_id, [store.create_sub_key(parent.key_id)[1] for _ in range(4)]


async def statuses(running, secrets: list[str]) -> list[int]:
    async def ask(secret: str) -> int:
        headers = {"authorization": f"Bearer {secret}"}
        return (await running.client.post(CHAT, json=ASKED, headers=headers)).status_code

    return await asyncio.gather(*(ask(secret) for secret in secrets))


async def test_sub_keys_have_their_parents_rates_over_all_workers(tmp_path, redis):
    async with FakeNode() as node:
        write_config(tmp_path, [node])
        _, secrets = make_family(tmp_path, 30)
        async with together(tmp_path, "--workers", "2") as running:
            answers = [status for _ in range(4) for status in await statuses(running, secrets * 5)]
            assert sorted(answers) == [200] * 30 + [429] * 50
            await running.end()


async def test_every_worker_forgets_the_sub_keys_of_a_revoked_key(tmp_path, redis):
    async with FakeNode() as node:
        write_config(tmp_path, [node])
        parent, secrets = make_family(tmp_path, 10_000)
        async with together(tmp_path, "--workers", "2") as running:
            assert set(await statuses(running, secrets * 3)) == {200}
            with contextlib.closing(SqliteDatabase(tmp_path / "ledger.db")) as database:
                KeyStore(database).revoke(parent)
            await eventually(
                lambda: statuses(running, secrets * 3), lambda answers: set(answers) == {401}
            )
            assert set(await statuses(running, secrets * 5)) == {401}
            await running.end()
