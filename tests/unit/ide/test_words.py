"""Figures of a simulated run in words: the same in the command's table and on its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from ide.simulator.words import percent_text, ratio_text


@pytest.mark.parametrize(
    ("ppm", "signed", "plain"),
    [
        (None, "none", "none"),
        (0, "+0.0%", "0.0%"),
        (-499, "+0.0%", "0.0%"),
        (-500, "-0.1%", "-0.1%"),
        (-12_345, "-1.2%", "-1.2%"),
        (-12_500, "-1.3%", "-1.3%"),
        (12_500, "+1.3%", "1.3%"),
        (1_000_000, "+100.0%", "100.0%"),
    ],
)
def test_a_change_is_told_to_the_nearest_tenth(ppm, signed, plain) -> None:
    assert (percent_text(ppm), percent_text(ppm, sign=False)) == (signed, plain)


@pytest.mark.parametrize(
    ("ppm", "told"), [(None, "none"), (0, "0.000"), (448_499, "0.448"), (999_500, "1.000")]
)
def test_a_ratio_is_told_to_the_nearest_thousandth(ppm, told) -> None:
    assert ratio_text(ppm) == told


def test_the_page_says_what_the_table_says(tmp_path: Path) -> None:
    file = tmp_path / "fewer.toml"
    file.write_text(
        'name = "fewer"\ntitle = "Fewer ask"\nyears = 1\n'
        '[[events]]\nwhat = "demand"\nfrom_day = 30\nuntil_day = 300\nto_ppm = 123_456\n'
    )
    asked = ["simulate", "--scenario", str(file), "--workers", "1", "--out", str(tmp_path / "out")]
    table = CliRunner().invoke(main, asked)
    assert table.exit_code == 0, table.output
    (income,) = re.findall(r"suppliers' income +(\S+) +(\S+)", table.output)
    (psi,) = re.findall(r"least psi +(\S+) +(\S+)", table.output)
    page = re.sub(r"<[^>]+>", " ", (tmp_path / "out" / "report.html").read_text())
    for words, told in (("change while the events last", income), ("Least psi, smoothed", psi)):
        assert re.search(rf"{words}\s+(\S+)\s+(\S+)", page).groups() == told
