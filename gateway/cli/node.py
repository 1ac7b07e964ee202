"""`tollgate node`: a supplier runs one; an operator invites, shows, revokes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from gateway.cli.audited import audited
from gateway.cli.home import (
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_stores,
)
from gateway.cli.known import remark_gpu, remark_invitation
from gateway.cli.node_reputation import reputation
from gateway.cli.node_run import rotate, run
from gateway.cli.node_time import gpu_time
from gateway.cli.terms import Duration
from gateway.enrolment.enrolment import invitation
from gateway.enrolment.node import Node, Terms
from gateway.enrolment.node_store import NodeStore, UnknownNodeError
from gateway.home import Home
from gateway.views.fields import seconds
from gateway.views.nodes import audit_json, node_json, state_of
from router.types import NodeRecord
from router.wants import PPM

_ALL = 2**31
_DAY = "1d"

_node_argument = click.argument("node_id")
_terms = (
    click.option("--tier", type=click.IntRange(0, 100), help="What requests may ask for at least."),
    click.option("--region", help="Where it stands, as requests name it."),
    click.option("--gpu", help="Its class, as payouts know it."),
    click.option(
        "--gpus", type=click.IntRange(1, 1000), help="How many of that class; 1 at first."
    ),
    click.option(
        "--price-ppm",
        type=click.IntRange(1, PPM),
        help="What its answers cost, in millionths of the model's price.",
    ),
)


@click.group()
def command() -> None:
    """Suppliers' nodes: run one; invite, list, show, set, revoke, freeze, audit; reputations."""


command.add_command(run)
command.add_command(rotate)
command.add_command(reputation)
command.add_command(gpu_time)


@command.command()
@click.option("--supplier", required=True, help="Who is paid for what the node serves.")
@_terms[0]
@_terms[1]
@_terms[2]
@_terms[3]
@_terms[4]
@click.option("--expires", type=Duration(), default=_DAY, show_default=True)
@json_option
@home_option
def invite(
    supplier: str,
    tier: int | None,
    region: str | None,
    gpu: str | None,
    gpus: int | None,
    price_ppm: int | None,
    expires: int,
    as_json: bool,
    home: Path,
) -> None:
    """Let one node enrol; the invitation is shown once, and is good for one key.

    \b
    Example: tollgate node invite --supplier alice --gpu H100-PCIe --gpus 8 --region eu-west
    """
    terms = Terms(
        supplier_id=supplier,
        tier=tier or 0,
        region=region or "",
        gpu=gpu or "",
        gpus=gpus or 1,
        price_ppm=price_ppm or PPM,
    )
    _check_supplier(supplier)
    with _nodes(home) as store, audited(home, "invite-supplier", supplier):
        now_ns = time.time_ns()
        secret, made = invitation(terms, now_ns + expires * 10**9)
        store.invite(made, now_ns)
    remark_invitation(Home(home), gpu)
    if as_json:
        told = {"object": "node_invitation", "invitation": secret}
        echo_json({**told, **msgspec.structs.asdict(terms), "expires_at": seconds(made.expires_ns)})
        return
    click.echo(secret)
    click.echo(
        f"For one node of '{supplier}', until {_text(made.expires_ns)} UTC: keep it in a file and "
        "start the node with `tollgate node run --invitation-file FILE`.",
        err=True,
    )


@command.command("list")
@json_option
@home_option
def list_nodes(as_json: bool, home: Path) -> None:
    """All nodes that enrolled. With --json, one object a line.

    Example: tollgate node list
    """
    with _nodes(home) as store:
        found, frozen_ns = store.page(limit=_ALL), store.frozen_ns()
    now_ns = time.time_ns()
    if as_json:
        for node in found:
            echo_json(node_json(node, now_ns))
        return
    if frozen_ns is not None:
        click.echo(f"Frozen since {_text(frozen_ns)} UTC: what nodes say changes nothing.")
    columns = ["node", "supplier", "tier ", "region", "gpu", "state", "model", "in flight ", "told"]
    echo_table("Enrolled nodes", columns, [_row(node, now_ns) for node in found])


@command.command()
@_node_argument
@json_option
@home_option
def show(node_id: str, as_json: bool, home: Path) -> None:
    """What is known of one node: what the operator set, and what it says.

    Example: tollgate node show n-abc --json
    """
    with _nodes(home) as store:
        _show(store.find(node_id), as_json)


@command.command("set")
@_node_argument
@_terms[0]
@_terms[1]
@_terms[2]
@_terms[3]
@_terms[4]
@json_option
@home_option
def set_terms(
    node_id: str,
    tier: int | None,
    region: str | None,
    gpu: str | None,
    gpus: int | None,
    price_ppm: int | None,
    as_json: bool,
    home: Path,
) -> None:
    """Change what only the operator decides of a node; what is not given stays.

    Example: tollgate node set n-abc --tier 2
    """
    terms = {"tier": tier, "region": region, "gpu": gpu, "gpus": gpus, "price_ppm": price_ppm}
    given = {name: value for name, value in terms.items() if value is not None}
    if not given:
        wanted = "--tier, --region, --gpu, --gpus or --price-ppm"
        raise click.UsageError(f"nothing to change: give {wanted}")
    with _nodes(home) as store, audited(home, "update-node", node_id):
        node = store.set_terms(node_id, time.time_ns(), **given)
    remark_gpu(Home(home), gpu)
    _show(node, as_json)


@command.command()
@_node_argument
@click.option("--reason", required=True, help="For the audit log.")
@json_option
@home_option
def revoke(node_id: str, reason: str, as_json: bool, home: Path) -> None:
    """Let a node do nothing any more, for good; others are untouched.

    Gateways send it nothing from within a second.

    Example: tollgate node revoke n-abc --reason "stolen disk"
    """
    with _nodes(home) as store, audited(home, "revoke-node", node_id):
        node = store.revoke(node_id, reason, time.time_ns())
    _show(node, as_json)


@command.command()
@home_option
def freeze(home: Path) -> None:
    """Refuse whatever nodes say until it thaws; leases that are good stay good.

    Example: tollgate node freeze
    """
    with _nodes(home) as store, audited(home, "freeze-nodes"):
        store.freeze(time.time_ns())
    click.echo("Frozen: `tollgate node thaw` ends it.")


@command.command()
@home_option
def thaw(home: Path) -> None:
    """Hear nodes again.

    Example: tollgate node thaw
    """
    with _nodes(home) as store, audited(home, "thaw-nodes"):
        store.thaw(time.time_ns())
    click.echo("Nodes are heard again.")


@command.command()
@click.option("--node", help="Only this node's.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@json_option
@home_option
def audit(node: str | None, limit: int, as_json: bool, home: Path) -> None:
    """Who did what to which node, and what was refused; the newest first.

    --json has the certificates that nodes told, too.

    Example: tollgate node audit --limit 20
    """
    with _nodes(home) as store:
        found = store.audit(node_id=node, limit=limit)
    if as_json:
        for seq, entry in found:
            echo_json(audit_json(seq, entry))
        return
    rows = [
        [
            _text(each.at_ns),
            each.actor,
            each.action,
            each.node_id,
            _brief(each.detail),
            str(each.times),
        ]
        for _, each in found
    ]
    echo_table("Audit log", ["at", "by", "did", "to", "what", "times "], rows)


def _brief(detail: str) -> str:
    """Without the certificate, which would fill the screen. Of a refusal it is a word, no JSON."""
    try:
        said = msgspec.json.decode(detail)
    except msgspec.DecodeError:
        return detail
    if not isinstance(said, dict):
        return detail
    for name in said.keys() & {"certificate", "certificate_proof"}:
        said[name] = said[name] and "..."
    return msgspec.json.encode(said).decode()


@contextlib.contextmanager
def _nodes(home: Path) -> Iterator[NodeStore]:
    with open_stores(home) as database:
        try:
            yield NodeStore(database)
        except UnknownNodeError as error:
            raise click.ClickException(f"{error}: see `tollgate node list`") from error


def _check_supplier(supplier: str) -> None:
    try:
        NodeRecord(node_id="any", supplier_id=supplier, url="http://any", model="any", capacity=1)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--supplier") from None


def _show(node: Node, as_json: bool) -> None:
    now_ns = time.time_ns()
    told = node_json(node, now_ns)
    if as_json:
        echo_json(told)
        return
    terms = node.terms
    click.echo(f"{node.node_id}: {state_of(node, now_ns)}, of supplier '{terms.supplier_id}'")
    gpus = f"{terms.gpus} x {terms.gpu}" if terms.gpu else "-"
    click.echo(f"  tier {terms.tier}, region {terms.region or '-'}, gpu {gpus}")
    if terms.price_ppm != PPM:
        click.echo(f"  at {terms.price_ppm} millionths of its model's price")
    if node.lease is not None:
        click.echo(f"  {node.lease.model} at {node.lease.url}, {node.lease.in_flight} under way")
        click.echo(f"  told {_text(node.told_ns)} UTC")


def _row(node: Node, now_ns: int) -> list[str]:
    said, terms = node.lease, node.terms
    where = [node.node_id, terms.supplier_id, str(terms.tier), terms.region, terms.gpu]
    state = state_of(node, now_ns)
    if said is None:
        return [*where, state, "", "", ""]
    return [*where, state, said.model, str(said.in_flight), _text(node.told_ns)]


def _text(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%F %T")
