"""A run as an SVG: one panel a figure, one bar a gateway, every axis from zero. Pure.

Drawn by hand because it is a page of rectangles: no plotting library, and a diff can be read.
"""

from __future__ import annotations

from statistics import median
from xml.sax.saxutils import escape

import msgspec

from . import figures
from .arithmetic import Spread
from .figures import DIRECT, Figure
from .result import Run
from .verdicts import OURS


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    figure: Figure
    more_is_better: bool = False


PANELS = (
    Panel(title="CPU for a request, 32 connections", figure=figures.CPU_REQUEST),
    Panel(title="CPU for an event, 256 streams at 20 ms", figure=figures.CPU_EVENT),
    Panel(title="Whole answers, 256 connections", figure=figures.RATE_256, more_is_better=True),
    Panel(title="Latency added at 200 requests/s, median", figure=figures.ADDED_P50),
    Panel(title="First event of 256 streams at 20 ms, median", figure=figures.TTFT_P50),
    Panel(title="Resident memory, idle", figure=figures.RSS_IDLE),
)
COLUMNS = 2
WIDTH, MARGIN, GUTTER = 960, 24, 40
NAME_WIDTH, VALUE_WIDTH = 104, 96
ROW, BAR, PANEL_HEAD, PANEL_FOOT = 24, 15, 46, 22
HEAD, FOOT = 62, 52
INK, FAINT, OURS_COLOUR, OTHER_COLOUR = "#1f2328", "#656d76", "#0969da", "#b6bec8"
OFF_THE_SCALE = 5
"""A bar longer than so many times the median bar is cut, and says so: it would flatten the rest."""


def draw(run: Run) -> str:
    """The whole picture. Gateways that were not measured are left out."""
    peers = [peer for peer in run.peers if peer != DIRECT]
    panel_height = PANEL_HEAD + ROW * len(peers) + PANEL_FOOT
    rows = -(-len(PANELS) // COLUMNS)
    height = HEAD + rows * panel_height + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="DejaVu Sans, Verdana, sans-serif" '
        f'font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(MARGIN, 30, "What a gateway costs on one core", size=18, bold=True),
        _text(MARGIN, 50, "Bars are medians, lines from least to most of the repeats.", faint=True),
    ]
    panel_width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GUTTER) // COLUMNS
    for number, panel in enumerate(PANELS):
        row, column = divmod(number, COLUMNS)
        x, y = MARGIN + column * (panel_width + GUTTER), HEAD + row * panel_height
        parts += _panel(run, panel, peers, x, y, panel_width)
    parts += [
        _text(MARGIN, height - 28, f"{run.command}   at {run.commit}, {run.date}", faint=True),
        _text(MARGIN, height - 12, run.machine, faint=True),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(run: Run, panel: Panel, peers: list[str], x: int, y: int, width: int) -> list[str]:
    found = {peer: panel.figure.of(run, peer) for peer in peers}
    known = [spread for spread in found.values() if spread is not None]
    scale = _scale(known, cut=not panel.more_is_better)
    better = "more is better" if panel.more_is_better else "less is better"
    left, length = x + NAME_WIDTH, width - NAME_WIDTH - VALUE_WIDTH
    bottom = y + PANEL_HEAD + ROW * len(peers)
    parts = [
        _text(x, y + 20, panel.title, size=13, bold=True),
        _text(x, y + 37, f"{panel.figure.unit} · {better}", faint=True),
    ]
    for number, peer in enumerate(peers):
        middle = y + PANEL_HEAD + ROW * number + ROW // 2
        parts.append(_text(left - 8, middle + 4, peer, end=True, bold=peer == OURS))
        parts += _bar(found[peer], panel.figure, peer, left, middle, length, scale)
    parts.append(_line(left, y + PANEL_HEAD, left, bottom, FAINT))
    parts.append(_text(left, bottom + 14, "0", faint=True, middle=True))
    if scale:
        parts.append(_line(left + length, bottom, left + length, bottom - 4, FAINT))
        parts.append(_text(left + length, bottom + 14, _number(scale), faint=True, middle=True))
    parts.append(_line(left, bottom, left + length, bottom, FAINT))
    return parts


def _bar(
    found: Spread | None,
    figure: Figure,
    peer: str,
    left: int,
    middle: int,
    length: int,
    scale: float,
) -> list[str]:
    if found is None or not scale:
        return [_text(left + 6, middle + 4, "not measured", faint=True)]

    def at(value: float) -> float:
        return left + length * min(max(value, 0) / scale, 1)

    colour = OURS_COLOUR if peer == OURS else OTHER_COLOUR
    end = at(found.median)
    parts = [
        f'<rect x="{left}" y="{middle - BAR / 2:g}" width="{end - left:.1f}" height="{BAR}" '
        f'fill="{colour}"/>'
    ]
    label = f"{found.median:,.{figure.digits}f}"
    if found.median > scale:
        label += " (cut)"
        parts += [
            _line(end - 9 + i, middle + 9, end - 3 + i, middle - 9, "#ffffff") for i in (0, 1)
        ]
    elif found.low < found.high:
        parts.append(_line(at(found.low), middle, at(found.high), middle, INK))
        parts += [_line(at(v), middle - 3, at(v), middle + 3, INK) for v in (found.low, found.high)]
    parts.append(_text(max(end, at(found.high)) + 6, middle + 4, label, bold=peer == OURS))
    return parts


def _scale(found: list[Spread], *, cut: bool) -> float:
    """Where the axis ends: a round number beyond all bars but those that are off the scale."""
    if not found:
        return 0
    limit = OFF_THE_SCALE * max(median(spread.median for spread in found), 0)
    shown = [spread.high for spread in found if spread.median <= limit or not cut]
    most = max(shown, default=limit)
    if most <= 0:
        return 0
    step = 10 ** (len(str(int(most))) - 1) if most >= 1 else 0.1
    while step * 5 > most:
        step /= 2
    return step * -(-most // step)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        'stroke-width="1"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    bold: bool = False,
    faint: bool = False,
    end: bool = False,
    middle: bool = False,
) -> str:
    style = f' font-size="{size}"' if size != 12 else ""
    style += ' font-weight="bold"' if bold else ""
    style += f' fill="{FAINT}"' if faint else ""
    if end or middle:
        style += f' text-anchor="{"end" if end else "middle"}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}>{escape(text)}</text>'
