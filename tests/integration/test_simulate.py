"""`tollgate simulate` as it is run: worker processes, files, plots, the page."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from click.testing import CliRunner

from gateway.cli import main
from ide.params import DAY_S
from ide.simulator.run import Plan, process_pool, simulate
from ide.simulator.scenario import built_in


def test_worker_processes_change_nothing() -> None:
    plan = Plan(scenario=built_in("S4"), days=30, epoch_s=DAY_S, seed=3, paths=5)
    done: list[int] = []
    with process_pool(1) as over:
        alone = simulate(plan, over, done.append)
    with process_pool(2) as over:
        together = simulate(plan, over)
    assert together.outcomes == alone.outcomes
    assert together.hashes_sha256 == alone.hashes_sha256
    assert len({row.ide.state_hash for row in alone.outcomes}) == 5
    assert sum(done) == 5 * 30


def test_the_command_writes_figures_plots_and_one_page(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["simulate", "--scenario", "S1", "--years", "1", "--paths", "3", "--workers", "1"]
    result = CliRunner().invoke(main, [*arguments, "--seed", "7", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["ide"]["supplier_income_change_ppm"] == 0
    assert figures["legacy"]["supplier_income_change_ppm"] == -500_000
    assert figures["ide"]["psi_min"] > 1
    assert figures["monte_carlo"]["ide"]["psi_min_ppm"]["never"] == 0
    assert json.loads((out / "summary.json").read_text()) == figures
    with (out / "days.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 365
    with (out / "paths.csv").open() as file:
        assert [row["path"] for row in csv.DictReader(file)] == ["0", "1", "2"]
    for name in ("income", "health", "supply", "paths"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page  # it needs nothing from elsewhere


def test_a_scenario_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        'name = "own"\ntitle = "Half the price"\nyears = 1\n[market]\nprice_usd = "0.08"'
    )
    result = CliRunner().invoke(main, ["simulate", "--scenario", str(file)])
    assert result.exit_code == 0, result.output
    assert "own: Half the price" in result.output
    file.write_text("nonsense = 1")
    result = CliRunner().invoke(main, ["simulate", "--scenario", str(file)])
    assert "unknown field `nonsense`" in result.output
    result = CliRunner().invoke(main, ["simulate", "--scenario", "S9"])
    assert "neither a file nor one of S1" in result.output
