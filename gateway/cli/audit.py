"""`tollgate audit`: what operators did, wherever they did it."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.audit.trail import AuditQuery, AuditTrail
from gateway.audit.view import line_json
from gateway.cli.home import echo_json, echo_table, home_option, json_option, open_stores
from metering.month import time_text


@click.command()
@click.option("--action", help="Only these, such as revoke-key.")
@click.option("--subject", help="Only what was done to this node, key, account, model.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@json_option
@home_option
def command(action: str | None, subject: str | None, limit: int, as_json: bool, home: Path) -> None:
    """What was changed by the console, the admin API and commands; the newest first.

    Each change has a line before it was made (began) and one after (done, refused). The database
    refuses to change or delete a line. With --json, one object a line, with what it was before and
    after.

    Example: tollgate audit --subject alice --limit 20
    """
    with open_stores(home) as database:
        query = AuditQuery(action=action, subject=subject, limit=limit)
        found = AuditTrail(database).newest(query)
    if as_json:
        for seq, line in found:
            echo_json(line_json(seq, line))
        return
    rows = [
        [
            time_text(line.at_ns),
            f"{line.via} {line.who}".strip(),
            line.source,
            line.action,
            line.subject,
            line.outcome,
            "; ".join(f"{name}: {was} -> {became}" for name, was, became in line.changes)
            or line.detail,
        ]
        for _, line in found
    ]
    columns = ["at (UTC)", "by", "from", "did", "to", "outcome", "what"]
    echo_table("Audit trail", columns, rows)
