"""Headless Chromium, looked at the way a person would: pages, faults in the console, pictures."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

AXE = Path(__file__).parent / "axe"
NPM_TIMEOUT_S = 300
WAIT_MS = 10_000
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found is not None, "no Chromium: run deploy/test_tools.sh, or apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def visit(browser: Browser, origin: str, **options: Any) -> AsyncIterator[Page]:
    """A visitor of his own, with no cookie. Fails if a page breaks its policy, fails in its script
    or asks anybody but the gateway for something.
    """
    context = await browser.new_context(base_url=origin, **{"viewport": DESK, **options})
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    page.on("console", lambda said: problems.append(said.text) if _is_fault(said) else None)
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(origin) else problems.append(asked.url),
    )
    yield page
    await context.close()
    assert not problems, problems


def _is_fault(said: Any) -> bool:
    """That an answer was a refusal is Chromium's to note, and a test's to expect."""
    return said.type == "error" and "Failed to load resource" not in said.text


async def picture(page: Page, name: str) -> None:
    """Into the folder that TOLLGATE_PICTURES names, if it does."""
    folder = os.environ.get("TOLLGATE_PICTURES")
    if folder is not None:
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def serious_faults(page: Page) -> list[str]:
    """What axe finds that is serious or critical: rule and where."""
    await page.evaluate(axe_script() + "; undefined")
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{page.url}: {fault['id']}: {json.dumps([node['html'] for node in fault['nodes']])[:600]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def axe_script() -> str:
    script = AXE / "node_modules" / "axe-core" / "axe.min.js"
    wanted = json.loads((AXE / "package.json").read_text())["dependencies"]["axe-core"]
    if not script.exists() or f"axe v{wanted}" not in script.read_text()[:100]:
        npm = shutil.which("npm")
        assert npm is not None, "no npm: run deploy/test_tools.sh"
        command = [npm, "ci", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(
            command, cwd=AXE, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False
        )
        hint = f"run `npm ci` in {AXE}, which the npm registry must be reached for"
        assert done.returncode == 0, f"{done.stderr}\n{hint}"
    return script.read_text()


async def weight(page: Page, path: str) -> tuple[int, float]:
    """Bytes of all that opening a path loads, and after how many seconds it can be used."""
    received = 0

    def heard(event: dict[str, Any]) -> None:
        nonlocal received
        received += int(event["encodedDataLength"])

    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    session.on("Network.loadingFinished", heard)
    await page.goto(path, wait_until="networkidle")
    interactive_ms = await page.evaluate(
        "performance.getEntriesByType('navigation')[0].domInteractive"
    )
    return received, interactive_ms / 1000
