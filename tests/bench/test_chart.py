"""The chart is a valid picture whose bars are as long as their figures."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from bench.chart import OURS_COLOUR, PANELS, WIDTH, draw
from bench.runs import run_of

SVG = "{http://www.w3.org/2000/svg}"
PEERS = [
    ("direct", 0, 0, 40_000, 0.3, 0.2, 0),
    ("tollgate", 40, 20, 10_000, 1.0, 1, 60),
    ("haproxy", 20, 18, 30_000, 0.5, 0.5, 15),
    ("a & b", 10_000, 700, 100, 15, 3_000, 300),
]


def drawn() -> ElementTree.Element:
    return ElementTree.fromstring(draw(run_of(*PEERS)))


def bars() -> list[tuple[float, str]]:
    return [
        (float(rect.attrib["width"]), rect.attrib["fill"])
        for rect in drawn().iter(f"{SVG}rect")
        if rect.attrib["width"] != str(WIDTH)
    ]


def test_every_gateway_has_a_bar_in_every_panel():
    found = bars()
    assert len(found) == len(PANELS) * 3
    assert sum(colour == OURS_COLOUR for _, colour in found) == len(PANELS)


def test_bars_begin_at_zero():
    ours, haproxy, _ = bars()[:3]
    assert ours[0] / haproxy[0] == pytest.approx(40 / 20, rel=0.01)


def test_a_bar_that_would_flatten_the_others_is_cut_and_says_so():
    texts = [text.text or "" for text in drawn().iter(f"{SVG}text")]
    assert "10,000.0 (cut)" in texts


def test_where_more_is_better_nobody_is_cut():
    rates = bars()[6:9]
    assert rates[1][0] / rates[0][0] == pytest.approx(3, rel=0.01)


def test_everything_lies_within_the_picture():
    assert max(float(x) for x in re.findall(r' x2?="([\d.]+)"', draw(run_of(*PEERS)))) < WIDTH


def test_a_gateway_without_a_figure_is_said_to_have_none():
    run = run_of(*PEERS)
    run.starts = [start for start in run.starts if start.peer != "haproxy"]
    assert "not measured" in draw(run)
