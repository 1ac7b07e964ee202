"""`tollgate route liars`: how soon lying nodes of simulated worlds are found, and who wrongly."""

from __future__ import annotations

import click
import msgspec

from gateway.cli.home import echo_json, echo_table, json_option
from router.simulator.trust import LIARS, WITHIN, Found, trial


class Row(msgspec.Struct, kw_only=True):
    """Of all nodes of one kind."""

    policy: str
    kind: str
    nodes: int = 0
    below_within: int = 0
    """Below the bound within `WITHIN` requests."""
    below_later: int = 0
    undecided: int = 0
    """Not below, and sent fewer requests than that: they were preferred to by others."""
    after: list[int] = []
    """Requests that each was sent until then."""


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--requests", type=click.IntRange(min=100), default=16_000, show_default=True)
@json_option
def liars(seeds: int, requests: int, as_json: bool) -> None:
    """Sixteen nodes, three of which cheat: after how many requests each is below the bound.

    Ends with 1 if more than one honest node in a hundred is found, or a liar later than it should.

    Example: tollgate route liars --seeds 100
    """
    rows = [_row(policy, seeds, requests) for policy in ("tollgate", "free-share")]
    told = [row for by_kind in rows for row in by_kind.values()]
    if as_json:
        for row in told:
            echo_json(row)
    else:
        columns = ["policy", "node", "nodes ", f"in {WITHIN} ", "later ", "undecided ", "median "]
        echo_table("Below the bound", columns, [_cells(row) for row in told])
    honest = [row for row in told if row.kind not in LIARS]
    wrong = sum(row.below_within + row.below_later for row in honest)
    late = sum(row.below_later for row in told if row.kind in LIARS)
    found = sum(row.below_within for row in told if row.kind in LIARS)
    if wrong * 100 > sum(row.nodes for row in honest) or late * 20 > found:
        raise SystemExit(1)


def _row(policy: str, seeds: int, requests: int) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for seed in range(seeds):
        for found in trial(seed, requests=requests, policy=policy):
            kind = found.node_id.rstrip("0123456789-")
            row = rows.setdefault(kind, Row(policy=policy, kind=kind))
            _count(row, found)
    return rows


def _count(row: Row, found: Found) -> None:
    row.nodes += 1
    if found.below_after is not None:
        row.after.append(found.below_after)
    if found.in_time:
        row.below_within += 1
    elif found.below_after is not None:
        row.below_later += 1
    elif found.requests < WITHIN:
        row.undecided += 1


def _cells(row: Row) -> list[str]:
    middle = sorted(row.after)[len(row.after) // 2] if row.after else None
    figures = (row.nodes, row.below_within, row.below_later, row.undecided)
    return [row.policy, row.kind, *map(str, figures), "" if middle is None else str(middle)]
