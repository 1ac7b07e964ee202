"""The quick starts, followed word by word on one machine: each command of each page succeeds."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from held_port import held_port
from up_stack import stays_open

DOCS = Path(__file__).parents[2] / "docs"
ROOT = DOCS.parent
PORTS = ("8080", "8100", "8200", "8443")
NOT_HERE = {"install", "gpu"}
"""Marks of blocks that need a clone and an index, or a GPU: `test_core_install` and the
engine's own tests do these.
"""
WAIT_S = 300


def blocks(page: str) -> list[str]:
    """What a reader types, in order."""
    text = (DOCS / f"quickstart-{page}.md").read_text()
    found = re.findall(r"^```sh *(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found
    assert {mark for mark, _ in found} <= NOT_HERE | {""}
    return [commands for mark, commands in found if not mark]


class Reader:
    """Somebody at a terminal, in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {port: str(held_port()) for port in PORTS}
        python = Path(sys.executable).parent
        self._environment = {
            **os.environ,
            "PATH": f"{python}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }

    def types(self, commands: list[str]) -> str:
        """In one shell, which ends at the first that fails."""
        script = "set -euo pipefail\n" + "\n".join(commands)
        for port, free in self._ports.items():
            script = re.sub(rf"\b{port}\b", free, script)
        output = self._folder / "output"
        with output.open("wb") as out:
            done = subprocess.run(
                ["bash", "-x", "-c", script],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=WAIT_S,
            )
        text = output.read_text()
        assert done.returncode == 0, text[-4000:]
        return text

    def leaves(self) -> None:
        for file in self._folder.glob("*/*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def test_all_four_people_come_to_their_goal(tmp_path):
    reader = Reader(tmp_path)
    (tmp_path / "gw").mkdir()
    (tmp_path / "gw" / "ide.toml").write_text(stays_open())  # if an hour ends while they read
    *operator, stop = blocks("operator")
    try:
        said = reader.types(operator)
        assert "The books are right" in said
        assert "completed" in said
        assert "tollgate_requests_total{" in said
        said = reader.types(blocks("developer"))
        assert "32 tokens" in said
        said = reader.types(blocks("aggregator"))
        assert '"cost"' in said
        said = reader.types(blocks("supplier"))
        assert "paid alice" in said
        said = reader.types([stop])
        assert "The books are right" in said
    finally:
        reader.leaves()
