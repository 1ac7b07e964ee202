"""A run, for a person at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from . import figures
from .arithmetic import Spread
from .figures import DIRECT, Figure
from .result import Run
from .verdicts import RUST, C, Verdict

TABLES: dict[str, tuple[tuple[Figure, bool], ...]] = {
    "Whole answers of 1 KB, c connections (all told: with the work it put off)": (
        (figures.CPU_REQUEST, True),
        (figures.CPU_REQUEST_ALL, False),
        (figures.RATE_32, False),
        (figures.RATE_256, False),
        (figures.ONE_P50, False),
        (figures.BUSY_P99, False),
        (figures.LOAD_CORE, False),
        (figures.OTHERS, False),
    ),
    "At a fixed rate, from the moment a request was due": (
        (figures.FIXED_P50, False),
        (figures.FIXED_P99, False),
        (figures.ADDED_P50, False),
        (figures.ADDED_P99, False),
    ),
    "Streams of 128 events of 200 B: 256 paced at 20 ms; 64 and 256 unpaced": (
        (figures.CPU_EVENT, True),
        (figures.TTFT_P50, False),
        (figures.TTFT_P99, False),
        (figures.GAP_P99, False),
        (figures.UNPACED_64, False),
        (figures.UNPACED_256, False),
        (figures.RSS_IDLE, False),
        (figures.RSS_STREAMS, False),
    ),
}
"""Figures, and whether ratios are shown beside them."""


def show(run: Run, verdicts: list[Verdict], console: Console) -> None:
    for title, columns in TABLES.items():
        console.print(_table(run, title, columns))
    _show_the_load(run, console)
    for name, install in run.missing.items():
        console.print(f"{name} is not installed: {install}", markup=False, highlight=False)
    for failure in run.failures:
        console.print(f"[red]failed[/] {failure.peer}, repeat {failure.repeat}: ", end="")
        console.print(failure.why, markup=False)
    _show_books(run, console)
    words = {True: "[green]met[/]     ", False: "[red]missed[/]  ", None: "[yellow]no figure[/]"}
    for verdict in verdicts:
        console.print(words[verdict.met], "aim: " if verdict.aim else "bar: ", end="")
        console.print(verdict.text, markup=False, highlight=False)


def _table(run: Run, title: str, columns: tuple[tuple[Figure, bool], ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    for figure, with_ratios in columns:
        table.add_column(f"{figure.title}\n{figure.unit}", justify="right")
        if with_ratios:
            for other in (C, RUST):
                table.add_column(f"x {other}", justify="right")
    for peer in run.peers:
        cells = []
        for figure, with_ratios in columns:
            found = figure.of(run, peer)
            cells.append(_cell(found, figure.digits))
            if with_ratios:
                cells += [_ratio(found, figure.of(run, other)) for other in (C, RUST)]
        table.add_row(peer, *cells)
    return table


def _cell(found: Spread | None, digits: int) -> str:
    """The median, and below it the least and the most."""
    if found is None:
        return "-"
    text = f"{found.median:,.{digits}f}"
    if found.low != found.high:
        text += f"\n{found.low:,.{digits}f}-{found.high:,.{digits}f}"
    return text


def _ratio(found: Spread | None, other: Spread | None) -> str:
    return "-" if found is None or other is None else f"{found.median / other.median:.2f}"


def _show_the_load(run: Run, console: Console) -> None:
    """Whether what measures was cheap enough to be believed."""
    load, node = figures.LOAD_COST.of(run, DIRECT), figures.NODE_COST.of(run, DIRECT)
    if load is None or node is None:
        return
    most = 1_000_000 / (load.median + node.median)
    console.print(
        f"The load generator costs {load.median:.1f} µs a request and the mock node "
        f"{node.median:.1f} µs: together they can do {most:,.0f} requests/s on their core. "
        "Where 'load core' nears 100 %, read CPU a request and not requests/s; where "
        "'others' (on the gateway's core) is above 5 %, do not trust rates and latencies."
    )


def _show_books(run: Run, console: Console) -> None:
    for audit in run.audits:
        books, counted = audit.books, audit.counted
        if audit.faults:
            console.print(f"[red]THE BOOKS ARE WRONG[/], repeat {audit.repeat}:")
            for fault in audit.faults:
                console.print(f"  {fault}", markup=False, highlight=False)
            continue
        console.print(
            f"[green]books exact[/], repeat {audit.repeat}: {counted.sent:,} requests sent, "
            f"{books.charges:,} charges, {books.completion_tokens:,} completion tokens; "
            f"{counted.cut} streams cut, charged for what was generated"
        )
