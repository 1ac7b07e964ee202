"""`tollgate doctor` finds each fault that is planted here, for real, and says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http.server
import ipaddress
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from books import closed, deposit, opened, used
from chaos.small_disk import small_disk
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis
from served import MODEL, NODE, configuration, open_account, serve
from together import LEDGER, REDIS

from gateway.doctor.clock import compare
from gateway.doctor.doctor import examine
from gateway.doctor.remark import Grade, Remark
from gateway.home import Home
from metering.posting import close_group, hold_group
from metering.spool import Spool
from metering.sqlite_file import connect
from metering.sqlite_ledger import SqliteLedger
from serving.fake_node import FakeNode

pytestmark = pytest.mark.anyio
NOBODY = "http://127.0.0.1:9"
PATIENCE_S = 20.0
"""More than any answer here takes on a machine that is busy."""


def furnish(home: Path, url: str = NOBODY, *, more: str = "", node: str = "") -> Home:
    home.mkdir(exist_ok=True)
    text = MODEL.format(server="") + NODE.format(index=0, url=url, engine="vllm", capacity=8) + node
    place = Home(home)
    place.config_file.write_text(text + more)
    return place


def look(place: Home, patience_s: float = PATIENCE_S) -> list[Remark]:
    return examine(place, None, patience_s)


def told(found: list[Remark], check: str, *, least: Grade = Grade.WARNING) -> Remark:
    """The one complaint of this check."""
    grades = {Grade.WARNING, Grade.FAULT} if least is Grade.WARNING else {least}
    (remark,) = [each for each in found if each.check == check and each.grade in grades]
    assert remark.advice or least not in (Grade.WARNING, Grade.FAULT)
    return remark


def complaints(found: list[Remark]) -> list[Remark]:
    return [each for each in found if each.advice]


async def test_it_finds_nothing_beside_a_gateway_that_serves(tmp_path):
    async with FakeNode() as node:
        furnish(tmp_path / "home", node.url)
        async with serve(tmp_path / "home", configuration([node])) as served:
            asked = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
            assert (await served.client.post("/v1/chat/completions", json=asked)).is_success
            await served.charges(1)
            done = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "doctor", "--json", "--home", served.home),
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await done.communicate()
    said = json.loads(output)
    assert (done.returncode, said["ok"], said["faults"]) == (0, True, 0)
    remarks = {(each["check"], each["grade"]): each["said"] for each in said["remarks"]}
    assert "newest" in remarks["ledger", "ok"]
    assert remarks["engine", "ok"].startswith("vLLM")
    assert remarks["spool", "ok"].startswith("0 rows wait")
    assert f"process {os.getpid()}" in str(said["remarks"])


def test_a_configuration_that_cannot_be_read_leaves_the_rest_examined(tmp_path):
    place = furnish(tmp_path / "home", more="\n[server2]\n")
    found = look(place)
    assert "line" in told(found, "config").said
    assert [each.grade for each in found if each.check == "disk"] == [Grade.OK]


def test_secrets_that_are_missing_or_open_to_all(tmp_path):
    place = furnish(tmp_path / "home", node='api_key_file = "/nowhere/key"\n')
    place.admin_key_file.write_text("x" * 32)
    place.admin_key_file.chmod(0o644)
    found = [each for each in look(place) if each.check == "config" and each.advice]
    assert {each.grade for each in found} == {Grade.WARNING, Grade.FAULT}
    assert any("chmod 600" in each.advice for each in found)
    assert any("/nowhere/key" in each.said for each in found)


def test_a_disk_without_room(tmp_path):
    (tmp_path / "d").mkdir()
    with small_disk(tmp_path / "d", "1m") as disk:
        inside = disk.outside / "home"
        furnish(inside)
        disk.fill()
        done = subprocess.run(
            disk.within(sys.executable, "-m", "gateway", "doctor", "--home", f"{disk.inside}/home"),
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1
    assert "only 0 MiB are free" in done.stdout
    assert "cannot be written: No space left on device" in done.stdout
    assert "in memory" in done.stdout
    assert "-> free room or enlarge the disk" in done.stdout


def test_a_home_that_is_none(tmp_path):
    assert "mkdir -p" in told(look(Home(tmp_path / "none")), "disk").advice


def test_too_few_files_may_be_open(tmp_path):
    place = furnish(tmp_path / "home")
    command = f"ulimit -n 512; exec {sys.executable} -m gateway doctor --home {place.path}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert "512 may be open; open_requests_max = 2048 can need 4352" in done.stdout
    assert "LimitNOFILE=4352" in done.stdout


def test_redis_that_is_gone_and_one_that_forgets(tmp_path, redis):
    place = furnish(tmp_path / "home", more=REDIS)
    with Redis(port=redis.port) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    assert "CONFIG SET maxmemory-policy noeviction" in told(look(place), "redis").advice
    redis.kill()
    gone = told(look(place), "redis")
    assert gone.grade is Grade.FAULT
    assert "does not answer" in gone.said
    redis.start()
    assert told(look(place), "redis", least=Grade.OK).said.startswith("Redis ")


def test_postgresql_that_is_well_then_frozen_then_gone(tmp_path, redis, postgres):
    place = furnish(tmp_path / "home", more=REDIS + LEDGER)
    open_account_at_postgres(postgres.url)
    found = look(place)
    # the server of the tests runs without fsync, which is a fault
    assert "fsync" in told(found, "postgresql").said
    assert "1 of 1 rows" in told(found, "ledger", least=Grade.OK).said
    with postgres.frozen():
        assert "no answer in 2 s" in told(look(place, 2.0), "ledger").said
    postgres.stop()
    gone = told(look(place), "ledger")
    assert "start the server" in gone.advice
    assert "between us" not in str(found) + str(gone)


def open_account_at_postgres(url: str) -> None:
    from metering.postgres_ledger import PostgresLedger

    with contextlib.closing(PostgresLedger(url)) as ledger:
        assert ledger.post("test", [deposit("acme", 10**9)])[0].booked


def some_books(path: Path, **clock) -> None:
    opening, close = opened("a"), closed("a", used(5))
    groups = [deposit("alice", 10**6), hold_group(opening), close_group(opening, close)]
    with contextlib.closing(SqliteLedger(path, **clock)) as ledger:
        assert all(result.booked for result in ledger.post("test", groups))


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE transfer SET amount = amount + 1 WHERE seq = 2", "was changed"),
        ("DELETE FROM transfer WHERE seq = 2", "row 2 is gone"),
        ("UPDATE charge SET completion_tokens = 1", "was changed"),
        ("UPDATE account SET debits_posted = debits_posted + 1", "every transfer has both"),
        ("UPDATE writer SET hash = x'00'", "end of its chain"),
    ],
)
def test_books_that_were_changed(tmp_path, statement, problem):
    place = furnish(tmp_path / "home")
    some_books(place.ledger_file)
    assert told(look(place), "ledger", least=Grade.OK)
    with contextlib.closing(connect(place.ledger_file)) as db:
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            db.execute(f"DROP TRIGGER {trigger}")
        db.execute(statement)
    remark = told(look(place), "ledger")
    assert problem in remark.said
    assert "tollgate ledger verify" in remark.advice


def test_books_from_the_future(tmp_path):
    place = furnish(tmp_path / "home")
    some_books(place.ledger_file, clock_ns=lambda: time.time_ns() + 3600 * 10**9)
    assert "behind the newest row" in told(look(place), "clock").said


@pytest.mark.parametrize(
    ("version", "grade", "said"),
    [(1, Grade.WARNING, "has 1 of"), (9999, Grade.FAULT, "newer version made it")],
)
def test_a_ledger_of_another_version_is_left_as_it_is(tmp_path, version, grade, said):
    place = furnish(tmp_path / "home")
    some_books(place.ledger_file)
    with contextlib.closing(connect(place.ledger_file)) as db:
        db.execute(f"PRAGMA user_version = {version}")
    remark = told(look(place), "ledger")
    assert (remark.grade, said in remark.said) == (grade, True)
    with contextlib.closing(connect(place.ledger_file)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (version,)


def test_a_spool_that_waits_one_that_is_old_and_one_that_is_damaged(tmp_path):
    place = furnish(tmp_path / "home")
    some_books(place.ledger_file)
    spool = Spool(place.spool_folder(0))
    spool.commit([opened("b"), closed("b", used(3))])
    writer = spool.writer
    spool.close()
    waiting = told(look(place), "spool")
    assert waiting.said.startswith("2 rows wait for the ledger")
    assert "start the gateway of this home" in waiting.advice
    with contextlib.closing(SqliteLedger(place.ledger_file)) as ledger:
        ledger.post(writer, [deposit("bob", 1)], 7)
    assert "an old copy" in told(look(place), "spool").said
    segment = max(place.spool_folder(0).glob("*.log"))
    segment.write_bytes(b"x" * 100)
    assert "no segment of a spool" in told(look(place), "spool").said


def test_a_price_that_nobody_tells(tmp_path):
    place = furnish(tmp_path / "home")
    quote = tmp_path / "quote.json"
    quote.write_text('{"usd": "2.5"}')
    oracle = "[oracle]\nsources_min = 2\n" + "".join(
        f'[[oracle.sources]]\nname = "{name}"\nfile = "{path}"\nprice_at = "usd"\n'
        for name, path in (("good", quote), ("gone", tmp_path / "nowhere.json"))
    )
    place.config_file.write_text(place.config_file.read_text() + oracle)
    found = [each for each in look(place) if each.check == "oracle"]
    assert [each.grade for each in found] == [Grade.WARNING, Grade.FAULT]
    assert "2 fresh sources are needed, 1 answered" in found[1].said


def test_a_ray_that_is_not_there(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o600)
    ray = f'[ray]\ndashboard_url = "{NOBODY}"\ntoken_file = "{token}"\n'
    assert "start the head node" in told(look(furnish(tmp_path / "home", more=ray)), "ray").advice


async def test_a_node_that_is_away_serves_another_model_or_is_not_well(tmp_path):
    assert "Connection refused" in told(look(furnish(tmp_path / "a")), "node").said
    async with FakeNode(model="other") as node:
        found = await asyncio.to_thread(look, furnish(tmp_path / "b", node.url))
    assert "serves other; not 'fake'" in told(found, "node").said
    assert "served_model" in told(found, "node").advice


class _Wrong(http.server.BaseHTTPRequestHandler):
    """A node whose clock is two minutes slow, and whose engine died."""

    def do_GET(self) -> None:
        body = b'{"data": [{"id": "fake"}], "version": "0.32.0"}'
        self.send_response(503 if self.path == "/health" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) - 120)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def wrong_node(tls: ssl.SSLContext | None = None):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Wrong) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_node_whose_clock_is_wrong_and_whose_engine_is_dead(tmp_path):
    with wrong_node() as url:
        found = look(furnish(tmp_path / "home", url))
    clock = told(found, "clock")
    assert clock.grade is Grade.FAULT
    assert "behind this machine" in clock.said
    assert "GET /health answers 503" in told(found, "engine").said


@pytest.mark.parametrize(
    ("days", "said"), [(3, "is good for 3 days"), (-1, "expired"), (300, None)]
)
def test_a_certificate_that_ends(tmp_path, days, said):
    pem = tmp_path / "node.pem"
    pem.write_bytes(certificate(days))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    with wrong_node(tls) as url:
        found = look(furnish(tmp_path / "home", url, node=f'ca_file = "{pem}"\n'))
    if said is None:
        assert [each.grade for each in found if each.check == "tls"] == [Grade.OK]
    else:
        assert said in told(found, "tls").said


def certificate(days: int) -> bytes:
    """A key and its own certificate for 127.0.0.1, which ends after so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days, hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return secret + made.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("ahead_s", "grade"),
    [(0, Grade.OK), (-4.9, Grade.OK), (5, Grade.WARNING), (-59, Grade.WARNING), (60, Grade.FAULT)],
)
def test_clocks(ahead_s, grade):
    remark = compare("x", int(ahead_s * 1e9))
    assert remark.grade is grade
    assert ("ahead of" in remark.said) == (ahead_s >= 5)


def test_an_account_is_not_made_by_looking(tmp_path):
    place = furnish(tmp_path / "home")
    look(place)
    assert not place.ledger_file.exists()
    open_account(place.path, "1")
    before = sorted(path.name for path in place.path.iterdir())
    look(place)
    assert sorted(path.name for path in place.path.iterdir()) == before
