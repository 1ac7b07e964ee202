"""Prices as JSON shows them: in the list of models, the admin API and the command line."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from msgspec import to_builtins

from gateway.views.fields import seconds
from metering.price_book import NEVER_NS, InForce, Tariff
from metering.price_store import PriceEntry
from metering.prices import ModelPrice, price_named

UNIT = "nano-USD per token, and per request (1e-9 USD)"


def pricing_view(in_force: InForce) -> dict[str, Any]:
    """What a model costs now, until when, and what else it can come to."""
    tariff = in_force.tariff
    view = {"unit": UNIT, **price_view(in_force.price), "until": when(in_force.until_ns)}
    if tariff.batch_discount_ppm:
        view["batch"] = price_view(in_force.batch_price)
    if tariff.off_peak:
        view["list"] = price_view(tariff.list_price)
        view["off_peak"] = to_builtins(tariff.off_peak)
    return view


def tariff_view(tariff: Tariff) -> dict[str, Any]:
    """A tariff as it was set, with every price that it can come to."""
    return {
        "model": tariff.model,
        "effective_ns": tariff.effective_ns,
        "effective_from": when(tariff.effective_ns),
        **price_view(tariff.list_price),
        "batch_discount_ppm": tariff.batch_discount_ppm,
        "off_peak": to_builtins(tariff.off_peak),
        "discounted": [price_view(price) for price in tariff.all_prices()[1:]],
    }


def entry_view(entry: PriceEntry) -> dict[str, Any]:
    """An entry of the price book."""
    return {
        "id": entry.id,
        "seq": entry.seq,
        "set_at": seconds(entry.set_ns),
        **tariff_view(entry.tariff),
    }


def name_view(version: str, tariffs: Iterable[Tariff]) -> dict[str, Any]:
    """What a version says, and the tariffs that come to it. Raises PriceError if it is none."""
    name = price_named(version)
    return {
        "unit": UNIT,
        **price_view(name.price),
        "reduction": name.reduction,
        "discount_ppm": name.discount_ppm,
        "tariffs": [tariff_view(each) for each in tariffs if name.price in each.all_prices()],
    }


def price_view(price: ModelPrice) -> dict[str, Any]:
    return {
        "version": price.version,
        "prompt": price.prompt_nano_usd,
        "cached_prompt": price.cached_prompt_nano_usd,
        "completion": price.completion_nano_usd,
        "request": price.request_nano_usd,
    }


def when(time_ns: int) -> str | None:
    """ISO 8601 in UTC; None for always and never."""
    if time_ns in (0, NEVER_NS):
        return None
    seconds, rest_ns = divmod(time_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
    return moment.isoformat().replace("+00:00", "Z")
