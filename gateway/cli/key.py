"""`tollgate key`: the API keys of an account."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec.structs import astuple

from gateway.cli.audited import audited
from gateway.cli.home import (
    AccountName,
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_keys,
    open_ledger,
)
from gateway.cli.terms import Duration, patch_of, term_options
from gateway.views.customers import key_json
from metering.accounts import customer
from metering.key_patch import KeyPatch
from metering.key_store import KeyRefusedError, KeyStore
from metering.keys import NO_TERMS, ApiKey, KeyTermsError
from metering.money import format_usd

T = TypeVar("T")

_ALL = 2**31

key_argument = click.argument("key_id")


@click.group()
def command() -> None:
    """API keys: create, list, show, update, rotate, revoke."""


@command.command()
@click.option("--account", type=AccountName(), help="Whose balance it spends.")
@click.option("--parent", help="Make it a sub-key of this key, within its bounds.")
@term_options
@json_option
@home_option
def create(
    account: str | None, parent: str | None, as_json: bool, home: Path, **terms: Any
) -> None:
    """Make a key and show it, once: only its hash is kept. A new account is opened with it.

    A limit that is not given is the gateway's default, [limits] in its configuration.

    \b
    Example: tollgate key create --account alice --name laptop --rpm 600 --tpm 200000
    Example: tollgate key create --account alice --model llama-3.3-70b --cap 50 --cycle monthly
    """
    if (account is None) == (parent is None):
        raise click.UsageError("give either --account or --parent")
    patch = patch_of(**terms)
    if account is not None:
        with open_ledger(home, create=True) as ledger:
            ledger.open_account(customer(account))
    with _keys(home) as keys, audited(home, "create-key") as made:
        key, secret = _create(keys, account, parent, patch)
        made.subject = key.key_id
    _echo_secret(key, secret, as_json)


@command.command("list")
@click.option("--account", type=AccountName(), help="Only this account's.")
@click.option("--parent", help="Only this key's sub-keys.")
@json_option
@home_option
def list_keys(account: str | None, parent: str | None, as_json: bool, home: Path) -> None:
    """All keys, revoked ones too, without their secrets. With --json, one object a line.

    Example: tollgate key list --account alice
    """
    with _keys(home) as keys:
        found = keys.page(account=account, parent_key_id=parent, limit=_ALL)
    if as_json:
        for key in found:
            echo_json(key_json(key))
        return
    columns = ["key", "account", "name", "rpm", "tpm", "concurrency", "cap ", "cycle", "models"]
    echo_table(
        "API keys",
        [*columns, "created", "expires", "revoked"],
        [_row(key) for key in found],
    )


@command.command()
@key_argument
@json_option
@home_option
def show(key_id: str, as_json: bool, home: Path) -> None:
    """What a key may do. What it has used: tollgate usage, or GET /v1/key with the key itself.

    Example: tollgate key show key_1f2e3d4c5b6a7988
    """
    with _keys(home) as keys:
        key = _known(keys.get(key_id), key_id)
    if as_json:
        echo_json(key_json(key))
        return
    for name, value in key_json(key).items():
        if name not in ("object", "spend_cap_nano_usd") and value not in (None, ""):
            shown = _when(value * 10**9) if name.endswith(("_at", "_until")) else value
            click.echo(f"{name:25} {', '.join(shown) if isinstance(shown, tuple) else shown}")


@command.command()
@key_argument
@term_options
@json_option
@home_option
def update(key_id: str, as_json: bool, home: Path, **terms: Any) -> None:
    """Change what a key may do; what is not given stays. `none` takes a limit away.

    \b
    Example: tollgate key update key_1f2e3d4c5b6a7988 --cap 100 --cycle monthly --rpm none
    """
    patch = patch_of(**terms)
    if patch == KeyPatch():
        raise click.UsageError("nothing to change: give an option, such as --cap 100")
    with _keys(home) as keys, audited(home, "update-key", key_id):
        key = _known(keys.update(key_id, patch), key_id)
    if as_json:
        echo_json(key_json(key))
    else:
        click.echo(f"Key {key.key_id} of account '{key.account}' is changed.")


@command.command()
@key_argument
@click.option(
    "--grace",
    "grace_s",
    type=Duration(),
    default="0s",
    show_default=True,
    help="How long the secret before is still good: 24h.",
)
@json_option
@home_option
def rotate(key_id: str, grace_s: int, as_json: bool, home: Path) -> None:
    """Give a key a new secret and show it, once. Its limits and its name stay.

    Example: tollgate key rotate key_1f2e3d4c5b6a7988 --grace 24h
    """
    with _keys(home) as keys, audited(home, "rotate-key", key_id):
        key, secret = _known(keys.rotate(key_id, grace_s * 10**9), key_id)
    _echo_secret(key, secret, as_json)


@command.command()
@key_argument
@json_option
@home_option
def revoke(key_id: str, as_json: bool, home: Path) -> None:
    """Make a key and its sub-keys useless for good. A running gateway notices within seconds.

    Example: tollgate key revoke key_1f2e3d4c5b6a7988
    """
    with _keys(home) as keys, audited(home, "revoke-key", key_id):
        key = _known(keys.revoke(key_id), key_id)
    if as_json:
        echo_json(key_json(key))
    else:
        click.echo(f"Key {key.key_id} of account '{key.account}' is revoked.")


@contextlib.contextmanager
def _keys(home: Path) -> Iterator[KeyStore]:
    """The home's keys; a refusal ends the command in one line."""
    with open_keys(home) as keys:
        try:
            yield keys
        except (KeyRefusedError, KeyTermsError) as error:
            raise click.ClickException(str(error)) from error


def _create(
    keys: KeyStore, account: str | None, parent: str | None, patch: KeyPatch
) -> tuple[ApiKey, str]:
    name, terms = patch.named(""), patch.applied(NO_TERMS)
    if parent is not None:
        return keys.create_sub_key(parent, name, terms)
    assert account is not None
    return keys.create(account, name, terms)


def _known(found: T | None, key_id: str) -> T:
    if found is None:
        raise click.ClickException(f"there is no key '{key_id}': see `tollgate key list`")
    return found


def _echo_secret(key: ApiKey, secret: str, as_json: bool) -> None:
    if as_json:
        echo_json({**key_json(key), "api_key": secret})
        return
    click.echo(secret)
    click.echo(f"Key {key.key_id} of account '{key.account}'. It is not shown again.", err=True)


def _row(key: ApiKey) -> list[str]:
    cap = key.spend_cap_nano_usd
    return [
        key.key_id,
        key.account,
        key.name,
        *("" if limit is None else str(limit) for limit in astuple(key.limits)),
        "" if cap is None else format_usd(cap),
        key.spend_cycle or "",
        "" if key.models is None else ", ".join(key.models),
        _when(key.created_ns),
        _when(key.expires_ns),
        _when(key.revoked_ns),
    ]


def _when(time_ns: int | None) -> str:
    if time_ns is None:
        return ""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
