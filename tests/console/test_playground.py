"""The playground in a real browser: a chat that streams, with its tokens, its cost and its node."""

from __future__ import annotations

import pytest
from console.browser import PHONE, picture, serious_faults, visit
from console.world import ADMIN_KEY
from playwright.async_api import Browser, Page, expect
from served import Served

from metering.charge import ChargeRecord

pytestmark = pytest.mark.anyio
WATCH = """
    globalThis.lengths = [];
    new MutationObserver(() => {
        const words = document.querySelector(".assistant .words");
        if (words) lengths.push(words.textContent.length);
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
"""


async def connect(page: Page, key: str) -> None:
    await page.goto("/playground")
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Use this key").click()


async def next_charge(world: Served, count: int) -> ChargeRecord:
    """The latest one, once there are more than so many."""
    return _latest(await world.charges(count + 1))


def _latest(charges: list[ChargeRecord]) -> ChargeRecord:
    return max(charges, key=lambda charge: charge.created_ns)


async def test_a_chat_streams_and_says_what_it_took(world: Served, browser: Browser) -> None:
    async with visit(browser, world.base_url) as page:
        await connect(page, world.secret)
        await expect(page.get_by_label("Model")).to_have_value("fake")
        before = len(await world.charges(1))
        await page.evaluate(WATCH)
        await page.get_by_label("Your message").fill("Tell me <b>more</b>")
        await page.keyboard.press("Enter")
        facts = page.locator(".assistant .facts")
        await expect(facts).to_contain_text("tokens")
        lengths = await page.evaluate("lengths")
        assert lengths == sorted(lengths)
        charge = await next_charge(world, before)
        assert len(set(lengths)) > 3
        tokens = f"{charge.prompt_tokens} prompt + {charge.completion_tokens} completion tokens"
        await expect(facts).to_contain_text(tokens)
        cost = f"${charge.charged_nano_usd / 1e9:.9f}".rstrip("0")
        await expect(facts).to_contain_text(cost)
        assert "node" not in await facts.inner_text()
        await expect(page.locator(".user .words")).to_have_text("Tell me <b>more</b>")
        await expect(page.locator("#sum")).to_contain_text("So far 1 request")
        assert await serious_faults(page) == []
        await picture(page, "playground-light")
        kept = await page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert world.secret not in kept + page.url


async def test_the_operator_sees_which_node_answered(world: Served, browser: Browser) -> None:
    async with visit(browser, world.base_url, viewport=PHONE, color_scheme="dark") as page:
        await page.goto("/console")
        await page.get_by_label("Admin key").fill(ADMIN_KEY)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("heading", name="Traffic")).to_be_visible()
        await connect(page, world.secret)
        await page.get_by_label("Your message").fill("hi")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".assistant .facts")).to_contain_text("node node-")
        assert await serious_faults(page) == []
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"]
        await picture(page, "playground-phone-dark")


async def test_what_goes_wrong_is_said(world: Served, browser: Browser) -> None:
    async with visit(browser, world.base_url) as page:
        await connect(page, "sk-wrong")
        await expect(page.get_by_role("alert")).to_contain_text("Incorrect API key")
        await expect(page.get_by_role("button", name="Send")).to_be_disabled()
        await connect(page, world.secret)
        await page.get_by_text("Settings").click()
        await page.get_by_label("Most tokens").fill("99999")
        await page.get_by_label("Your message").fill("hi")
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("alert")).to_contain_text("maximum context length")
        await expect(page.get_by_label("Your message")).to_have_value("hi")
        await expect(page.locator("#turns li")).to_have_count(0)
        await page.get_by_label("Most tokens").fill("8")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".assistant .facts")).to_contain_text("8 completion tokens")
        await expect(page.get_by_role("alert")).to_be_hidden()
