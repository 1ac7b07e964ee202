"""The commands, as `make bench` calls them."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import msgspec
import pytest
from bench.__main__ import main
from bench.layers import measure
from bench.plan import JOBS
from bench.result import Run
from bench.runs import run_of
from click.testing import CliRunner


def test_every_layer_has_a_figure():
    layers = asyncio.run(measure(50))
    assert {layer.of for layer in layers} == {"request", "event"}
    assert all(0 < layer.microseconds < 100_000 for layer in layers)


def test_a_run_that_was_kept_is_shown_and_drawn_again(tmp_path):
    run = run_of(("direct", 0, 0, 9, 1, 1, 0), ("tollgate", 40, 20, 9, 2, 1, 60))
    kept, chart = tmp_path / "run.json", tmp_path / "run.svg"
    kept.write_bytes(msgspec.json.encode(run))
    shown = CliRunner().invoke(main, ["report", str(kept), "--chart", str(chart)])
    assert shown.exit_code == 0, shown.output
    assert "CPU a request: at most 0.5 x sglang-router; not measured" in shown.output
    assert chart.read_text().startswith("<svg")
    assert msgspec.json.decode(kept.read_bytes(), type=Run).peers == ["direct", "tollgate"]


def test_a_short_run_measures_everything_and_its_books_are_exact(tmp_path):
    kept = tmp_path / "run.json"
    arguments = ["--reps", "1", "--secs", "0.3", "--only", "tollgate", "--json", str(kept)]
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code == 0, ended.output
    run = msgspec.json.decode(kept.read_bytes(), type=Run)
    assert [measure.name for measure in run.measures] == list(JOBS)
    [audit] = run.audits
    assert audit.faults == []
    assert audit.books.charges == audit.counted.sent > 100


def test_an_unknown_peer_is_refused_by_name():
    refused = CliRunner().invoke(main, ["--only", "apache"])
    assert refused.exit_code == 2
    assert "apache" in refused.output


@pytest.fixture
def open_folder():
    """One that PostgreSQL's own user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_an_epoch_of_a_crowd_is_measured_proved_and_replayed(open_folder):
    ended = CliRunner().invoke(main, ["settle", "--quick", "--folder", str(open_folder), "--json"])
    assert ended.exit_code == 0, ended.output
    figures = json.loads(ended.stdout)
    assert len(figures) == 2 * 4
    assert all(figure["met"] for figure in figures)
    assert list(open_folder.iterdir()) == []


def test_the_books_are_measured_and_right_afterwards(open_folder):
    ended = CliRunner().invoke(main, ["ledger", "--quick", "--folder", str(open_folder), "--json"])
    assert ended.exit_code == 0, ended.output
    figures = {figure["name"]: figure for figure in json.loads(ended.stdout)}
    assert len(figures) == 18 + 15
    assert figures["verification"]["met"]
    assert figures["PostgreSQL: verification"]["met"]
    assert list(open_folder.iterdir()) == []


def test_a_choice_is_measured_for_each_policy():
    ended = CliRunner().invoke(main, ["route", "--nodes", "16", "--nodes", "64", "--json"])
    assert ended.exit_code == 0, ended.output
    costs = json.loads(ended.stdout)
    assert [(cost["nodes"], cost["policy"]) for cost in costs][:2] == [
        (16, "free-share"),
        (16, "forecast"),
    ]
    assert all(0 < cost["choose_us"] < cost["whole_us"] < 1_000 for cost in costs)
