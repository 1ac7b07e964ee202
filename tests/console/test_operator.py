"""The operator's console in a real browser: log in, look, act, and find it in the audit trail."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
from console.browser import PHONE, picture, serious_faults, visit
from console.world import ADMIN_KEY, ASKED, ENROLLED
from playwright.async_api import Browser, Page, expect
from served import Served

pytestmark = pytest.mark.anyio
PAGES = (
    "", "/nodes", "/nodes/node-1", f"/nodes/{ENROLLED}", "/decisions", "/customers",
    "/customers/acme", "/keys", "/budgets", "/epochs", "/proposals", "/audit",
    "/act/drain-node/node-1",
)  # fmt: skip


@contextlib.asynccontextmanager
async def operator(world: Served, browser: Browser, **options) -> AsyncIterator[Page]:
    async with visit(browser, world.base_url, **options) as page:
        await page.goto("/console/nodes")
        await page.get_by_label("Admin key").fill(ADMIN_KEY)
        await page.get_by_role("button", name="Log in").click()
        await expect(page).to_have_url(f"{world.base_url}/console/nodes")
        yield page


async def act(page: Page, link: str, button: str, **fields: str) -> str:
    """What the page says once it is done."""
    await page.get_by_role("link", name=link).click()
    for label, value in fields.items():
        await page.get_by_label(label.replace("_", " ")).fill(value)
    await page.get_by_role("button", name=button).click()
    return await page.get_by_role("status").inner_text()


async def audited(page: Page) -> list[list[str]]:
    """Action, subject and outcome of each line, the newest first."""
    await page.goto("/console/audit")
    rows = await page.locator("main tbody tr").all()
    return [(await row.locator("td").all_inner_texts())[1:4] for row in rows]


async def test_every_page_can_be_read_by_everyone(world: Served, browser: Browser) -> None:
    for name, options in (("light", {}), ("dark", {"viewport": PHONE, "color_scheme": "dark"})):
        async with operator(world, browser, **options) as page:
            for path in PAGES:
                await page.goto(f"/console{path}")
                assert await serious_faults(page) == []
                width = await page.evaluate("document.documentElement.scrollWidth")
                assert width <= page.viewport_size["width"], path
                await picture(page, f"console{path.replace('/', '-')}-{name}")
        async with visit(browser, world.base_url, **options) as page:
            await page.goto("/console")
            assert await serious_faults(page) == []
            await picture(page, f"login-{name}")


async def test_traffic_says_what_was_served_and_what_was_refused(
    world: Served, browser: Browser
) -> None:
    await world.client.post("/v1/chat/completions", json={**ASKED, "model": "no-such"})
    async with operator(world, browser) as page:
        await page.goto("/console")
        models = await page.get_by_role("region", name="Traffic by model").inner_text()
        assert "100.00" in models
        figures = " ".join((await page.locator(".figures").inner_text()).split())
        assert "Charges can be recorded yes Ledger takes them yes" in figures
        refused = await page.get_by_role("region", name="Refused requests").inner_text()
        assert "model_not_found" in refused


async def test_a_node_is_drained_and_let_serve_again(world: Served, browser: Browser) -> None:
    async def ready() -> int:
        return (await world.client.get("/readyz")).json()["nodes_ready"]["fake"]

    async with operator(world, browser) as page:
        await page.get_by_role("link", name="node-1").click()
        said = await act(page, "Drain", "Drain the node")
        assert "gets no new requests" in said
        assert await ready() == 3
        await page.goto("/console/nodes/node-1")
        await expect(page.locator(".lead")).to_contain_text("drained by the operator since")
        await act(page, "Stop draining", "Let it serve")
        assert await ready() == 4
        assert (await audited(page))[:4] == [
            ["undrain-node", "node-1", "done"],
            ["undrain-node", "node-1", "began"],
            ["drain-node", "node-1", "done"],
            ["drain-node", "node-1", "began"],
        ]


async def test_a_model_is_drained_and_let_serve_again(world: Served, browser: Browser) -> None:
    async with operator(world, browser) as page:
        await page.goto("/console")
        await act(page, "Drain fake", "Drain the model")
        refused = await world.client.post("/v1/chat/completions", json=ASKED)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "model_drained")
        assert (await world.client.get("/readyz")).status_code == 200
        await page.goto("/console")
        await act(page, "Stop draining fake", "Let it serve")
        (await world.client.post("/v1/chat/completions", json=ASKED)).raise_for_status()


async def test_the_audit_trail_tells_of_the_admin_api_too(world: Served, browser: Browser) -> None:
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    body = {"credit_line_nano_usd": 7 * 10**9}
    changed = await world.client.patch("/admin/v1/accounts/acme", json=body, headers=admin)
    changed.raise_for_status()
    async with operator(world, browser) as page:
        await page.goto("/console/audit?subject=acme&action=update-account")
        rows = await page.locator("main tbody tr").all()
        assert len(rows) == 2
        first = await rows[0].inner_text()
        assert "api" in first
        assert "credit line usd: 0 → 7" in first


async def test_an_enrolled_node_is_revoked_with_a_reason(world: Served, browser: Browser) -> None:
    async with operator(world, browser) as page:
        await page.get_by_role("link", name=ENROLLED).click()
        await act(page, "Revoke", "Revoke the node", Reason="stolen")
        await page.goto(f"/console/nodes/{ENROLLED}")
        await expect(page.locator("main")).to_contain_text("stolen")
        assert ["revoke-node", ENROLLED, "done"] in await audited(page)


async def test_a_key_is_rotated_then_revoked(world: Served, browser: Browser) -> None:
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    made = (
        await world.client.post("/admin/v1/keys", json={"account": "acme"}, headers=admin)
    ).json()
    key_id = made["key_id"]

    async def status(secret: str) -> int:
        headers = {"authorization": f"Bearer {secret}"}
        return (await world.client.get("/v1/key", headers=headers)).status_code

    async with operator(world, browser) as page:
        await page.goto("/console/keys")
        await act(
            page, f"New secret for {key_id}", "Make a new secret",
            Minutes_for_which_the_old_secret_stays_good="0",
        )  # fmt: skip
        secret = await page.locator("pre").inner_text()
        assert [await status(made["api_key"]), await status(secret)] == [401, 200]
        await page.goto("/console/keys")
        await act(page, f"Revoke {key_id}", "Revoke the key")
        assert await status(secret) == 401
        assert ["rotate-key", key_id, "done"] in await audited(page)
        assert secret not in await page.content()


async def test_a_deposit_is_booked_once_however_often_the_form_is_sent(
    world: Served, browser: Browser
) -> None:
    async with operator(world, browser) as page:
        await page.goto("/console/act/deposit/acme")
        await page.get_by_label("USD").fill("a lot")
        await page.get_by_role("button", name="Book it").click()
        await expect(page.get_by_role("alert")).to_contain_text("USD: Such as 25")
        await page.get_by_label("USD").fill("12.50")
        await page.get_by_label("Reference").fill("<b>bank</b>")
        fields = await page.evaluate("Object.fromEntries(new FormData(document.forms[1]))")
        await page.get_by_role("button", name="Book it").click()
        await expect(page.get_by_role("status")).to_contain_text("acme has 12.5 USD more")
        again = await page.request.post("/console/act/deposit/acme", form=fields)
        assert again.status == 409
        await page.goto("/console/customers/acme")
        deposits = page.get_by_role("region", name="Deposits")
        await expect(deposits.get_by_text("$12.50")).to_have_count(1)
        await expect(deposits.get_by_text("<b>bank</b>")).to_have_count(1)


async def test_an_epoch_is_closed_and_its_payout_proved(world: Served, browser: Browser) -> None:
    (await world.client.post("/v1/chat/completions", json=ASKED)).raise_for_status()
    async with operator(world, browser) as page:
        await page.goto("/console/epochs")
        said = await act(page, "Close the epoch now", "Close it")
        assert "Epoch 2 is settled" in said
        payouts = (await world.client.get("/epochs/2/payouts")).json()["data"]
        supplier = payouts[0]["supplier_id"]
        assert payouts[0]["io_paid"] > 0
        await page.goto(f"/explorer/proof?epoch=2&supplier={supplier}")
        await expect(page.get_by_role("status")).to_contain_text("The proof holds")
        await page.goto("/console/epochs")
        said = await act(page, "Close the epoch now", "Close it")
        assert "nothing to settle" in said


async def test_a_decision_is_explained(world: Served, browser: Browser) -> None:
    (await world.client.post("/v1/chat/completions", json=ASKED)).raise_for_status()
    async with operator(world, browser) as page:
        await page.goto("/console/decisions")
        await page.locator("main tbody a").first.click()
        await expect(page.locator("tr.chosen")).to_have_count(1)
        await expect(page.locator("main")).to_contain_text("the decision is the same")
        assert await serious_faults(page) == []
        await picture(page, "console-decision")


async def test_logging_out_ends_the_session_for_good(world: Served, browser: Browser) -> None:
    async with operator(world, browser) as page:
        (cookie,) = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (
            True,
            "Strict",
            "/console",
        )
        await page.get_by_role("button", name="Log out").click()
        await expect(page).to_have_url(f"{world.base_url}/console/login")
        await page.context.add_cookies([cookie])
        await page.goto("/console/keys")
        await expect(page.get_by_label("Admin key")).to_be_visible()


async def test_a_wrong_key_is_refused_and_after_ten_nobody_from_there_is_heard(
    world: Served, browser: Browser
) -> None:
    async with visit(browser, world.base_url) as page:
        await page.goto("/console")
        for _ in range(10):
            await page.get_by_label("Admin key").fill("wrong")
            await page.get_by_role("button", name="Log in").click()
            await expect(page.get_by_role("alert")).to_contain_text("not the admin key")
        await page.get_by_label("Admin key").fill(ADMIN_KEY)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("alert")).to_contain_text("Too many wrong keys")
