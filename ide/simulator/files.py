"""A run as files: every day of the first path as CSV, the summaries as JSON. Edge."""

from __future__ import annotations

import csv
from pathlib import Path as FilePath
from typing import Any

import msgspec

from ide.params import parameter_table
from ide.simulator.path import IdeDay, LegacyDay
from ide.simulator.run import Run
from ide.simulator.summary import Summary
from metering.money import PPM


def run_json(run: Run) -> dict[str, Any]:
    """The figures of a run, as `--json` prints and summary.json keeps them."""
    plan = run.plan
    return {
        "scenario": plan.scenario.name,
        "title": plan.scenario.title,
        "days": plan.days,
        "epoch_s": plan.epoch_s,
        "seed": plan.seed,
        "paths": plan.paths,
        "ide": _engine(run.ide),
        "legacy": _engine(run.legacy),
        "monte_carlo": {
            "ide": msgspec.to_builtins(run.ide_spread),
            "legacy": msgspec.to_builtins(run.legacy_spread),
        }
        if plan.paths > 1
        else None,
        "hashes_sha256": run.hashes_sha256,
        "units": {"io": "base units of 1e-8 IO", "nano_usd": "1e-9 USD", "ppm": "millionths"},
    }


def _engine(summary: Summary) -> dict[str, Any]:
    ppm = summary.psi_min_ppm
    figures: dict[str, Any] = msgspec.to_builtins(summary)
    return figures | {"psi_min": None if ppm is None else ppm / PPM}


def write_files(run: Run, folder: FilePath) -> list[FilePath]:
    """days.csv, summary.json, scenario.json, parameters.csv, and paths.csv for a Monte Carlo."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [_days(run, folder / "days.csv")]
    for name, content in (
        ("summary.json", run_json(run)),
        ("scenario.json", msgspec.to_builtins(run.plan.scenario)),
    ):
        file = folder / name
        file.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
        written.append(file)
    parameters = folder / "parameters.csv"
    rows = [list(row) for row in parameter_table(run.plan.scenario.params)]
    _csv(parameters, ["name", "value", "mark", "reason"], rows)
    written.append(parameters)
    if run.plan.paths > 1:
        paths = folder / "paths.csv"
        names = list(run.ide.__struct_fields__)
        _csv(
            paths,
            ["path", *names],
            [
                [number, *msgspec.structs.astuple(row.ide)]
                for number, row in enumerate(run.outcomes)
            ],
        )
        written.append(paths)
    return written


def _days(run: Run, file: FilePath) -> FilePath:
    head = [f"ide_{name}" for name in IdeDay.__struct_fields__]
    head += [f"legacy_{name}" for name in LegacyDay.__struct_fields__]
    rows = [
        [number, *msgspec.structs.astuple(ide), *msgspec.structs.astuple(legacy)]
        for number, (ide, legacy) in enumerate(
            zip(run.central.ide, run.central.legacy, strict=True)
        )
    ]
    _csv(file, ["day", *head], rows)
    return file


def _csv(file: FilePath, head: list[str], rows: list[list[Any]]) -> None:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(head)
        writer.writerows(rows)
