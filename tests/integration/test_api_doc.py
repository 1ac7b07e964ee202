"""docs/api.md: every endpoint is on it, and every line of shell on it does what it says."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from api_page import PAGE, SECTION, examples, wrong
from customer_api import ADMIN_KEY
from served import Served, configuration, serve

from gateway.enrolment.enrolment import invitation
from gateway.enrolment.node import Terms
from gateway.enrolment.node_store import NodeStore
from gateway.home import Home
from gateway.openai.request import ENDPOINT_OF_PATH
from gateway.wiring import Gateway
from ide.params import IdeParams
from ide.settlement import settle
from metering.backend import open_database
from serving.enrolment.messages import Hardware, Lease
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
ENROLMENT = '[enrolment]\nauthority = "gw.example"\n'
OTHER_NAMES = {"POST /rerank", "POST /v2/rerank", "POST /score"}


async def test_every_line_does_what_the_page_says(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    (home / "admin_key").write_text(ADMIN_KEY + "\n")
    async with FakeNode() as node, serve(home, configuration([node], model=ENROLMENT)) as gateway:
        await let_manage_keys(gateway)
        await let_an_epoch_settle(gateway)
        variables = {
            "BASE": gateway.base_url,
            "KEY": gateway.secret,
            "ADMIN": ADMIN_KEY,
            "MODEL": "fake",
            "NODE": enrolled_node(home),
        }
        found = [await wrong(example, variables, work) for example in examples()]
    assert len(found) > 60
    assert not any(found), "\n\n".join(filter(None, found))


def enrolled_node(home: Path) -> str:
    _, made = invitation(Terms(supplier_id="alice"), expires_ns=2)
    with contextlib.closing(open_database(home / "ledger.db")) as database:
        store = NodeStore(database)
        store.invite(made, now_ns=1)
        node = store.enrol(
            "key", 1, digest=made.digest, node_id="n-one", hardware=Hardware(), now_ns=1
        )
        said = Lease(state="ready", url="https://n:1", model="fake", capacity=1)
        assert store.lease(node.node_id, 1, said, now_ns=1, until_ns=2)
    return node.node_id


async def let_manage_keys(gateway: Served) -> None:
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    (key,) = (await gateway.client.get("/admin/v1/keys", headers=admin)).json()["data"]
    changed = await gateway.client.patch(
        f"/admin/v1/keys/{key['key_id']}", headers=admin, json={"manages_keys": True}
    )
    assert changed.status_code == 200, changed.text


async def let_an_epoch_settle(gateway: Served) -> None:
    asked = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
    (await gateway.client.post("/v1/chat/completions", json=asked)).raise_for_status()
    await gateway.charges(1)
    with gateway.ledger() as ledger:
        settle(ledger, IdeParams(), io_price_nano_usd=160_000_000, now_ns=1)


def test_every_endpoint_is_on_the_page(tmp_path: Path) -> None:
    async def routes() -> set[str]:
        gateway = Gateway(Home(tmp_path), configuration([], model=ENROLMENT))
        paths = gateway.app._rest.openapi()["paths"]
        return {f"{method.upper()} {path}" for path, ways in paths.items() for method in ways}

    served = asyncio.run(routes()) | {f"POST {path}" for path in ENDPOINT_OF_PATH}
    assert served - OTHER_NAMES == set(SECTION.findall(PAGE))
