"""`tollgate sla`: judge objectives, and show how they were kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.cli.audited import audited
from gateway.cli.billing import told_in_a_line
from gateway.cli.home import (
    WRITER,
    AccountName,
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_ledger,
    open_stores,
)
from gateway.config import load
from gateway.home import Home
from metering.money import PPM, format_usd
from metering.sla import Verdict
from metering.sla_book import GRACE_NS, SlaBook


@click.group()
def command() -> None:
    """SLAs: what is promised in [[sla]] of the configuration, and given back where it is missed."""


@command.command()
@json_option
@home_option
def run(as_json: bool, home: Path) -> None:
    """Judge every period that is over and was not judged yet, and post the credits.

    A gateway that runs does so by itself. A period is judged an hour after its end.

    Example: tollgate sla run
    """
    made: list[Verdict] = []
    with (
        told_in_a_line(),
        open_ledger(home) as ledger,
        open_stores(home) as database,
        audited(home, "credit-slas"),
    ):
        book = SlaBook(ledger, database, WRITER, grace_ns=GRACE_NS)
        for config in load(Home(home).config_file).sla:
            made += book.run(config.objective(), time.time_ns())
    _tell(made, as_json, "nothing new is over: see `tollgate sla show`")


@command.command()
@click.option("--account", type=AccountName(), help="Only this account's.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@home_option
def show(account: str | None, limit: int, as_json: bool, home: Path) -> None:
    """Verdicts with their evidence, the newest periods first. With --json, one object a line.

    Example: tollgate sla show --account alice
    """
    with open_ledger(home) as ledger, open_stores(home) as database:
        book = SlaBook(ledger, database, WRITER, grace_ns=GRACE_NS)
        found = book.verdicts(account=account, limit=limit)
    _tell(found, as_json, "no period was judged yet: see `tollgate sla run`")


def _tell(verdicts: list[Verdict], as_json: bool, nothing: str) -> None:
    if as_json:
        for verdict in verdicts:
            shown: dict[str, Any] = msgspec.to_builtins(verdict)
            echo_json(shown | {"missed": verdict.missed})
        return
    if not verdicts:
        click.echo(nothing[0].upper() + nothing[1:] + ".")
        return
    echo_table(
        "SLAs",
        ["period", "sla", "account", "requests ", "available ", "slow hours ", "USD ", "credit "],
        [
            [
                verdict.period,
                verdict.sla,
                verdict.account,
                str(verdict.requests),
                _percent(verdict.availability_ppm) + (" !" if verdict.availability_missed else ""),
                f"{len(verdict.slow_hours)} of {verdict.hours_judged}",
                format_usd(verdict.spent_nano_usd),
                format_usd(verdict.credit_nano_usd),
            ]
            for verdict in verdicts
        ],
    )


def _percent(ppm: int | None) -> str:
    if ppm is None:
        return "too few"
    whole, rest = divmod(ppm * 100, PPM)
    return f"{whole}.{rest // 100:04}%"
