"""Who reaches what: every visitor without a right to a route is refused by it, on every route."""

from __future__ import annotations

import asyncio
import contextlib
import html
import time

import httpx
import pytest
from console.route_table import Entry, May, entries
from console.world import ADMIN_KEY
from served import Served

from gateway.console.gate import COOKIE
from gateway.console.sessions import IDLE_NS, LASTS_NS, Sessions
from metering.backend import open_database

pytestmark = pytest.mark.anyio

REFUSED = {401, 403}
AT_ONCE = 12
CSRF = "not one of this session's"


BAD_ONLY_AT_THE_CONSOLE = frozenset(
    {
        "changed session",
        "ended session",
        "idle session",
        "session of another admin key",
        "customer's key as a session",
        "admin key as a session",
    }
)
"""A cookie is looked at nowhere else, which the others show."""


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def let_its_key_manage_keys(world: Served) -> None:
    admin = bearer(ADMIN_KEY)
    (key,) = (await world.client.get("/admin/v1/keys", headers=admin)).json()["data"]
    path = f"/admin/v1/keys/{key['key_id']}"
    changed = await world.client.patch(path, headers=admin, json={"manages_keys": True})
    assert changed.json()["manages_keys"]


def cookie(secret: str) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={secret}"}


def sessions(world: Served) -> dict[str, dict[str, str]]:
    """Of the operator, and those that were good once or never."""
    with contextlib.closing(open_database(world.home / "ledger.db")) as database:
        store, now_ns = Sessions(database, ADMIN_KEY), time.time_ns()
        good, _ = store.begin(now_ns)
        ended, _ = store.begin(now_ns)
        store.end(ended)
        expired, _ = store.begin(now_ns - LASTS_NS - 1)
        idle, _ = store.begin(now_ns - IDLE_NS - 1)
        of_another_key, _ = Sessions(database, ADMIN_KEY + "0").begin(now_ns)
    return {
        "operator": cookie(good),
        "forged session": cookie("x" * len(good)),
        "changed session": cookie(good[:-1] + ("A" if good[-1] != "A" else "B")),
        "ended session": cookie(ended),
        "expired session": cookie(expired),
        "idle session": cookie(idle),
        "session of another admin key": cookie(of_another_key),
        "customer's key as a session": cookie(world.secret),
        "admin key as a session": cookie(ADMIN_KEY),
    }


def visitors(world: Served) -> dict[str, tuple[dict[str, str], set[May]]]:
    """What each sends, and what it may use."""
    return {
        "nobody": ({}, {May.ANYONE}),
        "customer": (bearer(world.secret), {May.ANYONE, May.CUSTOMER}),
        "forged admin key": (bearer(ADMIN_KEY[:-1] + "0"), {May.ANYONE}),
        "admin": (bearer(ADMIN_KEY), {May.ANYONE, May.ADMIN}),
        **{
            name: (headers, {May.ANYONE, May.OPERATOR} if name == "operator" else {May.ANYONE})
            for name, headers in sessions(world).items()
        },
    }


async def test_every_route_is_open_to_whom_the_table_says_and_to_nobody_else(
    world: Served,
) -> None:
    await let_its_key_manage_keys(world)
    table = await entries(world)
    assert len(table) > 100
    del world.client.headers["authorization"]
    problems = []
    for name, (headers, may) in visitors(world).items():
        doors = table if name not in BAD_ONLY_AT_THE_CONSOLE else _of(table, May.OPERATOR)
        for first in range(0, len(doors), AT_ONCE):
            some = doors[first : first + AT_ONCE]
            asked = (_reached(world, entry, headers) for entry in some)
            for entry, reached in zip(some, await asyncio.gather(*asked), strict=True):
                if reached is not (entry.may in may):
                    problems.append(f"{name}: {entry.method} {entry.asked()}: {reached=}")
    world.client.headers.update(bearer(world.secret))
    assert not problems, "\n".join(problems)


def _of(table: list[Entry], may: May) -> list[Entry]:
    return [entry for entry in table if entry.may is may]


async def _reached(world: Served, entry: Entry, headers: dict[str, str]) -> bool:
    """Was it let in, whatever it was told then? A form without a token is let in and refused."""
    form = entry.path.startswith(("/console", "/explorer"))
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    answer = await world.client.request(
        entry.method,
        entry.asked(),
        headers={**headers, "content-type": kind},
        content=b"" if entry.method == "GET" else b"x=1" if form else b"{}",
    )
    assert answer.status_code < 500, answer.text
    if answer.headers.get("location", "").startswith("/console/login"):
        return False
    if entry.path == "/console/login" and "not the admin key" in answer.text:
        return True
    return answer.status_code not in REFUSED or CSRF in html.unescape(answer.text)


async def test_a_form_is_taken_only_with_its_sessions_token_from_its_own_site(
    world: Served,
) -> None:
    with contextlib.closing(open_database(world.home / "ledger.db")) as database:
        store = Sessions(database, ADMIN_KEY)
        (mine, session), (_, others) = store.begin(time.time_ns()), store.begin(time.time_ns())
    path, once = "/console/act/drain-node/node-0", {"once": "0" * 32}
    refused = (
        ({}, {}),
        ({"csrf": others.csrf}, {}),
        ({"csrf": session.csrf}, {"sec-fetch-site": "cross-site"}),
        ({"csrf": session.csrf}, {"sec-fetch-site": "same-site"}),
    )
    for fields, headers in refused:
        answer = await world.client.post(
            path, data={**fields, **once}, headers={**cookie(mine), **headers}
        )
        assert answer.status_code == 403
    headers = {**cookie(mine), "sec-fetch-site": "same-origin"}
    answer = await world.client.post(path, data={"csrf": session.csrf, **once}, headers=headers)
    assert answer.status_code == 200


async def test_pages_run_nothing_of_others_and_load_nothing_from_elsewhere(world: Served) -> None:
    for path in ("/explorer", "/console/login", "/explorer/nothing"):
        answer = await world.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "<script>" not in answer.text
        assert " style=" not in answer.text


async def test_behind_tls_the_cookie_is_for_tls_alone_and_a_login_leads_nowhere_else(
    world: Served,
) -> None:
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")  # no wrong key came from there
    async with httpx.AsyncClient(base_url=world.base_url, transport=elsewhere) as client:
        form = {"key": ADMIN_KEY, "next": "//evil.example/"}
        by_tls = {"x-forwarded-proto": "https"}
        told = await client.post("/console/login", data=form, headers=by_tls)
        assert told.headers["location"] == "/console"
        assert "Secure" in told.headers["set-cookie"]
        for wanted in ("/console/keys?after=x", "/console/decisions/req_1"):
            form = {"key": ADMIN_KEY, "next": wanted}
            told = await client.post("/console/login", data=form)
            assert told.headers["location"] == wanted


def test_a_route_without_a_rule_is_found() -> None:
    with pytest.raises(AssertionError, match="has no rule"):
        _ = Entry("GET", "/v1/secrets").may
