"""Who reaches what: every visitor without a right to a route is refused by it, on every route."""

from __future__ import annotations

import asyncio

import pytest
from console.route_table import Entry, May, entries
from console.world import ADMIN_KEY
from served import Served

pytestmark = pytest.mark.anyio

REFUSED = {401, 403}


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def let_its_key_manage_keys(world: Served) -> None:
    admin = bearer(ADMIN_KEY)
    (key,) = (await world.client.get("/admin/v1/keys", headers=admin)).json()["data"]
    path = f"/admin/v1/keys/{key['key_id']}"
    changed = await world.client.patch(path, headers=admin, json={"manages_keys": True})
    assert changed.json()["manages_keys"]


async def visitors(world: Served) -> dict[str, dict[str, str]]:
    return {
        "nobody": {},
        "customer": bearer(world.secret),
        "forged admin key": bearer(ADMIN_KEY[:-1] + "0"),
        "admin": bearer(ADMIN_KEY),
    }


MAY = {
    "nobody": {May.ANYONE},
    "customer": {May.ANYONE, May.CUSTOMER},
    "forged admin key": {May.ANYONE},
    "admin": {May.ANYONE, May.ADMIN},
}


async def test_every_route_is_open_to_whom_the_table_says_and_to_nobody_else(
    world: Served,
) -> None:
    await let_its_key_manage_keys(world)
    table = await entries(world)
    assert len(table) > 90
    del world.client.headers["authorization"]
    problems = []
    for name, headers in (await visitors(world)).items():
        asked = (_status(world, entry, headers) for entry in table)
        for entry, status in zip(table, await asyncio.gather(*asked), strict=True):
            allowed = entry.may in MAY[name]
            if allowed == (status in REFUSED) or status >= 500:
                problems.append(f"{name}: {entry.method} {entry.asked()} answered {status}")
    world.client.headers.update(bearer(world.secret))
    assert not problems, "\n".join(problems)


async def _status(world: Served, entry: Entry, headers: dict[str, str]) -> int:
    form = entry.path.startswith(("/console", "/explorer"))
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    answer = await world.client.request(
        entry.method,
        entry.asked(),
        headers={**headers, "content-type": kind},
        content=b"" if entry.method == "GET" else b"x=1" if form else b"{}",
    )
    return answer.status_code


def test_a_route_without_a_rule_is_found() -> None:
    with pytest.raises(AssertionError, match="has no rule"):
        _ = Entry("GET", "/v1/secrets").may
