"""The Node packages of `node/package-lock.json`, installed beside it once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent / "node"
_STAMP = FOLDER / "node_modules" / ".installed"
NPM_TIMEOUT_S = 300
TEST_TIMEOUT_S = 120
NODE_MAJOR_MIN = 20


def run(script: str, environment: dict[str, str]) -> None:
    """Run the tests of a script. Raises AssertionError with what they printed if one fails."""
    node = _installed()
    command = [node, "--test", "--test-reporter=tap", script]
    done = subprocess.run(
        command,
        cwd=FOLDER,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TEST_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "# pass 0" not in done.stdout, done.stdout


def _installed() -> str:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise AssertionError("no Node.js: run deploy/test_tools.sh, or install node 20 and npm")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(version.removeprefix("v").partition(".")[0])
    assert major >= NODE_MAJOR_MIN, f"Node.js {version.strip()} is too old; 20 is the least"
    wanted = (FOLDER / "package-lock.json").read_text()
    if not _STAMP.exists() or _STAMP.read_text() != wanted:
        command = [npm, "ci", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(
            command, cwd=FOLDER, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False
        )
        hint = f"run `npm ci` in {FOLDER}, which the npm registry must be reached for"
        assert done.returncode == 0, f"{done.stderr}\n{hint}"
        _STAMP.write_text(wanted)
    return node
