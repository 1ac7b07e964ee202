"""`tollgate node time`: verified GPU time that no epoch has paid for yet."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from gateway.cli.home import (
    echo_json,
    echo_table,
    home_option,
    json_option,
    open_ledger,
    open_stores,
)
from gateway.home import Home
from gateway.settlement.params_file import params_of_file
from ide.outside import gpu_time_to
from ide.params import stipend_rates
from metering.gpu_time_store import GpuTimeStore
from metering.money import format_usd


@click.command("time")
@json_option
@home_option
def gpu_time(as_json: bool, home: Path) -> None:
    """How long suppliers' GPUs were found to serve since the last epoch, and their hourly rate.

    Example: tollgate node time
    """
    with open_ledger(home) as ledger, open_stores(home) as database:
        rows = GpuTimeStore(database).over(gpu_time_to(ledger.latest_epoch()))
    hourly = stipend_rates(params_of_file(Home(home).ide_file))
    if as_json:
        for row in rows:
            rate = hourly.get(row.gpu_class, 0)
            echo_json({**msgspec.structs.asdict(row), "nano_usd_per_gpu_hour": rate})
        return
    columns = ["supplier", "class", "GPU seconds ", "USD a GPU hour "]
    shown = [
        [row.supplier_id, row.gpu_class, f"{row.gpu_s:,}", format_usd(hourly.get(row.gpu_class, 0))]
        for row in rows
    ]
    echo_table("Verified since the last epoch", columns, shown)
