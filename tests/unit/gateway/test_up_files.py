"""What `tollgate up` keeps in its home."""

import contextlib
import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.config import parse
from gateway.home import Home
from gateway.up import files
from gateway.up.files import HomeInUseError, HomeLock, UpState
from metering.accounts import customer
from metering.key_store import KeyStore
from metering.money import parse_usd
from metering.sqlite_database import SqliteDatabase
from metering.sqlite_ledger import SqliteLedger
from router.types import NodeRecord
from serving.engine_spec import Device, EngineSpec, ModelFacts, ModelKind
from serving.local_engine import EngineAddress

RAY = EngineAddress(dashboard_url="http://127.0.0.1:4321", token_file="/h/ray/token")
NODE = EngineAddress(
    node=NodeRecord(
        node_id="local-7",
        supplier_id="local",
        url="http://127.0.0.1:4322",
        model="tiny",
        capacity=64,
        engine="vllm",
    )
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def spec(*kinds: ModelKind) -> EngineSpec:
    return EngineSpec(
        model_path='/models/a "quoted" name',
        served_name="tiny",
        facts=ModelFacts(kinds=kinds, context_tokens_max=2048, kv_bytes_per_token=1024),
        device=Device.CPU,
        cache_dir="cache",
    )


def test_a_home_has_one_holder_and_says_who(home: Home) -> None:
    lock = HomeLock(home, "http://127.0.0.1:8080/v1")
    with pytest.raises(HomeInUseError, match=rf"pid {os.getpid()}, http://127.0.0.1:8080/v1"):
        HomeLock(home, "http://127.0.0.1:9090/v1")
    lock.release()
    HomeLock(home, "http://127.0.0.1:9090/v1").release()


def test_the_lock_of_a_killed_holder_is_no_obstacle(home: Home) -> None:
    (home.path / "up.lock").write_text("pid 4194304, http://127.0.0.1:8080/v1\n")
    HomeLock(home, "http://127.0.0.1:8080/v1").release()


@pytest.mark.parametrize("address", [RAY, NODE])
@pytest.mark.parametrize(
    "kinds", [(ModelKind.CHAT, ModelKind.COMPLETIONS), (ModelKind.EMBEDDINGS,)]
)
def test_the_written_configuration_is_one_that_serve_takes(
    home: Home, address: EngineAddress, kinds: tuple[ModelKind, ...]
) -> None:
    files.ensure_config(home, spec(*kinds), 8123)
    files.write_serve_config(home, address)
    config = parse(home.up_config_file.read_text())
    assert config.server.port == 8123
    assert [kind.value for kind in config.model[0].kinds] == [kind.value for kind in kinds]
    if address is RAY:
        assert config.ray is not None
        assert config.ray.dashboard_url == RAY.dashboard_url
    else:
        assert config.node[0].record().url == "http://127.0.0.1:4322"


def test_a_configuration_that_exists_stays_as_it_is(home: Home) -> None:
    home.config_file.write_text("# mine\n")
    files.ensure_config(home, spec(ModelKind.CHAT), 8123)
    assert home.config_file.read_text() == "# mine\n"


def test_the_demo_account_gets_its_deposit_and_its_key_once(home: Home) -> None:
    key = files.ensure_demo_account(home, home.ledger_file)
    assert files.ensure_demo_account(home, home.ledger_file) == key
    assert stat.S_IMODE((home.path / "api_key").stat().st_mode) == 0o600
    database, ledger = SqliteDatabase(home.ledger_file), SqliteLedger(home.ledger_file)
    try:
        assert [found.account for found in KeyStore(database).load_all()] == ["demo"]
        assert ledger.balance(customer("demo")).available == parse_usd("100")
    finally:
        database.close()
        ledger.close()


def test_a_revoked_key_is_replaced(home: Home) -> None:
    key = files.ensure_demo_account(home, home.ledger_file)
    with contextlib.closing(SqliteDatabase(home.ledger_file)) as database:
        keys = KeyStore(database)
        keys.revoke(keys.load_all()[0].key_id)
    assert files.ensure_demo_account(home, home.ledger_file) != key


def test_the_admin_key_is_made_once_and_private(home: Home) -> None:
    key = files.ensure_admin_key(home)
    assert files.ensure_admin_key(home) == key
    assert stat.S_IMODE((home.path / "admin_key").stat().st_mode) == 0o600


def test_the_state_file_is_whole_and_private(home: Home) -> None:
    state = UpState(
        base_url="http://127.0.0.1:8080/v1",
        api_key="sk-tg-x",
        admin_key="sk-tg-admin-x",
        model="tiny",
        metrics_url="http://127.0.0.1:8080/metrics",
        pid=7,
        gateway_pid=8,
    )
    files.write_state(home, state)
    files.write_state(home, state)
    assert json.loads(home.up_file.read_text())["gateway_pid"] == 8
    assert stat.S_IMODE(home.up_file.stat().st_mode) == 0o600
    assert [path.name for path in home.path.iterdir()] == ["up.json"]


def test_the_doctor_looks_at_the_engine_that_it_started(home: Home) -> None:
    """While it serves; afterwards at the configuration alone."""
    files.ensure_config(home, spec(ModelKind.CHAT), 8080)
    files.write_serve_config(home, NODE)

    def said_of_nodes() -> str:
        done = CliRunner().invoke(main, ["doctor", "--home", str(home.path), "--json"])
        remarks = json.loads(done.stdout)["remarks"]
        return str([remark["said"] for remark in remarks if remark["check"] == "node"])

    home.up_file.write_text("{}")
    assert "no [[node]] serves it" not in said_of_nodes()
    home.up_file.unlink()
    assert "no [[node]] serves it" in said_of_nodes()
