"""`tollgate account statement`: a month of an account, as text, JSON or a page."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gateway.billing.objects import statement_object
from gateway.billing.page import statement_page
from gateway.cli.billing import open_billing
from gateway.cli.home import (
    AccountName,
    echo_json,
    echo_table,
    home_option,
    json_option,
    unknown_account,
)
from metering.money import format_usd
from metering.month import Month, MonthError, month_at, parse_month, time_text
from metering.statement import Statement


class _MonthType(click.ParamType[Month]):
    name = "month"

    def convert(
        self, value: str | Month, param: click.Parameter | None, ctx: click.Context | None
    ) -> Month:
        try:
            return value if isinstance(value, Month) else parse_month(value)
        except MonthError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("account", type=AccountName())
@click.option("--month", type=_MonthType(), help="Such as 2026-10 (UTC); this month if not given.")
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write it as a page, to print or send.",
)
@json_option
@home_option
def statement(
    account: str, month: Month | None, html_file: Path | None, as_json: bool, home: Path
) -> None:
    """Everything between an account's balance at the start of a month and at its end.

    A month that is over has an invoice number, given when it is first asked for.

    \b
    Example: tollgate account statement alice --month 2026-10 --html invoice.html
    """
    now_ns = time.time_ns()
    with open_billing(home) as (billing, _):
        if not billing.knows(account):
            raise unknown_account(account)
        found = billing.statements.statement(account, month or month_at(now_ns), now_ns)
        config = billing.config
    if html_file is not None:
        page = statement_page(found, seller=config.seller, note=config.note)
        try:
            html_file.write_text(page, encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"{html_file}: {error.strerror}") from error
    if as_json:
        echo_json(statement_object(found))
    elif html_file is None:
        _print(found)
    else:
        click.echo(f"Wrote {html_file}: {found.invoice or 'a statement without invoice number'}.")


def _print(found: Statement) -> None:
    name = found.invoice or ("no invoice" if found.final else "so far")
    rows = [["", "balance at the start", format_usd(found.opening_nano_usd)]]
    rows += [
        [time_text(entry.booked_ns), entry.text, format_usd(entry.nano_usd)]
        for entry in found.entries
    ]
    rows += [
        [
            line.day,
            f"{line.model}, key {line.key_id}, price {line.price_version}:"
            f" {line.requests} requests, {line.prompt_tokens} + {line.completion_tokens} tokens"
            + (", late" * line.late),
            format_usd(-line.charged_nano_usd),
        ]
        for line in found.usage
    ]
    closing = "balance at the end" if found.final else "balance now"
    rows.append(["", closing, format_usd(found.closing_nano_usd)])
    if found.credit_line_nano_usd:
        rows.append(["", "of it credit line", format_usd(found.credit_line_nano_usd)])
    echo_table(f"{found.account}, {found.month} ({name})", ["when (UTC)", "what", "USD "], rows)
