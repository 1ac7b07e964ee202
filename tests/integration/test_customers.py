"""Customers, their keys and their usage, over HTTP on a real gateway."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from customer_api import ADMIN_KEY, ASKED, CHAT, Api, gateway
from served import configuration, eventually, serve

from gateway.ledger_config import LedgerConfig
from metering.key_store import KeyStore
from metering.sqlite_database import SqliteDatabase
from serving.fake_node import FakeNode

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("same_day")]


async def test_an_account_is_opened_lent_to_and_closed(home):
    async with gateway(home) as (served, admin):
        new = {"account": "bob", "credit_line_nano_usd": 10**9, "warn_below_nano_usd": 5}
        opened = await admin("POST", "/admin/v1/accounts", new)
        assert opened["created"]
        assert opened["available_usd"] == opened["credit_line_usd"] == "1"
        assert opened["paid_in_nano_usd"] == opened["credit_drawn_nano_usd"] == 0
        assert not (await admin("POST", "/admin/v1/accounts", new))["created"]
        made = await admin("POST", "/admin/v1/keys", {"account": "bob", "name": "k"})
        bob = Api(served.client, made["api_key"])
        await bob("POST", CHAT, ASKED)
        (charge,) = await served.charges(1)
        shown = await admin("GET", "/admin/v1/accounts/bob")
        assert shown["credit_drawn_nano_usd"] == shown["spent_nano_usd"] == charge.cost_nano_usd
        path = "/admin/v1/accounts/bob"
        low = {"credit_line_nano_usd": charge.cost_nano_usd - 1}
        assert await admin.code("PATCH", path, low, status=409) == "conflict"
        await admin("PATCH", path, {"state": "closed"})
        await bob("POST", CHAT, ASKED, status=401)
        assert await admin.code("PATCH", path, {"state": "active"}, status=409) == "conflict"
        await admin("POST", "/admin/v1/keys", {"account": "bob"}, status=409)
        with served.ledger() as ledger:
            assert ledger.verify().ok


async def test_a_suspended_account_is_served_nothing_until_it_is_active_again(home):
    async with gateway(home) as (served, admin):
        acme = Api(served.client, served.secret)
        await acme("POST", CHAT, ASKED)
        await admin("PATCH", "/admin/v1/accounts/acme", {"state": "suspended"})
        assert await acme.code("POST", CHAT, ASKED, status=403) == "account_suspended"
        await acme("GET", "/v1/key")
        await admin("PATCH", "/admin/v1/accounts/acme", {"state": "active"})
        await acme("POST", CHAT, ASKED)
        assert len(await served.charges(2)) == 2


async def test_a_low_balance_is_warned_of(home, caplog, monkeypatch):
    monkeypatch.setattr("gateway.balance_watch.LOOK_S", 0.01)
    async with gateway(home) as (_, admin):
        path = "/admin/v1/accounts/acme"
        await admin("PATCH", path, {"warn_below_nano_usd": 2 * 10**9})
        found = await eventually(
            lambda: admin("GET", "/admin/v1/warnings"), lambda answer: answer["data"]
        )
        (warning,) = found["data"]
        assert (warning["account"], warning["available_usd"]) == ("acme", "1")
        assert (await admin("GET", path))["warned_at"] is not None
        assert "'acme' has 1 USD available, less than the 2" in caplog.text


NONSENSE = [
    ("POST", "accounts", {"account": "Bob!"}, 400, None),
    ("POST", "accounts", {}, 400, None),
    ("POST", "accounts", {"account": "b", "credit_line_nano_usd": -1}, 400, "credit_line_nano"),
    ("POST", "accounts", {"account": "b", "colour": 1}, 400, None),
    ("PATCH", "accounts/acme", {"state": "gone"}, 400, "state"),
    ("PATCH", "accounts/nobody", {}, 404, None),
    ("GET", "accounts/nobody", None, 404, None),
    ("GET", "accounts?limit=0", None, 400, "limit"),
    ("GET", "accounts?colour=1", None, 400, None),
    ("POST", "keys", {}, 400, "account"),
    ("POST", "keys", {"account": "a", "spend_cycle": "daily"}, 400, None),
    ("POST", "keys", {"account": "a", "spend_cycle": "yearly"}, 400, "spend_cycle"),
    ("POST", "keys", {"account": "a", "models": []}, 400, "models"),
    ("POST", "keys", {"parent_key_id": "key_0"}, 409, None),
    ("GET", "keys/key_0", None, 404, None),
    ("PATCH", "keys/key_0", {}, 404, None),
    ("DELETE", "keys/key_0", None, 404, None),
    ("POST", "keys/key_0/rotate", {}, 404, None),
    ("POST", "keys/key_0/rotate", {"grace_s": 10**9}, 400, "grace_s"),
]


async def test_what_makes_no_sense_is_refused(home):
    async with gateway(home) as (_, admin):
        for method, path, body, status, param in NONSENSE:
            answer = await admin(method, f"/admin/v1/{path}", body, status=status)
            assert (answer["error"]["param"] or "").startswith(param or ""), path


async def test_admin_lists_are_paged(home):
    async with gateway(home) as (_, admin):
        for name in ("a", "b", "c"):
            await admin("POST", "/admin/v1/accounts", {"account": name})
            await admin("POST", "/admin/v1/keys", {"account": "a", "name": name})
        seen, after = [], ""
        while True:
            page = await admin("GET", f"/admin/v1/accounts?limit=2{after}")
            seen += [each["account"] for each in page["data"]]
            if not page["has_more"]:
                break
            after = f"&after={page['next_cursor']}"
        assert seen == ["a", "acme", "b", "c"]
        first = await admin("GET", "/admin/v1/keys?account=a&limit=2")
        rest = await admin("GET", f"/admin/v1/keys?account=a&after={first['next_cursor']}")
        assert [key["name"] for key in first["data"] + rest["data"]] == ["a", "b", "c"]


async def test_a_key_that_manages_makes_changes_and_revokes_its_own(home):
    async with gateway(home) as (served, admin):
        terms = {"manages_keys": True, "models": ["fake"], "spend_cap_nano_usd": 10**9}
        made = await admin("POST", "/admin/v1/keys", {"account": "acme", **terms})
        manager = Api(served.client, made["api_key"])
        sub = await manager("POST", "/v1/keys", {"name": "ci", "spend_cap_nano_usd": 10**6})
        child = Api(served.client, sub["api_key"])
        await child("POST", CHAT, ASKED)
        path = f"/v1/keys/{sub['key_id']}"
        assert (await manager("PATCH", path, {"name": "build"}))["name"] == "build"
        assert [key["key_id"] for key in (await manager("GET", "/v1/keys"))["data"]] == [
            sub["key_id"]
        ]
        beyond = {"spend_cap_nano_usd": 10**9 + 1}
        assert await manager.code("PATCH", path, beyond, status=400) == "invalid_value"
        assert await manager.code("POST", "/v1/keys", beyond, status=400) == "invalid_value"
        assert await manager.code("POST", "/v1/keys", {"manages_keys": True}, status=400)
        rotated = await manager("POST", f"{path}/rotate", {"grace_s": 60})
        for secret in (sub["api_key"], rotated["api_key"]):
            await Api(served.client, secret)("GET", "/v1/key")
        await manager("DELETE", path)
        await Api(served.client, rotated["api_key"])("POST", CHAT, ASKED, status=401)


async def test_no_key_reaches_what_it_did_not_make(home):
    async with gateway(home) as (served, admin):
        acme = Api(served.client, served.secret)
        refused = await acme.code("POST", "/v1/keys", {}, status=403)
        assert refused == "key_management_not_allowed"
        made = [
            await admin("POST", "/admin/v1/keys", {"account": "acme", "manages_keys": True})
            for _ in range(2)
        ]
        one, other = (Api(served.client, each["api_key"]) for each in made)
        sub = await one("POST", "/v1/keys", {})
        for key_id in (sub["key_id"], made[0]["key_id"], "key_0"):
            path = f"/v1/keys/{key_id}"
            assert await other.code("GET", path, status=404) == "not_found"
            assert await other.code("PATCH", path, {"name": "x"}, status=404) == "not_found"
            assert await other.code("DELETE", path, status=404) == "not_found"
            assert await other.code("POST", f"{path}/rotate", status=404) == "not_found"
        await one("GET", f"/v1/keys/{sub['key_id']}")
        for path in ("/admin/v1/keys", "/admin/v1/accounts"):
            assert await one.code("GET", path, status=403) == "admin_key_required"


async def test_revoking_a_parent_revokes_its_sub_keys_at_once(home):
    async with gateway(home) as (served, admin):
        made = await admin("POST", "/admin/v1/keys", {"account": "acme", "manages_keys": True})
        sub = await Api(served.client, made["api_key"])("POST", "/v1/keys", {})
        child = Api(served.client, sub["api_key"])
        await child("POST", CHAT, ASKED)
        await admin("DELETE", f"/admin/v1/keys/{made['key_id']}")
        await child("POST", CHAT, ASKED, status=401)


async def test_sub_keys_share_the_rates_of_their_parent(home):
    async with gateway(home) as (served, admin):
        terms = {"account": "acme", "manages_keys": True, "requests_per_minute": 3}
        made = await admin("POST", "/admin/v1/keys", terms)
        manager = Api(served.client, made["api_key"])
        subs = [await manager("POST", "/v1/keys", {}) for _ in range(4)]
        assert subs[0]["requests_per_minute"] is None
        callers = [Api(served.client, sub["api_key"]) for sub in subs]
        for caller in callers[:3]:
            await caller("POST", CHAT, ASKED)
        assert (await callers[0]("GET", "/v1/key"))["data"]["requests_per_minute"] == 3
        code = await callers[3].code("POST", CHAT, ASKED, status=429)
        assert code == "rate_limit_exceeded"
        await manager("POST", CHAT, ASKED, status=429)


async def test_a_key_is_told_what_it_may_do_and_has_used(home):
    async with gateway(home) as (served, admin):
        new = {
            "account": "acme",
            "name": "app",
            "spend_cap_nano_usd": 10**8,
            "spend_cycle": "daily",
            "expires_at": 8_000_000_000,
            "manages_keys": True,
        }
        made = await admin("POST", "/admin/v1/keys", new)
        key = Api(served.client, made["api_key"])
        sub = await key("POST", "/v1/keys", {})
        await key("POST", CHAT, ASKED)
        child = Api(served.client, sub["api_key"])
        await child("POST", CHAT, ASKED)
        cost = sum(charge.cost_nano_usd for charge in await served.charges(2))
        told = (await key("GET", "/v1/key"))["data"]
        assert (told["label"], told["limit"], told["limit_reset"]) == ("app", 0.1, "daily")
        assert told["spent_in_cycle_nano_usd"] == cost
        assert told["remaining_nano_usd"] == 10**8 - cost
        assert told["limit_remaining"] == pytest.approx((10**8 - cost) / 1e9)
        assert told["usage"] == told["usage_daily"] == told["usage_monthly"]
        assert told["expires_at"] == "2223-07-06T14:13:20Z"
        assert told["resets_at"] % 86_400 == 0
        assert told["account_available_nano_usd"] == 10**9 - cost
        of_child = (await child("GET", "/v1/key"))["data"]
        assert of_child["limit"] is None
        assert of_child["remaining_nano_usd"] == 10**8 - cost
        assert of_child["usage"] < told["usage"]
        assert "account_available_nano_usd" not in of_child


async def test_a_key_is_told_what_is_left_of_its_accounts_free_tokens(home):
    async with FakeNode() as node:
        config = configuration([node])
        model = msgspec.structs.replace(config.model[0], free_tokens_per_day=10_000)
        async with serve(home, msgspec.structs.replace(config, model=(model,))) as served:
            acme = Api(served.client, served.secret)
            await acme("POST", CHAT, ASKED)
            (charge,) = await served.charges(1)
            used = charge.prompt_tokens + charge.completion_tokens
            (told,) = (await acme("GET", "/v1/key"))["data"]["allowances"]
            assert (told["model"], told["used"]) == ("fake", used)
            assert told["remaining"] == 10_000 - used
            assert told["resets_at"] % 86_400 == 0


async def test_customers_in_postgresql(home, postgres_url):
    """Not a word of HTTP is another one."""
    (home / "ledger_url").write_text(postgres_url)
    ledger = LedgerConfig(url_file=str(home / "ledger_url"))
    async with FakeNode() as node:
        config = msgspec.structs.replace(configuration([node]), ledger=ledger)
        async with serve(home, config) as served:
            admin = Api(served.client, ADMIN_KEY)
            new = {"account": "bob", "credit_line_nano_usd": 10**9, "warn_below_nano_usd": 5}
            assert (await admin("POST", "/admin/v1/accounts", new))["credit_line_usd"] == "1"
            terms = {"account": "bob", "manages_keys": True, "models": ["fake"]}
            made = await admin("POST", "/admin/v1/keys", terms)
            manager = Api(served.client, made["api_key"])
            sub = await manager("POST", "/v1/keys", {"name": "ci"})
            child = Api(served.client, sub["api_key"])
            for caller in (manager, child, child):
                await caller("POST", CHAT, ASKED)
            path = "/v1/usage?group_by=day,key"
            await eventually(
                lambda: manager("GET", path), lambda answer: answer["total"]["requests"] == 3
            )
            used = await manager("GET", f"{path}&limit=1")
            rest = await manager("GET", f"{path}&after={used['next_cursor']}")
            costs = [row["cost_nano_usd"] for row in used["data"] + rest["data"]]
            assert sum(costs) == used["total"]["cost_nano_usd"] > 0
            told = (await manager("GET", "/v1/key"))["data"]
            assert told["spent_in_cycle_nano_usd"] == sum(costs)
            shown = await admin("GET", "/admin/v1/accounts/bob")
            assert shown["credit_drawn_nano_usd"] == sum(costs)
            await admin("PATCH", "/admin/v1/accounts/bob", {"state": "suspended"})
            assert await child.code("POST", CHAT, ASKED, status=403) == "account_suspended"
            await admin("DELETE", f"/admin/v1/keys/{made['key_id']}")
            await child("GET", "/v1/key", status=401)


async def test_two_revocations_of_another_process_within_a_moment_are_both_seen(home):
    async with gateway(home) as (served, _):
        with contextlib.closing(SqliteDatabase(home / "ledger.db")) as database:
            store = KeyStore(database)
            made = [store.create("acme") for _ in range(2)]
            callers = [Api(served.client, secret) for _, secret in made]
            for caller in callers:
                await caller("GET", "/v1/key")
            for key, _ in made:
                store.revoke(key.key_id)
        for _, secret in made:
            headers = {"authorization": f"Bearer {secret}"}
            await eventually(
                lambda headers=headers: served.client.get("/v1/key", headers=headers),
                lambda answer: answer.status_code == 401,
            )
