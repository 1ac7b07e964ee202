"""`tollgate key`: the API keys of an account."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from msgspec.structs import asdict, astuple

from gateway.cli.home import (
    AccountName,
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_keys,
    open_ledger,
)
from metering.accounts import customer
from metering.keys import ApiKey, KeyTerms
from metering.limits import Limits

_LIMIT = click.IntRange(min=1)


@click.group()
def command() -> None:
    """API keys: create, list, revoke."""


@command.command()
@click.option("--account", type=AccountName(), required=True, help="Whose balance it spends.")
@click.option("--name", default="", help="What it is for.")
@click.option("--rpm", type=_LIMIT, help="Requests a minute.")
@click.option("--tpm", type=_LIMIT, help="Tokens a minute, of prompts and completions.")
@click.option("--concurrency", type=_LIMIT, help="Requests at once.")
@json_option
@home_option
def create(
    account: str,
    name: str,
    rpm: int | None,
    tpm: int | None,
    concurrency: int | None,
    as_json: bool,
    home: Path,
) -> None:
    """Make a key and show it, once: only its hash is kept. A new account is opened with it.

    A limit that is not given is the gateway's default, [limits] in its configuration.

    Example: tollgate key create --account alice --name laptop --rpm 600 --tpm 200000
    """
    limits = Limits(requests_per_minute=rpm, tokens_per_minute=tpm, concurrent_requests=concurrency)
    with open_ledger(home, create=True) as ledger:
        ledger.open_account(customer(account))
    with open_keys(home) as keys:
        key, secret = keys.create(account, name, KeyTerms(limits=limits))
    if as_json:
        echo_json({**_line(key), "api_key": secret})
        return
    click.echo(secret)
    click.echo(f"Key {key.key_id} of account '{account}'. It is not shown again.", err=True)


@command.command("list")
@click.option("--account", type=AccountName(), help="Only this account's.")
@json_option
@home_option
def list_keys(account: str | None, as_json: bool, home: Path) -> None:
    """All keys, revoked ones too, without their secrets. With --json, one object a line.

    Example: tollgate key list --account alice
    """
    with open_keys(home) as keys:
        found = [key for key in keys.load_all() if account in (None, key.account)]
    if as_json:
        for key in found:
            echo_json(_line(key))
        return
    echo_table(
        "API keys",
        ["key", "account", "name", "rpm", "tpm", "concurrency", "created", "revoked"],
        [
            [
                key.key_id,
                key.account,
                key.name,
                *("" if limit is None else str(limit) for limit in astuple(key.limits)),
                _when(key.created_ns),
                _when(key.revoked_ns),
            ]
            for key in found
        ],
    )


@command.command()
@click.argument("key_id")
@json_option
@home_option
def revoke(key_id: str, as_json: bool, home: Path) -> None:
    """Make a key useless for good. A running gateway notices within seconds.

    Example: tollgate key revoke key_1f2e3d4c5b6a7988
    """
    with open_keys(home) as keys:
        key = keys.revoke(key_id)
    if key is None:
        raise click.ClickException(f"there is no key '{key_id}': see `tollgate key list`")
    if as_json:
        echo_json(_line(key))
    else:
        click.echo(f"Key {key.key_id} of account '{key.account}' is revoked.")


def _line(key: ApiKey) -> dict[str, object]:
    return {
        "key_id": key.key_id,
        "account": key.account,
        "name": key.name,
        **asdict(key.limits),
        "created_ns": key.created_ns,
        "revoked_ns": key.revoked_ns,
    }


def _when(time_ns: int | None) -> str:
    if time_ns is None:
        return ""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
