"""What the commands on a home's books share: their options, and opening the ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.config_error import ConfigError
from gateway.home import Home
from gateway.ledger_config import LedgerConfig, ledger_config
from metering.accounts import AccountError, check_name
from metering.backend import open_database
from metering.backend import open_ledger as open_ledger_at
from metering.database import Database
from metering.key_store import KeyStore
from metering.ledger import Ledger, LedgerError
from metering.money import MoneyError, parse_usd

WRITER = "cli"
"""The command line's own chain in the ledger."""

PIPED_COLUMNS = 240
"""Into a file or pipe a line is not folded."""

_CONFIG = "tollgate.config"


def home_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--home, and --config for a home whose configuration is elsewhere."""
    config = click.option(
        "--config",
        type=click.Path(dir_okay=False, exists=True, path_type=Path),
        expose_value=False,
        callback=_remember_config,
        help="Configuration file; tollgate.toml in the home if not given.",
    )
    home = click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(".tollgate"),
        show_default=True,
        help="Folder that holds all state.",
    )
    return home(config(command))


def _remember_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    ctx.meta[_CONFIG] = value


def config_file(home: Path) -> Path | None:
    """The configuration that was named, or else the home's, if it has one."""
    named: Path | None = click.get_current_context().meta[_CONFIG]
    default = Home(home).config_file
    return named or (default if default.exists() else None)


def config_in_use(home: Home) -> Path | None:
    """The one that was named; where `tollgate up` serves, that with its engine; or the home's."""
    found = config_file(home.path)
    if found in (None, home.config_file) and home.up_file.exists():
        return home.up_config_file
    return found


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class AccountName(click.ParamType[str]):
    name = "account"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return check_name(value)
        except AccountError as error:
            self.fail(str(error), param, ctx)


def unknown_account(account: str) -> click.ClickException:
    return click.ClickException(
        f"there is no account '{account}': see `tollgate account list`, or open it with "
        f"`tollgate account create {account}`"
    )


class Usd(click.ParamType[int]):
    """Read as USD, passed on as nano-USD."""

    name = "usd"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            return value if isinstance(value, int) else parse_usd(value)
        except MoneyError as error:
            self.fail(str(error), param, ctx)


@contextlib.contextmanager
def open_ledger(home: Path, *, create: bool = False) -> Iterator[Ledger]:
    """The home's ledger; the gateway may have it open too. Errors end the command in one line."""
    with _errors():
        ledger = open_ledger_at(ledger_place(home, create=create))
        with contextlib.closing(ledger):
            yield ledger


@contextlib.contextmanager
def open_stores(home: Path, *, create: bool = False) -> Iterator[Database]:
    """The database of the home's ledger, for what else is kept there."""
    with _errors():
        database = open_database(ledger_place(home, create=create))
        with contextlib.closing(database):
            yield database


@contextlib.contextmanager
def open_keys(home: Path) -> Iterator[KeyStore]:
    with open_stores(home) as database:
        yield KeyStore(database)


def echo_json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())


def echo_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table. Columns whose name ends in a space are numbers, set to the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.endswith(" ") else "left"
        table.add_column(column.strip(), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_COLUMNS)
    console.print(table)


def ledger_place(home: Path, *, create: bool = False) -> Path | str:
    """A ledger that exists, or may now come to be: a file's path, or a server's URL."""
    file = config_file(home)
    where = (LedgerConfig() if file is None else ledger_config(file)).where(Home(home))
    if isinstance(where, str):
        return where
    if create:
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.ClickException(f"{home}: {error.strerror}") from error
    elif not where.exists():
        raise click.ClickException(
            f"there is no ledger in '{home}': start a gateway there with `tollgate up`, name "
            "another folder with --home, or with --config the configuration that says where it is"
        )
    return where


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (ConfigError, LedgerError) as error:
        raise click.ClickException(str(error)) from error
