"""A statement as one page of HTML that needs nothing else, for screen, phone and paper. Pure."""

from __future__ import annotations

from html import escape

from metering.money import format_usd
from metering.month import time_text
from metering.statement import Entry, Statement, UsageLine

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60666c; --line: #d9dde1; --paper: #fff;
  --tint: #f4f6f8; --accent: #0b6b53; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa2aa; --line: #343a40;
  --paper: #15181b; --tint: #1e2226; --accent: #5cc9a7; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
header { display: flex; flex-wrap: wrap; gap: 1rem 3rem; justify-content: space-between; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.2; }
h2 { margin: 2.2rem 0 .5rem; font-size: 1.05rem; }
p { margin: .3rem 0; }
.soft { color: var(--soft); }
.seller { white-space: pre-line; text-align: right; }
.open { border-left: 4px solid var(--accent); padding-left: .75rem; }
dl { display: grid; grid-template-columns: 1fr auto; margin: 1.5rem 0 0; padding: .4rem 1rem;
  background: var(--tint); border-radius: 8px; }
dt, dd { margin: 0; padding: .3rem 0; }
dd, .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.sum { font-weight: 650; border-top: 1px solid var(--line); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .87rem; }
th { text-align: left; color: var(--soft); font-weight: 600; border-bottom: 1px solid var(--ink);
  white-space: nowrap; }
th.n { text-align: right; }
th, td { padding: .35rem .8rem .35rem 0; vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
td { border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.n, td:first-child { overflow-wrap: normal; white-space: nowrap; }
tfoot td { font-weight: 650; border-bottom: 0; }
footer { margin-top: 2.5rem; font-size: .85rem; white-space: pre-line; }
@media (max-width: 42rem) {
  body { padding: 1.25rem 1rem 3rem; } .seller { text-align: left; }
  thead { display: none; } tfoot tr, tbody tr { display: block; padding: .5rem 0;
    border-bottom: 1px solid var(--line); }
  tbody td, tfoot td { display: flex; justify-content: space-between; gap: 1rem; padding: .1rem 0;
    border: 0; text-align: right; }
  tbody td::before, tfoot td::before { content: attr(data-name); color: var(--soft);
    font-weight: 400; text-align: left; white-space: nowrap; }
  td:empty { display: none; }
}
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --tint: #fff;
    --accent: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; } @page { margin: 16mm; }
  tr, dl { break-inside: avoid; } thead { display: table-header-group; }
  .wide { overflow: visible; } h2 { break-after: avoid; }
}
"""

_ENTRIES = (("When (UTC)", ""), ("What", ""), ("USD", "n"))
_USAGE = (
    ("Day", ""),
    ("Model", ""),
    ("Key", ""),
    ("Price", ""),
    ("Requests", "n"),
    ("Prompt", "n"),
    ("of it cached", "n"),
    ("Completion", "n"),
    ("USD", "n"),
)

Cells = list[str]


def statement_page(statement: Statement, *, seller: str = "", note: str = "") -> str:
    """The whole page. Amounts are exact to the nano-USD."""
    title = _title(statement)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · {escape(statement.account)} · {statement.month}</title>"
        f"<style>{_STYLE}</style></head><body>"
        f"{_header(statement, title, seller)}{_summary(statement)}"
        f"{_entries(statement)}{_usage_tables(statement)}{_footer(statement, note)}"
        "</body></html>\n"
    )


def _title(statement: Statement) -> str:
    if statement.invoice is not None:
        return f"Invoice {statement.invoice}"
    return "Statement" if statement.final else "Statement so far"


def _header(statement: Statement, title: str, seller: str) -> str:
    issued = "" if statement.issued_ns is None else f", issued {time_text(statement.issued_ns)} UTC"
    goes_on = (
        ""
        if statement.final
        else '<p class="open">This month goes on: the figures are those of now, and an invoice '
        "number is given when it is over.</p>"
    )
    return (
        f"<header><div><h1>{escape(title)}</h1>"
        f"<p>Account <strong>{escape(statement.account)}</strong></p>"
        f'<p class="soft">{statement.month} (UTC){issued}</p>{goes_on}</div>'
        f'<div class="seller">{escape(seller)}</div></header>'
    )


def _summary(statement: Statement) -> str:
    totals = statement.totals
    usage = -totals.usage_nano_usd
    rows = [
        ("Balance at the start", statement.opening_nano_usd, True),
        ("Deposits", totals.deposits_nano_usd, False),
        ("Fees of deposits", totals.fees_nano_usd, False),
        ("Refunds", totals.refunds_nano_usd, False),
        ("Credits", totals.credits_nano_usd, False),
        ("Credit line raised or lowered", totals.credit_line_nano_usd, False),
        ("Other bookings", totals.other_nano_usd, False),
        (f"Usage, {totals.requests:,} requests", usage, totals.requests > 0),
    ]
    shown = "".join(
        f"<dt>{name}</dt><dd>{_usd(amount)}</dd>"
        for name, amount, always in rows
        if always or amount
    )
    closing = "Balance at the end" if statement.final else "Balance now"
    shown += (
        f'<dt class="sum">{closing}, USD</dt>'
        f'<dd class="sum">{_usd(statement.closing_nano_usd)}</dd>'
    )
    if statement.credit_line_nano_usd:
        own = statement.own_nano_usd
        shown += (
            f"<dt>of it credit line</dt><dd>{_usd(statement.credit_line_nano_usd)}</dd>"
            f'<dt class="sum">{"Owed" if own < 0 else "Own money"}</dt>'
            f'<dd class="sum">{_usd(abs(own))}</dd>'
        )
    return f"<dl>{shown}</dl>"


def _entries(statement: Statement) -> str:
    if not statement.entries:
        return ""
    rows = [_entry(entry) for entry in statement.entries]
    return "<h2>Movements</h2>" + _table(_ENTRIES, rows)


def _entry(entry: Entry) -> Cells:
    return [time_text(entry.booked_ns), entry.text, _usd(entry.nano_usd)]


def _usage_tables(statement: Statement) -> str:
    on_time = [line for line in statement.usage if not line.late]
    late = [line for line in statement.usage if line.late]
    tables = ""
    if on_time:
        tables += "<h2>Usage</h2>" + _table(_USAGE, *_usage(on_time))
    if late:
        tables += (
            "<h2>Late usage</h2><p class='soft'>Requests that ended in an earlier month and were "
            "booked in this one. No earlier statement has them.</p>"
        ) + _table(_USAGE, *_usage(late))
    return tables


def _usage(lines: list[UsageLine]) -> tuple[list[Cells], Cells]:
    rows = [
        [
            line.day,
            line.model,
            line.key_id,
            line.price_version,
            f"{line.requests:,}",
            f"{line.prompt_tokens:,}",
            f"{line.cached_tokens:,}",
            f"{line.completion_tokens:,}",
            _usd(line.charged_nano_usd),
        ]
        for line in lines
    ]
    total = [
        "Sum",
        "",
        "",
        "",
        f"{sum(line.requests for line in lines):,}",
        f"{sum(line.prompt_tokens for line in lines):,}",
        f"{sum(line.cached_tokens for line in lines):,}",
        f"{sum(line.completion_tokens for line in lines):,}",
        _usd(sum(line.charged_nano_usd for line in lines)),
    ]
    return rows, total


def _table(
    columns: tuple[tuple[str, str], ...], rows: list[Cells], total: Cells | None = None
) -> str:
    head = "".join(f'<th class="{kind}">{name}</th>' for name, kind in columns)
    body = "".join(_row(columns, row) for row in rows)
    foot = "" if total is None else f"<tfoot>{_row(columns, total)}</tfoot>"
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}'
        "</table></div>"
    )


def _row(columns: tuple[tuple[str, str], ...], cells: Cells) -> str:
    return (
        "<tr>"
        + "".join(
            f'<td class="{kind}" data-name="{name}">{escape(cell)}</td>'
            for (name, kind), cell in zip(columns, cells, strict=True)
        )
        + "</tr>"
    )


def _footer(statement: Statement, note: str) -> str:
    return (
        f'<footer class="soft">Prices are nano-USD a token: prompt/cached prompt/completion. '
        f"The balance is the ledger's at its row {statement.to_seq}; the month's rows are those "
        f"after {statement.from_seq}.\n{escape(note)}</footer>"
    )


def _usd(nano_usd: int) -> str:
    """At least two decimals, and as many as there are: nothing is rounded."""
    text = format_usd(nano_usd)
    whole, _, fraction = text.partition(".")
    sign, digits = ("−", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}.{fraction.ljust(2, '0')}"
