"""`tollgate usage`: what was served and what it cost, charge by charge."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from gateway.cli.home import (
    AccountName,
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_ledger,
)
from metering.charge import ChargeRecord
from metering.money import format_usd

_NS = 1_000_000_000
TABLE_ROWS = 20


@click.command()
@click.option("--account", type=AccountName(), help="Only this account's.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"Only the newest. A table shows {TABLE_ROWS} unless told otherwise, --json all.",
)
@json_option
@home_option
def command(account: str | None, limit: int | None, as_json: bool, home: Path) -> None:
    """Finished requests, the newest last. With --json, one object a line.

    `created` is Unix time in seconds; what is named nano_usd counts 1e-9 USD.

    Example: tollgate usage --account alice --limit 100 --json
    """
    with open_ledger(home) as ledger:
        if as_json and limit is None:
            for charge in ledger.charges(account):
                _echo(charge)
            return
        newest = list(ledger.charges(account, limit=limit or TABLE_ROWS, newest_first=True))
    newest.reverse()
    if as_json:
        for charge in newest:
            _echo(charge)
        return
    echo_table(
        "Usage",
        [
            "created",
            "request",
            "account",
            "model",
            "node",
            "prompt ",
            "cached ",
            "completion ",
            "source",
            "USD ",
            "outcome",
        ],
        [_row(charge) for charge in newest],
    )


def _echo(charge: ChargeRecord) -> None:
    line = msgspec.structs.asdict(charge)
    echo_json(line | {"created": charge.created_ns // _NS, "closed": charge.closed_ns // _NS})


def _row(charge: ChargeRecord) -> list[str]:
    created = datetime.fromtimestamp(charge.created_ns // _NS, UTC)
    return [
        created.strftime("%Y-%m-%d %H:%M:%S"),
        charge.request_id,
        charge.account,
        charge.model,
        charge.node_id or "",
        str(charge.prompt_tokens),
        str(charge.cached_tokens),
        str(charge.completion_tokens),
        charge.usage_source or "",
        format_usd(charge.cost_nano_usd),
        charge.outcome,
    ]
