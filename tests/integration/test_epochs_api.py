"""`/epochs`: settled epochs for everyone, proofs that convince, a page that loads nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from customer_api import ADMIN_KEY
from served import Served, configuration, serve

from ide.params import IdeParams
from ide.proof import check_proof
from ide.settlement import settle
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
ASKED = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
CENTS_16 = 160_000_000


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    """Three epochs: one of a chat, an empty one, one of two chats that no price could pay in IO."""
    (tmp_path / "admin_key").write_text(ADMIN_KEY + "\n")
    async with FakeNode() as node, serve(tmp_path, configuration([node])) as served:
        with served.ledger() as ledger:
            charged = 0
            for chats, price in ((1, CENTS_16), (0, CENTS_16), (2, None)):
                for _ in range(chats):
                    (
                        await served.client.post("/v1/chat/completions", json=ASKED)
                    ).raise_for_status()
                charged += chats
                await served.charges(charged)
                settle(
                    ledger, IdeParams(), io_price_nano_usd=price, now_ns=10**18, even_if_empty=True
                )
        del served.client.headers["authorization"]
        yield served


async def test_epochs_are_listed_newest_first_and_chained(gateway: Served) -> None:
    told = (await gateway.client.get("/epochs")).json()
    assert [each["epoch"] for each in told["data"]] == [3, 2, 1]
    assert told["data"][0]["previous"] == told["data"][1]["hash"]
    page = (await gateway.client.get("/epochs", params={"limit": 2})).json()
    assert page["has_more"]
    rest = await gateway.client.get("/epochs", params={"before": page["next_cursor"]})
    assert [each["epoch"] for each in rest.json()["data"]] == [1]


async def test_an_epoch_its_payouts_and_a_proof_without_any_key(gateway: Served) -> None:
    epoch = (await gateway.client.get("/epochs/1")).json()
    assert epoch["report"]["io_burned"] == epoch["io_burned"] > 0
    assert "payouts" not in epoch["report"]
    payouts = (await gateway.client.get("/epochs/1/payouts")).json()
    assert [row["supplier_id"] for row in payouts["data"]] == ["supplier-0"]
    after = (await gateway.client.get("/epochs/1/payouts", params={"after": 0})).json()
    assert after["data"] == []
    told = await gateway.client.get("/epochs/1/proof", params={"supplier": "supplier-0"})
    proved = check_proof(told.content, epoch["root"])
    assert proved.payout.io_paid == payouts["data"][0]["io_paid"] > 0
    assert proved.charges is None


async def test_charges_are_for_who_has_the_admin_key(gateway: Served) -> None:
    asked = {"supplier": "supplier-0", "charges": "true"}
    assert (await gateway.client.get("/epochs/3/proof", params=asked)).status_code == 401
    customer = {"authorization": f"Bearer {gateway.secret}"}
    refused = await gateway.client.get("/epochs/3/proof", params=asked, headers=customer)
    assert refused.status_code == 403
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    told = await gateway.client.get("/epochs/3/proof", params=asked, headers=admin)
    assert check_proof(told.content).charges == 2
    assert "acme" not in told.text


async def test_the_page_says_all_and_loads_nothing(gateway: Served) -> None:
    for epoch, says in ((1, "supplier-0"), (2, "Nothing was owed"), (3, "none")):
        told = await gateway.client.get(f"/epochs/{epoch}", params={"format": "html"})
        assert told.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in told.headers["content-security-policy"]
        assert f"<h1>Epoch {epoch}</h1>" in told.text
        assert says in told.text
        assert (await gateway.client.get(f"/epochs/{epoch}")).json()["root"] in told.text
        assert not re.search(r"(?:src|href|url)\s*[=(]", told.text)
        assert told.text.count("<tr>") == told.text.count("</tr>")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/epochs/4", 404),
        ("/epochs/4/payouts", 404),
        ("/epochs/4/proof?supplier=a", 404),
        ("/epochs/1/proof?supplier=nobody", 404),
        ("/epochs/1/proof", 400),
        ("/epochs/1/proof?supplier=a%00", 400),
        ("/epochs/1/proof?supplier=../a", 400),
        ("/epochs/0", 400),
        ("/epochs/x", 400),
        ("/epochs/99999999999999999999999", 400),
        ("/epochs?limit=0", 400),
        ("/epochs?before=99999999999999999999999", 400),
        ("/epochs/1?format=pdf", 400),
        ("/epochs/1/payouts?after=-1", 400),
    ],
)
async def test_what_is_not_there_or_makes_no_sense(gateway: Served, path: str, status: int) -> None:
    refused = await gateway.client.get(path)
    assert refused.status_code == status, refused.text
    assert refused.json()["error"]["message"]
