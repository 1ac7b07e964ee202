"""One self-contained HTML page of a run: figures, plots, parameters. Edge."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from ide.explain import io as io_text
from ide.explain import usd
from ide.params import parameter_table
from ide.simulator.run import Run
from ide.simulator.summary import SPREAD, Summary
from ide.simulator.words import percent_text, ratio_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2126;max-width:1100px;margin:2rem auto;
padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{margin-top:2.2rem;font-size:1.15rem}
table{border-collapse:collapse;width:100%;font-size:.92rem}
td,th{padding:.35rem .6rem;text-align:left;
border-bottom:1px solid #e6e8eb;vertical-align:top}td.n,th.n{text-align:right;
font-variant-numeric:tabular-nums}img{width:100%;margin:.6rem 0}p.sub{color:#5d636b;margin-top:0}
code{font-size:.85em}.mark{color:#5d636b}
"""


def write_report(run: Run, figures: Mapping[str, Figure], folder: FilePath) -> list[FilePath]:
    """report.html, and each plot as a PNG beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    written, images = [], []
    for name, figure in figures.items():
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=_DPI)
        file = folder / f"{name}.png"
        file.write_bytes(drawn.getvalue())
        written.append(file)
        encoded = base64.b64encode(drawn.getvalue()).decode()
        images.append(f'<img alt="{name}" src="data:image/png;base64,{encoded}">')
    page = folder / "report.html"
    page.write_text(_page(run, images))
    return [*written, page]


def _page(run: Run, images: list[str]) -> str:
    plan = run.plan
    title = f"{plan.scenario.name}: {plan.scenario.title}"
    paths = "1 path" if plan.paths == 1 else f"{plan.paths:,} paths"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="sub">{plan.days:,} days in epochs of {plan.epoch_s:,} s, {paths}, seed'
        f" {plan.seed}. Shaded: an event is on.</p>",
        "<h2>Both engines on the first path</h2>",
        _engines(run.ide, run.legacy),
        *images,
        *([] if plan.paths == 1 else ["<h2>Over all paths</h2>", _spreads(run)]),
        "<h2>Parameters</h2>",
        '<p class="sub">published: io.net said so. inferred: worked out from what it said. ours:'
        " nobody said, we chose; every result here rests on those too.</p>",
        _parameters(run),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(body)}</body></html>\n"
    )


def _engines(ide: Summary, legacy: Summary) -> str:
    rows = [_row(label, [show(ide), show(legacy)]) for label, show in _FIGURES]
    head = '<tr><th></th><th class="n">IDE</th><th class="n">fixed schedule</th></tr>'
    return f"<table>{head}{''.join(rows)}</table>"


def _spreads(run: Run) -> str:
    head = "".join(f'<th class="n">{name}</th>' for name in ("5%", "50%", "95%", "never"))
    rows = []
    for name in SPREAD:
        row = run.ide_spread[name]
        shown = ["none" if value is None else f"{value:,}" for value in (row.p5, row.p50, row.p95)]
        rows.append(_row(f"<code>{name}</code>", [*shown, f"{row.never:,}"]))
    return f"<table><tr><th>IDE</th>{head}</tr>{''.join(rows)}</table>"


def _parameters(run: Run) -> str:
    rows = [
        f"<tr><td><code>{row.name}</code></td><td>{html.escape(row.value)}</td>"
        f'<td class="mark">{row.mark}</td><td>{html.escape(row.reason)}</td></tr>'
        for row in parameter_table(run.plan.scenario.params)
    ]
    return f"<table>{''.join(rows)}</table>"


def _row(label: str, values: list[str]) -> str:
    cells = "".join(f'<td class="n">{value}</td>' for value in values)
    return f"<tr><td>{label}</td>{cells}</tr>"


def _day(day: int | None) -> str:
    return "never" if day is None else f"day {day:,}"


def _months(months: int | None) -> str:
    return "none" if months is None else f"{months} months"


def _io(units: int) -> str:
    return io_text(units // 10**8 * 10**8)


_FIGURES: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    (
        "Suppliers' income, change while the events last",
        lambda s: percent_text(s.supplier_income_change_ppm),
    ),
    ("of it for availability", lambda s: percent_text(s.availability_income_change_ppm)),
    ("Paid to suppliers", lambda s: usd(s.paid_nano_usd // 10**9 * 10**9)),
    ("First warning", lambda s: _day(s.first_warning_day)),
    ("First proposal", lambda s: _day(s.first_proposal_day)),
    ("First shortfall", lambda s: _day(s.first_shortfall_day)),
    ("Days with something unpaid", lambda s: f"{s.unpaid_days:,}"),
    ("Least psi, smoothed", lambda s: ratio_text(s.psi_min_ppm)),
    ("Least runway", lambda s: _months(s.runway_months_min)),
    ("Debt at the end", lambda s: usd(s.debt_end_nano_usd // 10**9 * 10**9)),
    ("Burned in the first year", lambda s: _io(s.burned_first_year_io)),
    ("Burned", lambda s: _io(s.burned_circulating_io)),
    ("Retired, never emitted", lambda s: _io(s.retired_unemitted_io)),
    ("Supply at the end", lambda s: _io(s.supply_io)),
    ("Least part of the fleet", lambda s: percent_text(s.gpus_min_ppm, sign=False)),
    ("State", lambda s: f"<code>{s.state_hash[:16]}</code>"),
)
