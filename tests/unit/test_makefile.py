"""What make runs beside the tests finds its imports as make starts it, not only as pytest does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNS = re.findall(
    r"^\t@(?:PYTHONPATH=(\w+) )?\$\(BIN\)/python -m ([\w.]+) .*\$\(ARGS\)",
    (ROOT / "Makefile").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize(("path", "module"), sorted(set(RUNS)))
def test_what_make_runs_finds_all_that_it_imports(path: str, module: str) -> None:
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", f"import {module}.__main__"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_makefile_is_read() -> None:
    assert ("tests", "tests.bench") in RUNS
