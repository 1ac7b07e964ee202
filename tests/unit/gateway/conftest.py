"""The command line, run in a home of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the commands keep their state."""
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Run:
    """Run a command; returns exit code, stdout and stderr."""

    def invoke(*args: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, [*args, "--home", str(home)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    return invoke


@pytest.fixture
def lines(run: Run) -> Callable[..., list[Any]]:
    """Run a command that goes well; returns its lines of JSON."""

    def invoke(*args: str) -> list[Any]:
        code, out, err = run(*args, "--json")
        assert (code, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    return invoke
