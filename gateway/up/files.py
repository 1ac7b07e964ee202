"""What `tollgate up` keeps in its home besides the ledger: lock, configuration, keys, up.json."""

import fcntl
import json
import os
import secrets
from pathlib import Path

import msgspec

from gateway.home import Home
from metering.backend import open_database, open_ledger
from metering.key_store import KeyStore
from metering.keys import SECRET_BYTES, digest
from metering.money import parse_usd
from metering.posting import deposit_group
from serving.engine_spec import EngineSpec
from serving.local_engine import EngineAddress
from serving.model_files import DEMO_MODEL_NAME

DEMO_ACCOUNT = "demo"
DEMO_DEPOSIT_USD = "100"
# Prices of the written configuration; whoever sells tokens sets their own.
PROMPT_USD_PER_MILLION = "0.20"
CACHED_PROMPT_USD_PER_MILLION = "0.05"
COMPLETION_USD_PER_MILLION = "0.60"
DEMO_IO_PRICE_USD = "0.16"


class HomeInUseError(Exception):
    """Another `up` runs on this home; the message says who."""


class UpState(msgspec.Struct, frozen=True, kw_only=True):
    """DIR/up.json: there while the whole serves."""

    base_url: str
    api_key: str
    admin_key: str
    model: str
    metrics_url: str
    pid: int
    gateway_pid: int


class HomeLock:
    """Held while a supervisor lives; the kernel gives it back however the supervisor ends."""

    def __init__(self, home: Home, base_url: str) -> None:
        """Raises `HomeInUseError`, and has touched nothing then."""
        self._path = home.path / "up.lock"
        self._file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._path.read_text(encoding="utf-8").strip()
            self._file.close()
            raise HomeInUseError(
                f"tollgate already runs on {home.path} ({holder or 'starting'}); "
                "use that one, end it, or take another --home"
            ) from None
        self._file.truncate(0)
        self._file.write(f"pid {os.getpid()}, {base_url}\n")
        self._file.flush()

    def release(self) -> None:
        """Empties the file but leaves it: a lock on a file that is gone would exclude nobody."""
        self._file.truncate(0)
        self._file.close()


def write_state(home: Home, state: UpState) -> None:
    """Replaces up.json in one step; only its owner may read it, for it holds keys."""
    write_private(home.up_file, json.dumps(msgspec.to_builtins(state), indent=2))


def write_private(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def ensure_config(home: Home, spec: EngineSpec, port: int) -> None:
    """Writes tollgate.toml if there is none; one that exists is its owner's and stays."""
    if not home.config_file.exists():
        home.config_file.write_text(render_config(spec, port), encoding="utf-8")


def render_config(spec: EngineSpec, port: int) -> str:
    """The configuration of a gateway over this machine's engine.

    Its node is not in it, for the node's port changes from start to start: `write_serve_config`.
    """
    kinds = ", ".join(json.dumps(kind.value) for kind in spec.facts.kinds)
    tokenizer = Path(spec.model_path) / "tokenizer.json"
    lines = [
        "# Written by `tollgate up` because there was none; it is yours to change.",
        "",
        "[server]",
        f"port = {port}",
        "",
        "[[model]]",
        f"id = {json.dumps(spec.served_name)}",
        f"context_tokens_max = {spec.facts.context_tokens_max}",
        f"kinds = [{kinds}]",
        f"prompt_usd_per_million = {json.dumps(PROMPT_USD_PER_MILLION)}",
        f"cached_prompt_usd_per_million = {json.dumps(CACHED_PROMPT_USD_PER_MILLION)}",
        f"completion_usd_per_million = {json.dumps(COMPLETION_USD_PER_MILLION)}",
    ]
    if tokenizer.is_file():
        lines.append(f"tokenizer_file = {json.dumps(str(tokenizer))}")
    if spec.served_name == DEMO_MODEL_NAME:
        lines += ["demo = true", 'description = "Recites a few answers about Tollgate; a demo."']
    lines += [
        "",
        "[settlement]",
        "# USD for one IO. Without it no IO is released, bought or burned.",
        f"io_price_usd = {json.dumps(DEMO_IO_PRICE_USD)}",
    ]
    return "\n".join(lines) + "\n"


def write_serve_config(home: Home, address: EngineAddress) -> None:
    """What the gateway reads: tollgate.toml, and after it where the engine is this time."""
    text = home.config_file.read_text(encoding="utf-8")
    home.up_config_file.write_text(text + render_engine(address), encoding="utf-8")


def render_engine(address: EngineAddress) -> str:
    if address.node is None:
        fields = {"dashboard_url": address.dashboard_url, "token_file": address.token_file}
        section = "[ray]"
    else:
        node = address.node
        fields = {
            "id": node.node_id,
            "supplier": node.supplier_id,
            "url": node.url,
            "model": node.model,
            "engine": node.engine,
        }
        section = f"[[node]]\ncapacity = {node.capacity}"
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    return "\n".join(["", "# Added by `tollgate up` for this run.", section, *lines]) + "\n"


def ensure_demo_account(home: Home, where: Path | str) -> str:
    """The API key of the account `demo` in the ledger at `where`; it gets its deposit and its key
    once.

    Kept in DIR/api_key. A key that is lost or was revoked is replaced by a new one.
    """
    amount = parse_usd(DEMO_DEPOSIT_USD)
    deposit = deposit_group(f"{DEMO_ACCOUNT}:welcome", DEMO_ACCOUNT, amount)
    ledger = open_ledger(where)
    try:
        ledger.post("up", [deposit])
    finally:
        ledger.close()
    path = home.path / "api_key"
    database = open_database(where)
    keys = KeyStore(database)
    try:
        if path.exists():
            secret = path.read_text(encoding="utf-8").strip()
            known = {key.digest for key in keys.load_all() if key.revoked_ns is None}
            if digest(secret) in known:
                return secret
        _, secret = keys.create(DEMO_ACCOUNT, "made by tollgate up")
    finally:
        database.close()
    write_private(path, secret)
    return secret


def ensure_admin_key(home: Home) -> str:
    """The secret of the admin routes, in DIR/admin_key."""
    path = home.admin_key_file
    if not path.exists():
        write_private(path, "sk-tg-admin-" + secrets.token_urlsafe(SECRET_BYTES))
    return path.read_text(encoding="utf-8").strip()
