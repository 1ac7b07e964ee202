"""docs/api.md: every endpoint is on it, and every line of shell on it does what it says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from served import Served, configuration, serve

from gateway.home import Home
from gateway.openai.request import ENDPOINT_OF_PATH
from gateway.wiring import Gateway
from ide.params import IdeParams
from ide.settlement import settle
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
ADMIN_KEY = "sk-tg-admin-0123456789abcdef"
OTHER_NAMES = {"POST /rerank", "POST /v2/rerank", "POST /score"}
_SECTION = re.compile(r"^### ([A-Z]+ \S+)$", re.M)
_EXAMPLE = re.compile(r"```sh\n(?P<script>.*?)```\n\n(?P<said>[^\n]*)", re.S)
_CURL = 'curl() { command curl -sS --max-time 20 -o answer -w "%{http_code}" "$@"; }\n'


class Example(msgspec.Struct, frozen=True):
    script: str
    statuses: list[str]
    has: list[str]
    """Paths in a JSON answer, or words in a stream."""
    streams: bool
    keeps: tuple[str, str] | None


def examples() -> list[Example]:
    found = []
    for match in _EXAMPLE.finditer(PAGE):
        said, _, kept = match["said"].partition(" Keep ")
        quoted = re.findall(r"`([^`]*)`", said)
        assert said.startswith(("Answers `", "Streams `")), match[0]
        streams = said.startswith("Streams")
        statuses = ["200"] if streams else [each for each in quoted if re.fullmatch(r"\d{3}", each)]
        has = [each for each in quoted if streams or each not in statuses]
        keep = re.findall(r"`([^`]*)`", kept)
        keeps = (keep[0], keep[1]) if keep else None
        found.append(Example(match["script"], statuses, has, streams, keeps))
    return found


def at(path: str, value: Any) -> Any:
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


async def wrong(example: Example, variables: dict[str, str], folder: Path) -> str | None:
    """What is wrong with an answer; `variables` learn what is to be kept of it."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euc",
        _CURL + example.script,
        cwd=folder,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
    )
    status, _ = await process.communicate()
    answer = (folder / "answer").read_text()
    if status.decode() not in example.statuses:
        return f"{example.script}answers {status!r}:\n{answer}"
    if example.streams:
        missing = [word for word in example.has if word not in answer]
        return f"{example.script}without {missing}:\n{answer}" if missing else None
    told = json.loads(answer)
    for path in example.has:
        with contextlib.suppress(LookupError, TypeError):
            at(path, told)
            continue
        return f"{example.script}without {path}:\n{answer}"
    if example.keeps is not None:
        variables[example.keeps[1]] = str(at(example.keeps[0], told))
    return None


async def test_every_line_does_what_the_page_says(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    (home / "admin_key").write_text(ADMIN_KEY + "\n")
    async with FakeNode() as node, serve(home, configuration([node])) as gateway:
        await let_manage_keys(gateway)
        await let_an_epoch_settle(gateway)
        variables = {
            "BASE": gateway.base_url,
            "KEY": gateway.secret,
            "ADMIN": ADMIN_KEY,
            "MODEL": "fake",
        }
        found = [await wrong(example, variables, work) for example in examples()]
    assert len(found) > 60
    assert not any(found), "\n\n".join(filter(None, found))


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
        gateway = Gateway(Home(tmp_path), configuration([]))
        paths = gateway.app._rest.openapi()["paths"]
        return {f"{method.upper()} {path}" for path, ways in paths.items() for method in ways}

    served = asyncio.run(routes()) | {f"POST {path}" for path in ENDPOINT_OF_PATH}
    assert served - OTHER_NAMES == set(_SECTION.findall(PAGE))
