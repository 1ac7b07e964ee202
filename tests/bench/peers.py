"""Who is measured: how each gateway is found, configured and started."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from string import Template

import msgspec

CONFIGS = Path(__file__).parent / "peers"
KEY = "sk-bench"


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """In `command` and in its config file, `$port`, `$node` and `$other_node` are ports."""

    name: str
    command: str
    """The first word is looked for in the PATH and in the folder of virtual environments."""
    install: str
    config: str | None = None
    """A file of `peers/`, filled in; `$config` in the command is where it lies."""
    headers: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    start_s: float = 30
    has_books: bool = False
    """It is ours: it tells its books, and /metrics says how far they are."""
    rate_per_s: int = 200
    """Of the open loop."""


def _in_venv(name: str, package: str) -> str:
    folder = f"build/bench/{name}"
    return f"python3 -m venv {folder} && {folder}/bin/pip install '{package}'"


_WORKERS = "--worker-urls http://127.0.0.1:$node http://127.0.0.1:$other_node --policy cache_aware"

PEERS = (
    Peer(
        name="tollgate",
        command=f"{sys.executable} -m tests.bench.serve $port http://127.0.0.1:$node "
        "http://127.0.0.1:$other_node",
        install="make install",
        has_books=True,
        headers=(f"Authorization: Bearer {KEY}",),
    ),
    Peer(
        name="haproxy",
        command="haproxy -f $config",
        install="apt-get install haproxy",
        config="haproxy.cfg",
    ),
    Peer(
        name="nginx",
        command="nginx -p $folder -c $config",
        install="apt-get install nginx",
        config="nginx.conf",
    ),
    Peer(
        name="sglang-router",
        command=f"sglang-router launch --host 127.0.0.1 --port $port {_WORKERS} "
        "--prometheus-port $metrics_port --log-level warn",
        install=_in_venv("sglang-router", "sglang-router==0.3.2"),
    ),
    Peer(
        name="vllm-router",
        command=f"vllm-router --host 127.0.0.1 --port $port {_WORKERS} "
        "--prometheus-port $metrics_port --log-level warning",
        install=_in_venv("vllm-router", "vllm-router==0.1.17"),
    ),
    Peer(
        name="litellm",
        command="litellm --config $config --host 127.0.0.1 --port $port --num_workers 1",
        install=_in_venv("litellm", "litellm[proxy]"),
        config="litellm.yaml",
        headers=(f"Authorization: Bearer {KEY}",),
        environment={
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
        },
        start_s=120,
        rate_per_s=50,  # 200 is more than one core of it can do
    ),
)


class Ports(msgspec.Struct, frozen=True):
    """Of one run. The node listens on two, so that routers have something to choose from."""

    node: int
    other_node: int
    gateway: int
    metrics: int


def find(peer: Peer, venvs: Path) -> str | None:
    """The program that `peer` starts, None if it is not installed."""
    program = peer.command.split()[0]
    if found := shutil.which(program):
        return found
    installed = sorted(venvs.glob(f"*/bin/{program}"))
    return str(installed[0]) if installed else None


def command_of(peer: Peer, program: str, ports: Ports, folder: Path) -> list[str]:
    """The command line to start it with; its config file is written into `folder`."""
    names = {
        "port": ports.gateway,
        "node": ports.node,
        "other_node": ports.other_node,
        "metrics_port": ports.metrics,
        "folder": folder,
    }
    if peer.config is not None:
        written = folder / peer.config
        written.write_text(Template((CONFIGS / peer.config).read_text()).substitute(names))
        names["config"] = written
    return [program, *Template(peer.command).substitute(names).split()[1:]]
