"""What `tollgate up` finds wrong before it starts anything, as a person would meet it."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from held_port import held_port

from gateway.home import Home
from gateway.up.files import HomeLock
from serving.process_table import owned_by

ROOT = Path(__file__).parents[2]


def up(home: Path, *arguments: str, port: int | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "up", "--home", str(home), *arguments]
    done = subprocess.run(
        [*command, "--port", str(port or held_port())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert owned_by(str(home)) == []
    return done


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path: Path, taken_port: int) -> None:
    done = up(tmp_path, port=taken_port)
    assert done.returncode == 1
    assert f"port {taken_port} on 127.0.0.1 is taken" in done.stdout
    assert "--port N" in done.stdout
    assert not (tmp_path / "ledger.db").exists()
    assert not (tmp_path / "logs").exists()


def test_a_home_in_use_is_left_alone(tmp_path: Path) -> None:
    lock = HomeLock(Home(tmp_path), "http://127.0.0.1:1/v1")
    try:
        done = up(tmp_path)
        assert done.returncode == 1
        assert "http://127.0.0.1:1/v1" in done.stdout
        assert [path.name for path in tmp_path.iterdir()] == ["up.lock"]
    finally:
        lock.release()


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = up(tmp_path, "--model", "./no-such-model")
    assert done.returncode == 1
    assert "'./no-such-model': no such directory" in done.stdout


def test_a_broken_configuration_is_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / "tollgate.toml").write_text("[server]\nprot = 8080\n")
    done = up(tmp_path)
    assert done.returncode == 1
    assert "line 2 (prot = 8080)" in done.stdout
    assert (tmp_path / "tollgate.toml").read_text() == "[server]\nprot = 8080\n"


def test_a_configuration_without_a_price_for_the_model_says_what_to_add(tmp_path: Path) -> None:
    (tmp_path / "tollgate.toml").write_text(
        '[[model]]\nid = "other"\ncontext_tokens_max = 1\n'
        'prompt_usd_per_million = "1"\ncompletion_usd_per_million = "1"\n'
    )
    done = up(tmp_path)
    assert done.returncode == 1
    assert "prices no model 'tollgate-demo', only other" in done.stdout
