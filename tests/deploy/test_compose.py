"""deploy/compose and deploy/docker: consistent, private but for TLS; their settings serve."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from redis_process import RedisProcess
from served import open_account_at
from together import together

from gateway.doctor.doctor import examine
from gateway.home import Home
from metering.backend import open_ledger
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "compose"
DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
STOP_MARGIN_S = 35
GROUP = 10001
STARTS_AS_ROOT = {"balancer", "postgres"}
"""They read their secrets before they become somebody else."""


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture
def compose() -> dict:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


def test_what_is_named_exists(compose):
    services = compose["services"]
    assert {"gateway-a", "gateway-b", "redis", "postgres", "prometheus", "grafana", "node"} <= set(
        services
    )
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert set(service.get("secrets", ())) <= set(compose["secrets"])
        assert set(service["networks"]) <= set(compose["networks"])
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (FOLDER / source).exists(), source
            else:
                assert source in compose["volumes"], source
    build = services["gateway-a"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).exists()


def test_only_tls_is_open_to_the_world(compose):
    published = {
        name: each["ports"] for name, each in compose["services"].items() if "ports" in each
    }
    assert published == {
        "balancer": ["443:8443", "127.0.0.1:8444:8444"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
    assert compose["networks"]["inside"]["internal"] is True
    for name, service in compose["services"].items():
        if name not in published:
            assert service["networks"] == ["inside"]


def test_secrets_are_made_once_and_never_stand_in_a_file_of_git(compose, tmp_path):
    shutil.copy(FOLDER / "secrets.sh", tmp_path)
    for _ in range(2):
        subprocess.run([tmp_path / "secrets.sh"], check=True, capture_output=True)
        made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
        assert {f"./secrets/{name}" for name in made} == {
            secret["file"] for secret in compose["secrets"].values()
        }
    subprocess.run([tmp_path / "secrets.sh"], check=True, capture_output=True)
    assert made == {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    mine = [file for file in (tmp_path / "secrets").iterdir() if "tls" not in file.name]
    if os.geteuid() == 0:
        assert {(file.stat().st_gid, file.stat().st_mode & 0o777) for file in mine} == {
            (GROUP, 0o640)
        }
    else:  # nobody but root gives files to another group
        assert {file.stat().st_mode & 0o777 for file in mine} == {0o644}
    assert made["postgres_password"].strip() in made["ledger_url"]
    assert len(made["admin_key"].strip()) == 64


def test_who_is_given_a_secret_can_read_it(compose):
    """Compose mounts files as they are: of root, for a group."""
    for file in DOCKERFILES:
        assert f"groupadd --gid {GROUP} " in file.read_text()
        assert f"--gid {GROUP} " in file.read_text().partition("useradd")[2]
    for name, service in compose["services"].items():
        if service.get("secrets") and "build" not in service and name not in STARTS_AS_ROOT:
            assert service["group_add"] == [str(GROUP)], name


def test_the_operators_pages_are_not_the_worlds():
    (closed,) = re.findall(
        r"location ~ (\S+) \{ return 404; \}", (FOLDER / "nginx.conf").read_text()
    )
    inside = ("/metrics", "/readyz", "/healthz", "/admin/v1/keys", "/console/login", "/provider/x")
    assert all(re.match(closed, path) for path in inside)
    world = (
        "/v1/models",
        "/openrouter/v2/models",
        "/epochs/1",
        "/nodes/v1/enrol",
        "/explorer",
        "/",
    )
    assert not any(re.match(closed, path) for path in world)


def test_gateways_have_the_time_that_their_configuration_gives(compose):
    server = tomllib.loads((FOLDER / "tollgate.toml").read_text())["server"]
    grace_s = int(compose["services"]["gateway-a"]["stop_grace_period"].removesuffix("s"))
    assert grace_s >= server["leave_s"] + server["drain_s"] + STOP_MARGIN_S
    files = compose["services"]["gateway-a"]["ulimits"]["nofile"]
    assert files >= 2 * server["open_requests_max"] + 256


async def test_the_same_settings_serve_as_processes(tmp_path, postgres_url):
    """Both gateways on one PostgreSQL and one Redis, secrets from files."""
    text = (FOLDER / "tollgate.toml").read_text()
    (tmp_path / "redis").mkdir()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    with RedisProcess(tmp_path / "redis") as redis:
        for name, value in (
            ("ledger_url", postgres_url),
            ("redis_url", redis.url),
            ("admin_key", "a" * 64),
        ):
            (secrets / name).write_text(f"{value}\n")
        async with FakeNode(model="tiny") as node, contextlib.AsyncExitStack() as stack:
            text = text.replace("/run/secrets", str(secrets)).replace("http://node:8000", node.url)
            text = text.replace("0.0.0.0", "127.0.0.1").replace("port = 8080", "port = 0")
            text = text.replace("leave_s = 5", "leave_s = 0")
            secret = open_account_at(postgres_url, "1")
            both = []
            for name in ("gateway-a", "gateway-b"):
                home = tmp_path / name
                home.mkdir()
                Home(home).config_file.write_text(text)
                gateway = together(home, "--workers", "1", secret=secret)
                both.append(await stack.enter_async_context(gateway))
            for running in both:
                assert (await running.client.get("/readyz")).status_code == 200
                asked = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
                assert (await running.client.post("/v1/chat/completions", json=asked)).is_success
                admin = {"authorization": f"Bearer {'a' * 64}"}
                answer = await running.client.get("/admin/v1/accounts", headers=admin)
                assert answer.status_code == 200
            found = [
                (remark.check, remark.grade.value)
                for remark in await asyncio.to_thread(examine, Home(tmp_path / "gateway-a"), None)
            ]
            assert {("redis", "ok"), ("ledger", "ok"), ("node", "ok"), ("spool", "ok")} <= set(
                found
            )
            for running in both:
                await running.end()
    with contextlib.closing(open_ledger(postgres_url)) as ledger:
        assert len(list(ledger.charges())) == 2
        assert ledger.verify().ok


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_a_dockerfile_copies_what_is_there_and_runs_as_nobody_special(file):
    instructions = read(file)
    words = [name for name, _ in instructions]
    assert words[0] == "FROM"
    for name, rest in instructions:
        if name == "FROM":
            image = rest.split()[0]
            assert re.fullmatch(r"[\w./-]+:[\w.-]+", image), "an image without a version"
            assert not image.endswith(":latest")
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
        if name in ("CMD", "ENTRYPOINT"):
            assert rest.startswith("["), "a shell would swallow SIGTERM"
    users = [rest for name, rest in instructions if name == "USER"]
    assert users == ["10001"]
    assert words.index("USER") < words.index("ENTRYPOINT")
    rooms = {"gateway", "ide", "metering", "router", "serving"}
    copied = {rest.split()[0] for name, rest in instructions if name == "COPY"}
    assert rooms <= copied


def read(file: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", file.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(None, 1)[1].strip()) for line in lines]
