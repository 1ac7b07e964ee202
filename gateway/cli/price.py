"""`tollgate price`: what models cost, from when on."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import click

from gateway.cli.audited import audited
from gateway.cli.home import (
    config_file,
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_stores,
)
from gateway.cli.known import remark_model
from gateway.config import ConfigError, load
from gateway.home import Home
from gateway.price_terms import NewPrice
from gateway.views.prices import entry_view, name_view, tariff_view, when
from metering.money import PPM, format_usd
from metering.off_peak import window_from_text
from metering.price_book import Tariff
from metering.price_store import PriceStore
from metering.prices import PriceError


@click.group()
def command() -> None:
    """Prices: set, list, show what a version means."""


@command.command("set")
@click.argument("model")
@click.option("--prompt", required=True, help="USD for a million prompt tokens.")
@click.option("--completion", required=True, help="USD for a million completion tokens.")
@click.option("--cached-prompt", help="USD for a million cached prompt tokens, if less.")
@click.option("--request", default="0", help="USD for each request, besides its tokens.")
@click.option("--batch-discount-ppm", type=click.IntRange(0, PPM), default=0, help="For batches.")
@click.option("--off-peak", multiple=True, help="'DAYS FROM-UNTIL PPM', in UTC; can be repeated.")
@click.option("--from", "effective_from", help="When it takes effect; at once if not given.")
@click.option("--id", "entry_id", help="Makes it repeatable: an id is set once.")
@json_option
@home_option
def set_price(
    model: str,
    prompt: str,
    completion: str,
    cached_prompt: str | None,
    request: str,
    batch_discount_ppm: int,
    off_peak: tuple[str, ...],
    effective_from: str | None,
    entry_id: str | None,
    as_json: bool,
    home: Path,
) -> None:
    """Set what a model costs from a moment on: all of it, also what stays as it was.

    It takes effect in 5 s at the earliest, and then in every gateway at once, without a restart. A
    price not yet in force is taken back by another one for the same moment.

    \b
    Example: tollgate price set llama-3.3-70b --prompt 0.13 --completion 0.38 \\
                 --cached-prompt 0.05 --batch-discount-ppm 500000 \\
                 --off-peak 'daily 22:00-06:00 250000' --from 2027-01-01T00:00:00Z
    """
    with _errors():
        tariff = NewPrice(
            model=model,
            prompt_usd_per_million=prompt,
            completion_usd_per_million=completion,
            cached_prompt_usd_per_million=cached_prompt,
            request_usd=request,
            batch_discount_ppm=batch_discount_ppm,
            off_peak=tuple(window_from_text(text) for text in off_peak),
            effective_from=effective_from,
        ).tariff()
        with open_stores(home, create=True) as database, audited(home, "set-price", model):
            store = PriceStore(database)
            entry = store.add(entry_id or secrets.token_hex(8), tariff, time.time_ns())
    remark_model(Home(home), model)
    if as_json:
        echo_json(entry_view(entry))
        return
    names = ", ".join(price.version for price in entry.tariff.all_prices())
    click.echo(f"'{model}' costs {names} from {when(entry.tariff.effective_ns)} on ('{entry.id}').")


@command.command("list")
@click.option("--model", help="Only this one.")
@json_option
@home_option
def list_prices(model: str | None, as_json: bool, home: Path) -> None:
    """What models cost, cost before and will cost. With --json, one object a line.

    Example: tollgate price list --model llama-3.3-70b
    """
    now_ns = time.time_ns()
    with _errors():
        found = [each for each in _tariffs(home) if model in (None, each.model)]
    lines = _in_order(found, now_ns)
    if as_json:
        for tariff, state in lines:
            echo_json({**tariff_view(tariff), "state": state})
        return
    echo_table(
        "Prices, in USD for a million tokens (request: for one)",
        ["model", "from", "", "prompt ", "cached ", "completion ", "request ", "discounts (ppm)"],
        [
            [
                tariff.model,
                when(tariff.effective_ns) or "(configuration)",
                state,
                *(format_usd(each * 10**6) for each in tariff.list_price.amounts[:3]),
                format_usd(tariff.request_nano_usd),
                _discounts(tariff),
            ]
            for tariff, state in lines
        ],
    )


@command.command()
@click.argument("version")
@json_option
@home_option
def show(version: str, as_json: bool, home: Path) -> None:
    """What the version on a charge means, and which models cost that when.

    Example: tollgate price show 100/25/300~batch:500000
    """
    with _errors():
        view = name_view(version, _tariffs(home))
    if as_json:
        echo_json(view)
        return
    click.echo(f"{version}, in nano-USD:")
    for field in ("prompt", "cached_prompt", "completion"):
        usd = format_usd(view[field] * 10**6)
        click.echo(f"  {field.replace('_', ' ')} token {view[field]} ({usd} USD for a million)")
    click.echo(f"  request {view['request']} ({format_usd(view['request'])} USD)")
    if view["reduction"]:
        click.echo(f"  after a discount of {view['discount_ppm']} ppm ({view['reduction']})")
    for tariff in view["tariffs"]:
        click.echo(f"  of '{tariff['model']}' from {tariff['effective_from'] or 'the beginning'}")


def _tariffs(home: Path) -> list[Tariff]:
    """The configuration's, then the book's in the order in which they were set."""
    file = config_file(home)
    first = [] if file is None else [model.tariff() for model in load(file).model]
    with open_stores(home) as database:
        return first + [entry.tariff for entry in PriceStore(database).load()]


def _in_order(tariffs: list[Tariff], now_ns: int) -> list[tuple[Tariff, str]]:
    """By model and time, with what each is: before, in force, ahead, or taken back."""
    last = {(each.model, each.effective_ns): each for each in tariffs}
    past = [each for each in last.values() if each.effective_ns <= now_ns]
    current = {each.model: each for each in sorted(past, key=lambda each: each.effective_ns)}

    def state(tariff: Tariff) -> str:
        if tariff is not last[tariff.model, tariff.effective_ns]:
            return "taken back"
        if tariff is current.get(tariff.model):
            return "in force"
        return "before" if tariff.effective_ns <= now_ns else "ahead"

    ordered = sorted(tariffs, key=lambda each: (each.model, each.effective_ns))
    return [(tariff, state(tariff)) for tariff in ordered]


def _discounts(tariff: Tariff) -> str:
    batch = [f"batch {tariff.batch_discount_ppm}"] if tariff.batch_discount_ppm else []
    return "; ".join([*batch, *(str(window) for window in tariff.off_peak)])


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (PriceError, ConfigError) as error:
        raise click.ClickException(str(error)) from error
