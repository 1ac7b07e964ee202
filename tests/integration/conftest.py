"""Integration tests run on asyncio, with the event loop that production uses."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from customer_api import ADMIN_KEY
from postgres_process import PostgresProcess
from redis_process import RedisProcess


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A gateway's home that has `customer_api.ADMIN_KEY`."""
    (tmp_path / "admin_key").write_text(ADMIN_KEY + "\n")
    return tmp_path


@pytest.fixture
def redis(tmp_path_factory, monkeypatch):
    """A Redis of the test's own, where `together.REDIS` looks for one."""
    with RedisProcess(tmp_path_factory.mktemp("redis")) as process:
        monkeypatch.setenv("TOLLGATE_TEST_REDIS_URL", process.url)
        yield process


@pytest.fixture
def postgres(monkeypatch):
    """A PostgreSQL of the test's own, to stop and kill, where `together.LEDGER` looks for one."""
    with (
        tempfile.TemporaryDirectory(prefix="tollgate-postgres-") as folder,
        PostgresProcess(Path(folder)) as process,
    ):
        monkeypatch.setenv("TOLLGATE_TEST_LEDGER_URL", process.url)
        yield process


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority of our own, and a certificate for `localhost` that it signed."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    signer = ("-subj", "/CN=Test authority", "-addext", "keyUsage=critical,keyCertSign")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", *signer)
    openssl(*new, "-keyout", "node.key", "-out", "node.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "node.csr", "-out", "node.pem", "-days", "2", *signing)
    return folder
