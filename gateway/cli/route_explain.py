"""`tollgate route explain`: why a request went to the node that it went to."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Any

import click

from gateway.cli.admin_ask import ask_admin
from gateway.cli.home import echo_json, echo_table, home_option, json_option


@click.command()
@click.argument("request_id")
@click.option("--url", help="Origin of the gateway; where the configuration serves if not given.")
@json_option
@home_option
def explain(request_id: str, url: str | None, as_json: bool, home: Path) -> None:
    """What each node looked like when REQUEST_ID (header x-request-id) was given one.

    Asks a gateway that runs, with the admin key of its home, for the decision as it was made, and
    makes it once more. Each process keeps its own last ones.

    Example: tollgate route explain req_0123456789abcdef
    """
    path = f"/admin/v1/decisions/{urllib.parse.quote(request_id, safe='')}"
    told = ask_admin(home, path, url)
    if as_json:
        echo_json(told)
        return
    for number, decision in enumerate(told["decisions"], 1):
        echo_table(_title(number, decision), _COLUMNS, [_row(each) for each in decision["nodes"]])


def _title(number: int, decision: dict[str, Any]) -> str:
    where = decision["node"] or f"nowhere: {decision['reason']}"
    again = "the same again" if decision["replayed"] else "NOT the same when made again"
    sort = (decision["wants"] or {}).get("sort")
    wins = "of the cheapest the highest score" if sort == "price" else "the highest score"
    return f"Try {number}: to {where} ({again}); the chosen one has a star, {wins} wins"


_COLUMNS = [
    "node",
    "left out",
    "price ",
    "score ",
    "in flight ",
    "pending tokens ",
    "cached ",
    "prefill us/token ",
    "fixed ms ",
    "decode ms/token ",
    "slowdown ",
]


def _row(node: dict[str, Any]) -> list[str]:
    score = node["score"]
    return [
        node["node"] + (" *" if node["chosen"] else ""),
        node["left_out"] or "",
        f"{node['price_ppm'] / 10_000:g} %",
        "" if score is None else f"{score:,.4g}",
        f"{node['in_flight']}/{node['capacity']}",
        str(node["pending_tokens"]),
        str(node["cached_tokens"]),
        str(node["prefill_us_per_token"]),
        str(node["prefill_fixed_ms"]),
        str(node["decode_ms_per_token"]),
        str(node["slowdown"]),
    ]
