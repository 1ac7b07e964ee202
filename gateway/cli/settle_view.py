"""How `tollgate settle` shows epochs: tables for people, objects for programs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import click
import msgspec

from gateway.cli.home import echo_table
from gateway.config_error import ConfigError
from ide.commitment import head_of
from ide.explain import Line, explain, payout_lines, supply_lines
from ide.invariants import Books, InvariantError, supply_io
from ide.journal import books_of, posted_balances
from ide.params import Parameter, ParamsError
from ide.replay import Replay
from ide.settlement import (
    Settlement,
    SettlementError,
    SettlementStatus,
    stored_params,
    stored_result,
)
from ide.state import IdeState
from metering.accounts import AccountError
from metering.epoch_seal import EpochSeal
from metering.ledger import EpochRow, Ledger
from metering.money import MoneyError

_NAMED = (AccountError, ConfigError, InvariantError, MoneyError, ParamsError, SettlementError)


@contextlib.contextmanager
def named_errors() -> Iterator[None]:
    """What can go wrong over an epoch ends the command with one line."""
    try:
        yield
    except _NAMED as error:
        raise click.ClickException(str(error)) from error


def epoch_or_last(ledger: Ledger, epoch: int | None) -> EpochRow:
    """Raises SettlementError if there is no such epoch."""
    row = ledger.latest_epoch() if epoch is None else ledger.epoch(epoch)
    if row is None:
        which = "no epoch is" if epoch is None else f"epoch {epoch} is not"
        raise SettlementError(f"{which} settled yet: close one with tollgate settle run")
    return row


def settlement_line(settlement: Settlement) -> str:
    """What became of `settle run`, in a sentence."""
    row = settlement.row
    if row is None:
        return "Nothing to settle: no charge was ever made (--even-if-empty closes an empty epoch)."
    if settlement.status is SettlementStatus.NOTHING_NEW:
        return f"Nothing to settle since epoch {row.epoch}: no charges, nothing changed."
    if settlement.status is SettlementStatus.ALREADY_SETTLED:
        return f"Epoch {row.epoch} was settled before: nothing changed."
    return f"Epoch {row.epoch} is settled."


def settlement_json(settlement: Settlement, ledger: Ledger) -> dict[str, Any]:
    shown = epoch_json(settlement.row, ledger) if settlement.row is not None else {"epoch": None}
    return {"status": settlement.status, **shown}


def epoch_json(row: EpochRow, ledger: Ledger) -> dict[str, Any]:
    result, params = stored_result(row), stored_params(row)
    return {
        "epoch": row.epoch,
        "from_seq": row.from_seq,
        "to_seq": row.to_seq,
        "created_ns": row.created_ns,
        "hash": row.hash,
        "seal": _seal_json(row.epoch, ledger),
        "report": result.report,
        "state": result.state,
        "params": params,
        "explanation": [line._asdict() for line in explain(result, params)],
        "supply": supply_json(result.state, books(ledger)),
    }


def replay_json(result: Replay) -> dict[str, Any]:
    replayed: dict[str, Any] = msgspec.to_builtins(result)
    return replayed


def print_epoch(row: EpochRow, ledger: Ledger) -> None:
    result, params = stored_result(row), stored_params(row)
    title = f"Epoch {row.epoch}: ledger rows {row.from_seq + 1} to {row.to_seq}"
    if row.from_seq == row.to_seq:
        title = f"Epoch {row.epoch}: no ledger rows"
    print_lines(f"{title}, parameters version {params.version}", explain(result, params))
    if result.report.payouts:
        _print_table(
            "Payouts: owed = worth of IO + USD + rounding + unpaid",
            ["supplier", "owed ", "IO ", "USD ", "rounding ", "unpaid "],
            payout_lines(result.report),
        )
    print_supply(row.epoch, result.state, books(ledger))
    click.echo(f"state hash {row.hash}")
    if seal := seal_of(row.epoch, ledger):
        click.echo(f"payouts root {seal.root}\nhead hash {seal.hash}")


def print_params(table: list[Parameter]) -> None:
    _print_table(
        "IDE parameters: published by io.net, inferred from it, or ours",
        ["parameter", "value ", "mark", "why"],
        table,
    )


def print_supply(epoch: int, state: IdeState, books: Books) -> None:
    _print_table(
        "IO supply identity: the parts add up to the cap",
        ["IO", f"after epoch {epoch} ", "in the ledger now ", "which is"],
        supply_lines(state, books),
    )


def print_lines(title: str, lines: list[Line]) -> None:
    _print_table(title, ["figure", "value ", "how it came about"], lines)


def _print_table(title: str, columns: list[str], rows: Iterable[tuple[str, ...]]) -> None:
    echo_table(title, columns, [list(row) for row in rows])
    click.echo()


def books(ledger: Ledger) -> Books:
    return books_of(posted_balances(ledger.trial_balance()))


def seal_of(epoch: int, ledger: Ledger) -> EpochSeal | None:
    """None for an epoch that an early version closed."""
    found = ledger.seals(before=epoch + 1)
    return found[0] if found and found[0].epoch == epoch else None


def _seal_json(epoch: int, ledger: Ledger) -> dict[str, Any] | None:
    seal = seal_of(epoch, ledger)
    return None if seal is None else {"root": seal.root, "hash": seal.hash, "head": head_of(seal)}


def supply_json(state: IdeState, books: Books) -> dict[str, Any]:
    """The identity as figures: four that must be one."""
    figures = {
        "cap_io": state.cap_io,
        "sum_io": supply_io(state),
        "ledger_issued_io": books.issued_io,
        "ledger_sum_io": books.supply_io,
    }
    return {**figures, "ok": len(set(figures.values())) == 1}
