"""docs/api.md, read: its lines of shell, what it says of their answers, and both compared."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
SECTION = re.compile(r"^### ([A-Z]+ \S+)$", re.M)
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
