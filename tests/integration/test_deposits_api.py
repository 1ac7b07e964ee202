"""Money in over the admin API, spent at once, and told in statements."""

from __future__ import annotations

import contextlib
import time

import pytest
from customer_api import ADMIN_KEY
from served import configuration, eventually, serve

from metering.backend import open_database
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.month import month_at
from serving.fake_node import FakeNode

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("same_day")]
USDC = {"method": "usdc", "amount_usd": "100", "id": "tx1", "reference": "5Kx"}
CHAT = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}


class Admin:
    def __init__(self, served):
        self._served = served
        self._headers = {"authorization": f"Bearer {ADMIN_KEY}"}

    async def post(self, path, body, **headers):
        url = f"/admin/v1{path}"
        return await self._served.client.post(url, json=body, headers=self._headers | headers)

    async def get(self, path, **params):
        url = f"/admin/v1{path}"
        return await self._served.client.get(url, params=params, headers=self._headers)

    async def deposit(self, **fields):
        return await self.post("/accounts/acme/deposits", USDC | fields)


@pytest.fixture
async def served(tmp_path):
    (tmp_path / "admin_key").write_text(ADMIN_KEY + "\n")
    async with (
        FakeNode() as node,
        serve(tmp_path, configuration([node]), credit_usd="0.000001") as running,
    ):
        yield running


@pytest.fixture
def admin(served):
    return Admin(served)


async def test_a_deposit_can_be_spent_once_it_is_answered(served, admin):
    assert (await served.client.post("/v1/chat/completions", json=CHAT)).status_code == 402
    answer = await admin.deposit()
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert (made["amount_nano_usd"], made["fee_nano_usd"]) == (100 * 10**9, 2 * 10**9)
    assert (await served.client.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_the_same_again_is_the_same_answer_and_anything_else_a_conflict(admin):
    first = await admin.deposit()
    again = await admin.deposit()
    assert again.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    for other in ({"amount_usd": "101"}, {"reference": "x"}, {"method": "manual"}):
        answer = await admin.deposit(**other)
        assert answer.status_code == 409, answer.text
        assert answer.json()["error"]["code"] == "conflict"
    answer = await admin.post("/accounts/bob/deposits", USDC)
    assert answer.status_code == 409


async def test_the_id_may_come_as_a_header(admin):
    body = {key: value for key, value in USDC.items() if key != "id"}
    header = {"idempotency-key": "h1"}
    first = await admin.post("/accounts/acme/deposits", body, **header)
    assert first.json()["id"] == "h1"
    assert (await admin.post("/accounts/acme/deposits", body, **header)).json() == first.json()
    assert (await admin.post("/accounts/acme/deposits", body)).status_code == 400
    both = await admin.post("/accounts/acme/deposits", USDC, **header)
    assert (both.status_code, both.json()["error"]["param"]) == (400, "id")


async def test_a_card_payment_is_booked_once_by_its_reference(admin):
    body = {"method": "card", "amount_usd": "20.00", "reference": "ch_1"}
    first = await admin.post("/accounts/acme/deposits", body, **{"idempotency-key": "a"})
    again = await admin.post("/accounts/acme/deposits", body, **{"idempotency-key": "b"})
    assert first.json()["id"] == "ch_1"
    assert again.json() == first.json()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"method": "usdc", "id": "x"}, "needs its amount_usd"),
        ({"method": "usdc", "id": "x", "amount_usd": "1", "amount_io": "1"}, "no other amount"),
        ({"method": "usdc", "id": "x", "amount_usd": "one"}, "no amount of USD"),
        ({"method": "usdc", "id": "x", "amount_usd": "0"}, "above 0"),
        ({"method": "cash", "id": "x", "amount_usd": "1"}, "Supported values are"),
        ({"method": "usdc", "id": "x", "amount_usd": "1", "fee": "0"}, "argument supplied: fee"),
        ({"method": "io", "id": "x", "amount_io": "1"}, "needs the price"),
        ({"method": "card", "amount_usd": "1"}, "give the reference"),
        (
            {"method": "io", "id": "x", "amount_io": "1",
             "io_price": {"usd": "0.16", "source": "pyth", "at": 1}},
            "s old",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_answered_400(admin, body, why):
    answer = await admin.post("/accounts/acme/deposits", body)
    assert answer.status_code == 400, answer.text
    assert why in answer.json()["error"]["message"]


async def test_io_in_and_back_again_with_the_books_in_balance(served, admin):
    price = {"usd": "0.16", "source": "pyth", "at": int(time.time())}
    body = {"method": "io", "id": "i/1", "amount_io": "10", "io_price": price}
    made = (await admin.post("/accounts/acme/deposits", body)).json()
    assert (made["amount_usd"], made["io"], made["io_price"]["source"]) == ("1.6", "10", "pyth")
    shown = (await admin.get("/deposits/i/1")).json()
    assert shown["refundable_nano_usd"] == 1_600_000_000
    back = await admin.post("/deposits/i/1/refunds", {"id": "r1", "amount_usd": "0.8"})
    assert (back.status_code, back.json()["io"]) == (200, "5")
    with served.ledger() as ledger:
        assert ledger.balance("io:treasury").posted == 500_000_000
        assert ledger.verify().ok


async def test_a_refund_is_made_once_and_never_above_its_deposit(admin):
    await admin.deposit()
    refund = {"id": "r1", "amount_usd": "40"}
    first = await admin.post("/deposits/tx1/refunds", refund)
    again = await admin.post("/deposits/tx1/refunds", refund)
    assert again.json() == first.json()
    other = await admin.post("/deposits/tx1/refunds", refund | {"amount_usd": "41"})
    assert other.status_code == 409
    much = await admin.post("/deposits/tx1/refunds", {"id": "r2", "amount_usd": "58.01"})
    assert (much.status_code, "at most 58" in much.text) == (400, True)
    assert (await admin.post("/deposits/tx2/refunds", refund)).status_code == 404
    assert (await admin.get("/deposits/tx2")).status_code == 404
    listed = (await admin.get("/accounts/acme/deposits", limit=1)).json()
    assert (listed["data"][0]["refunded_nano_usd"], listed["has_more"]) == (40 * 10**9, True)
    rest = await admin.get("/accounts/acme/deposits", after=listed["next_cursor"])
    assert [each["id"] for each in rest.json()["data"]] == ["acme"]


async def test_what_was_refunded_is_not_spent_again(served, admin):
    await admin.deposit()
    assert (await served.client.post("/v1/chat/completions", json=CHAT)).status_code == 200
    await served.charges(1)
    assert (await admin.post("/deposits/tx1/refunds", {"id": "r1"})).status_code == 200

    async def ask():
        return (await served.client.post("/v1/chat/completions", json=CHAT)).status_code

    # The balance that this gateway holds in memory follows within a poll of the ledger.
    assert await eventually(ask, lambda status: status == 402) == 402


async def test_a_statement_for_the_operator_and_for_the_customer(served, admin):
    await admin.deposit()
    assert (await served.client.post("/v1/chat/completions", json=CHAT)).status_code == 200
    (charge,) = [each for each in await served.charges(1) if each.charged_nano_usd]
    month = month_at(time.time_ns())
    told = (await admin.get(f"/accounts/acme/statements/{month}")).json()
    own = (await served.client.get(f"/v1/statements/{month}")).json()
    assert own == told
    assert own["totals"]["usage_nano_usd"] == charge.charged_nano_usd
    assert own["closing_nano_usd"] == 98 * 10**9 + 1_000 - charge.charged_nano_usd
    page = await served.client.get(f"/v1/statements/{month}", params={"format": "html"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Statement so far" in page.text
    assert (await admin.get(f"/accounts/amce/statements/{month}")).status_code == 404
    assert (await admin.get("/accounts/amce/deposits")).status_code == 404
    for wrong in ("2026-13", "2999-01"):
        assert (await served.client.get(f"/v1/statements/{wrong}")).status_code == 400
    assert (await served.client.get(f"/v1/statements/{month}", headers={"authorization": ""})
            ).status_code == 401  # fmt: skip


async def test_a_key_that_another_made_sees_no_statement(served, admin, tmp_path):
    with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
        store = KeyStore(database)
        parent, _ = store.create("acme", "parent", KeyTerms(manages_keys=True))
        _, secret = store.create_sub_key(parent.key_id, "child")
    headers = {"authorization": f"Bearer {secret}"}
    month = month_at(time.time_ns())
    answer = await served.client.get(f"/v1/statements/{month}", headers=headers)
    assert answer.status_code == 403
