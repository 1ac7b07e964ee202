"""What opens a home's billing for a command, and tells its refusals in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from gateway.billing.billing import Billing
from gateway.billing.config import BillingConfig
from gateway.cli.home import WRITER, open_ledger, open_stores
from gateway.config import ConfigError, load
from gateway.home import Home
from metering.accounts import AccountError
from metering.deposit import DepositError
from metering.ledger import Ledger
from metering.money import MoneyError
from metering.month import MonthError
from metering.statement import StatementError


@contextlib.contextmanager
def open_billing(home: Path, *, create: bool = False) -> Iterator[tuple[Billing, Ledger]]:
    """With the home's ledger, for balances. Errors end the command."""
    with told_in_a_line():
        config = billing_config(home)
        with open_ledger(home, create=create) as ledger, open_stores(home) as database:
            yield Billing(Home(home), config, ledger, database, WRITER), ledger


def billing_config(home: Path) -> BillingConfig:
    """Of the home's configuration; the defaults if it has none. Raises ConfigError."""
    file = Home(home).config_file
    return load(file).billing if file.exists() else BillingConfig()


@contextlib.contextmanager
def told_in_a_line() -> Iterator[None]:
    try:
        yield
    except (
        AccountError,
        ConfigError,
        DepositError,
        MoneyError,
        MonthError,
        StatementError,
    ) as error:
        raise click.ClickException(str(error)) from error
