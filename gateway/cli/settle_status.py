"""`tollgate settle status`: what is settled, what waits, who closes epochs, and how it stands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from gateway.cli import settle_view as view
from gateway.cli.home import echo_json, home_option, json_option, open_ledger, open_stores
from gateway.home import Home
from gateway.settlement.params_file import params_of_file
from gateway.settlement.settler import LEASE
from ide.closing_time import next_epoch
from ide.explain import Line, io, runway, usd
from ide.outside import gpu_time_to
from ide.params import IdeParams
from ide.settlement import stored_result, unsettled_span, usage_over
from ide.stake_book import final_slashes
from metering.database import Database
from metering.gpu_time_store import GpuTimeStore
from metering.lease import NOBODY, LeaseRow, lease_row
from metering.ledger import EpochRow, Ledger
from metering.money import PPM
from metering.month import time_text

_SECOND_NS = 1_000_000_000


@click.command("status", epilog="Example: tollgate settle status --json")
@home_option
@json_option
def status(home: Path, as_json: bool) -> None:
    """The last epoch and the health it left, what waits for the next one, and who closes it."""
    with view.named_errors(), open_ledger(home) as ledger, open_stores(home) as database:
        params = params_of_file(Home(home).ide_file)
        now_ns = time.time_ns()
        facts = _facts(ledger, params, lease_row(database, LEASE), now_ns)
        facts |= _waiting(database, ledger.latest_epoch(), now_ns)
        if as_json:
            echo_json(facts)
            return
        view.print_lines("Settlement", _lines(facts))
        last = ledger.latest_epoch()
        if last is not None:
            view.print_supply(last.epoch, stored_result(last).state, view.books(ledger))


def _facts(
    ledger: Ledger, params: IdeParams, lease: LeaseRow | None, now_ns: int
) -> dict[str, Any]:
    last, following = ledger.latest_epoch(), next_epoch(ledger)
    span = unsettled_span(ledger, last)
    usage = usage_over(ledger, span)
    result = stored_result(last) if last else None
    state, report = (result.state, result.report) if result else (None, None)
    books = view.books(ledger)
    led = lease is not None and lease.holder != NOBODY
    return {
        "last_epoch": last.epoch if last else None,
        "params_version": report.params_version if report else None,
        "to_seq": span[0],
        "last_seq": span[1],
        "lag_rows": span[1] - span[0],
        "lag_s": (now_ns - following.began_ns) // _SECOND_NS if following else 0,
        "next_close_ns": following.closes_ns(params.epoch_s) if following else None,
        "leader": lease.holder if lease and led else None,
        "leader_since_ns": lease.taken_ns if lease and led else None,
        "leader_heard_ns": lease.beat_ns if lease and led else None,
        "unsettled_charges": sum(row.charges for row in usage),
        "unsettled_cost_nano_usd": sum(row.cost_nano_usd for row in usage),
        "unsettled_revenue_nano_usd": sum(row.charged_nano_usd for row in usage),
        "debt_nano_usd": sum(debt.nano_usd for debt in state.debts) if state else 0,
        "buyback_due_nano_usd": state.buyback_due_nano_usd if state else 0,
        "fee_vault_nano_usd": books.fee_vault_nano_usd,
        "psi_raw_ppm": report.psi_raw_ppm if report else None,
        "psi_smoothed_ppm": report.psi_smoothed_ppm if report else None,
        "runway_months": report.runway_months if report else None,
        "alarms": report.alarms if report else (),
        "proposal": report.proposal if report else None,
        "books": books,
        "supply": view.supply_json(state, books) if state else None,
    }


def _waiting(database: Database, last: EpochRow | None, now_ns: int) -> dict[str, Any]:
    """What the next epoch takes beside charges."""
    times = GpuTimeStore(database).over(gpu_time_to(last))
    return {
        "unsettled_gpu_s": sum(row.gpu_s for row in times),
        "final_slashes_io": sum(row.io for row in final_slashes(database, now_ns)),
    }


def _lines(facts: dict[str, Any]) -> list[Line]:
    lines = [
        Line("last epoch", str(facts["last_epoch"] or "none"), f"ledger rows to {facts['to_seq']}"),
        Line("since then", f"{facts['lag_s']:,} s", f"{facts['lag_rows']:,} ledger rows"),
        _next_line(facts),
        _leader_line(facts),
        Line("unsettled charges", f"{facts['unsettled_charges']:,}", "since then"),
        Line("their list cost", usd(facts["unsettled_cost_nano_usd"]), "tokens x price"),
        Line("paid by customers", usd(facts["unsettled_revenue_nano_usd"]), "the next revenue"),
        Line("verified GPU time", f"{facts['unsettled_gpu_s']:,} s", "of all GPUs, since then"),
        Line("slashed for good", io(facts["final_slashes_io"]), "the next epoch burns it"),
        Line("Fee Vault", usd(facts["fee_vault_nano_usd"]), "in the ledger now"),
        Line("buyback due", usd(facts["buyback_due_nano_usd"]), "part of it, waits for a price"),
        Line("debt", usd(facts["debt_nano_usd"]), "owed to suppliers by earlier epochs"),
    ]
    if facts["last_epoch"] is not None:
        lines += _health_lines(facts)
    return lines


def _next_line(facts: dict[str, Any]) -> Line:
    if facts["next_close_ns"] is None:
        return Line("next close", "none", "the ledger is empty")
    return Line("next close", time_text(facts["next_close_ns"]), "UTC, where epochs close alone")


def _leader_line(facts: dict[str, Any]) -> Line:
    if facts["leader"] is None:
        return Line("leader", "none", "no gateway closes epochs: use tollgate settle run")
    heard = time_text(facts["leader_heard_ns"])
    return Line("leader", facts["leader"], f"the gateway that closes epochs, heard of {heard} UTC")


def _health_lines(facts: dict[str, Any]) -> list[Line]:
    smoothed, raw = _ratio(facts["psi_smoothed_ppm"]), _ratio(facts["psi_raw_ppm"])
    lines = [
        Line("psi", smoothed, f"smoothed; the last epoch's own is {raw}"),
        Line(
            "runway",
            runway(facts["runway_months"]),
            "until something stays unpaid, if nothing changes",
        ),
        Line("alarms", ", ".join(facts["alarms"]) or "none", "of the last epoch"),
    ]
    if facts["proposal"] is not None:
        lines.append(
            Line("proposal", "made", f"tollgate settle show --epoch {facts['last_epoch']}")
        )
    return lines


def _ratio(ppm: int | None) -> str:
    return "none" if ppm is None else f"{ppm // PPM}.{ppm % PPM:06d}"
