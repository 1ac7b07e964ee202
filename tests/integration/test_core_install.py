"""`pip install .` alone serves: no Ray, no vLLM, no torch, one static node."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from held_port import held_port
from served import MODEL, NODE

ROOT = Path(__file__).parents[2]
ROOMS = ("gateway", "ide", "metering", "router", "serving")
HEAVY = ("ray", "solders", "vllm", "torch", "transformers")
RARE = (
    "cryptography",
    "gateway.canaries.canaries",
    "jinja2",
    "jsonschema_rs",
    "redis",
    "tiktoken",
)
"""Loaded only where the configuration, or whoever opens a page, asks for what needs it."""


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """The bin folder of an environment with nothing but the core install."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ROOMS:
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    uv = Path(sys.executable).parent / "uv"
    environment = tmp_path / "core"
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, environment], check=True)
    bin_folder = environment / "bin"
    python = bin_folder / "python"
    subprocess.run([uv, "pip", "install", "-q", "-p", python, source], check=True)
    return bin_folder


def test_core_install_serves_with_a_static_node(core: Path, tmp_path: Path):
    def run(*command: str | Path) -> str:
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
        return done.stdout

    def tollgate(*arguments: str) -> dict:
        return json.loads(run(core / "tollgate", *arguments, "--home", home, "--json"))

    heavy = f"import importlib.util as u; print([m for m in {HEAVY} if u.find_spec(m)])"
    assert run(core / "python", "-c", heavy).strip() == "[]"
    rare = f"import sys, gateway.wiring; print([m for m in {RARE} if m in sys.modules])"
    assert run(core / "python", "-c", rare).strip() == "[]"
    assert "pay          Needs pip install" in run(core / "tollgate", "settle", "--help")
    home = tmp_path / "home"
    node_port, port = held_port(), held_port()
    node_url = f"http://127.0.0.1:{node_port}"
    node_toml = NODE.format(index=0, url=f"{node_url}/v1", engine="openai", capacity=8, more="")
    home.mkdir()
    (home / "tollgate.toml").write_text(MODEL.format(server="") + node_toml)
    tollgate("account", "deposit", "acme", "5.00")
    secret = tollgate("key", "create", "--account", "acme")["api_key"]
    node = [core / "python", "-m", "serving.fake_node", "--port", str(node_port)]
    gateway = [core / "tollgate", "serve", "--home", home, "--port", str(port)]
    with running(node, f"{node_url}/health"), running(gateway, f"http://127.0.0.1:{port}/healthz"):
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            headers={"authorization": f"Bearer {secret}"},
            json={"model": "fake", "messages": [{"role": "user", "content": "hi"}]},
        )
        assert answer.status_code == 200
        page = httpx.get(f"http://127.0.0.1:{port}/explorer")
        assert "Models and prices" in page.text, page.text
    charge = tollgate("usage")
    assert charge["completion_tokens"] == answer.json()["usage"]["completion_tokens"]
    assert tollgate("ledger", "verify")["ok"] is True


@contextlib.contextmanager
def running(command: list[str | Path], health_url: str) -> Iterator[None]:
    """A process, from when its health page answers to its orderly end."""
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 30
        while not _answers(health_url):
            assert process.poll() is None, f"{command} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{health_url} does not answer"
        yield
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
