"""An epoch as one page of HTML that needs nothing else, for screen, phone and paper. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import msgspec

from ide.commitment import EpochHead
from ide.epoch import EpochReport, EpochResult, Payout
from ide.explain import explain, io, payout_lines, runway, usd
from ide.invariants import supply_io
from ide.params import IdeParams
from metering.epoch_seal import EpochSeal
from metering.money import PPM, mul_div_floor
from metering.month import time_text

PAYOUTS_MAX = 200
"""Payouts on a page; those of the largest obligations. All of them are told as JSON."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60666c; --line: #d9dde1; --paper: #fff;
  --tint: #f4f6f8; --io: #0b6b53; --usd: #2f6fc4; --unpaid: #b3402e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa2aa; --line: #343a40;
  --paper: #15181b; --tint: #1e2226; --io: #5cc9a7; --usd: #7db1f0; --unpaid: #ef8a78; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.2; }
h2 { margin: 2.2rem 0 .5rem; font-size: 1.05rem; }
p { margin: .3rem 0; }
.soft { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0 0; padding: 0; }
.tiles div { background: var(--tint); border-radius: 8px; padding: .7rem .9rem; }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.12rem; font-weight: 600; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.warn { border-left: 4px solid var(--unpaid); padding: .2rem 0 .2rem .75rem; margin-top: 1rem; }
.bar { display: flex; height: 1.1rem; margin: .6rem 0 .4rem; border-radius: 6px; overflow: hidden;
  background: var(--tint); }
.key span { margin-right: 1.3rem; white-space: nowrap; }
.key i { display: inline-block; width: .75em; height: .75em; border-radius: 2px; }
.io { background: var(--io); } .usd { background: var(--usd); }
.unpaid { background: var(--unpaid); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .87rem; }
th { text-align: left; color: var(--soft); font-weight: 600; border-bottom: 1px solid var(--ink); }
th, td { padding: .35rem .8rem .35rem 0; vertical-align: top; }
td { border-bottom: 1px solid var(--line); }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .85em/1.4 ui-monospace, "SF Mono", Menlo, monospace; overflow-wrap: anywhere; }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --tint: #eee; }
  body { max-width: none; padding: 0; font-size: 10pt; } tr { break-inside: avoid; } }
"""

Cells = Sequence[str]


def epoch_page(seal: EpochSeal, head: EpochHead, result: EpochResult, params: IdeParams) -> str:
    """The whole page. Amounts are exact."""
    report = result.report
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Epoch {head.epoch}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Epoch {head.epoch}</h1>{_when(head)}{_alarms(result, params)}"
        f"{_tiles(report)}{_owed(report)}{_figures(result, params)}{_payouts(report)}"
        f"{_supply(result)}{_proof(seal, head)}</body></html>\n"
    )


def _when(head: EpochHead) -> str:
    rows = f"ledger rows {head.from_seq + 1:,} to {head.to_seq:,}"
    if head.from_seq == head.to_seq:
        rows = "no ledger rows"
    return (
        f'<p class="soft">Closed {time_text(head.closed_ns)} UTC, {rows},'
        f" parameters version {escape(head.params_version)}</p>"
    )


def _alarms(result: EpochResult, params: IdeParams) -> str:
    lines = [line for line in explain(result, params) if line.label in ("alarm", "proposal")]
    shown = "".join(
        f"<p><strong>{escape(line.value)}</strong>: {escape(line.formula)}</p>" for line in lines
    )
    return f'<div class="warn">{shown}</div>' if shown else ""


def _tiles(report: EpochReport) -> str:
    psi, price = report.psi_smoothed_ppm, report.io_price_nano_usd
    tiles = (
        ("Owed to suppliers", usd(report.obligation_nano_usd + report.debt_before_nano_usd)),
        ("Paid in IO", io(report.io_paid)),
        ("Paid in USD", usd(report.usd_paid_nano_usd)),
        ("Unpaid", usd(report.unpaid_nano_usd)),
        ("Burned", io(report.io_burned)),
        ("Revenue / obligation, smoothed", "none owed" if psi is None else f"{psi // 10_000} %"),
        ("Runway", runway(report.runway_months)),
        ("IO price", "none" if price is None else usd(price)),
    )
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles)
    return f'<dl class="tiles">{shown}</dl>'


def _owed(report: EpochReport) -> str:
    """What became of all that was owed, as a bar."""
    met = report.io_value_nano_usd + report.rounding_nano_usd
    parts = (
        ("io", "in IO, at the epoch's price", met),
        ("usd", "in USD", report.usd_paid_nano_usd),
        ("unpaid", "unpaid", report.unpaid_nano_usd),
    )
    owed = sum(amount for _, _, amount in parts)
    if not owed:
        return "<p>Nothing was owed in this epoch.</p>"
    bar = "".join(
        f'<span class="{kind}" style="width:{_percent(amount, owed)}%"></span>'
        for kind, _, amount in parts
        if amount
    )
    key = "".join(
        f'<span><i class="{kind}"></i> {usd(amount)} {name}</span>' for kind, name, amount in parts
    )
    return f'<h2>What became of it</h2><div class="bar">{bar}</div><p class="key">{key}</p>'


def _figures(result: EpochResult, params: IdeParams) -> str:
    rows = [[escape(text) for text in line] for line in explain(result, params)]
    columns = (("Figure", ""), ("Value", "n"), ("How it came about", ""))
    return "<h2>Every figure</h2>" + _table(columns, rows)


def _payouts(report: EpochReport) -> str:
    if not report.payouts:
        return ""
    largest = sorted(report.payouts, key=_owed_to, reverse=True)[:PAYOUTS_MAX]
    shown = msgspec.structs.replace(report, payouts=tuple(largest))
    more = ""
    if len(report.payouts) > len(largest):
        more = f'<p class="soft">The largest {len(largest):,} of {len(report.payouts):,}.</p>'
    columns = (
        ("Supplier", ""),
        ("Owed", "n"),
        ("In IO", "n"),
        ("In USD", "n"),
        ("Rounding", "n"),
        ("Unpaid", "n"),
    )
    rows = [[escape(text) for text in line] for line in payout_lines(shown)]
    return f"<h2>Payouts</h2>{more}" + _table(columns, rows)


def _owed_to(payout: Payout) -> int:
    return payout.obligation_nano_usd + payout.debt_before_nano_usd


def _supply(result: EpochResult) -> str:
    state = result.state
    parts = (
        ("Unemitted", state.unemitted_io, "may still be released or retired"),
        ("Reward Vault", state.reward_vault_io, "released, not paid out"),
        ("Circulating", state.circulating_io, "in the market, staked or held"),
        ("Suppliers", state.supplier_io, "paid out, still on the ledger"),
        ("Burned", state.burned_circulating_io, "bought back out of fees, or slashed"),
        ("Retired", state.retired_unemitted_io, "never to be emitted"),
        ("Sum", supply_io(state), f"the cap is {io(state.cap_io)}"),
    )
    columns = (("After the epoch", ""), ("IO", "n"), ("Which is", ""))
    return "<h2>Supply</h2>" + _table(columns, [(name, io(n), what) for name, n, what in parts])


def _proof(seal: EpochSeal, head: EpochHead) -> str:
    hashes = (
        ("Root over the payouts", seal.root),
        ("Head of this epoch", seal.hash),
        ("Head of the one before", head.previous or "none: this is the first"),
        ("State", head.state_hash),
    )
    rows = [[name, f"<code>{value}</code>"] for name, value in hashes]
    return (
        "<h2>Check it</h2><p>Each supplier can prove its payout against this head, and the charges"
        " behind it, without asking anybody:</p>"
        f"<p><code>tollgate settle check-proof FILE --head {seal.hash}</code></p>"
        + _table((("", ""), ("SHA-256", "")), rows)
    )


def _table(columns: Sequence[tuple[str, str]], rows: Iterable[Cells]) -> str:
    head = "".join(f'<th class="{kind}">{name}</th>' for name, kind in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{cell}</td>' for (_, kind), cell in zip(columns, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _percent(part: int, whole: int) -> str:
    """With three decimals, for a width."""
    ppm = mul_div_floor(part, PPM, whole)
    return f"{ppm // 10_000}.{ppm % 10_000:04d}"
