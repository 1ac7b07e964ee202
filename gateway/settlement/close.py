"""Closes one epoch, in a process of its own.

An epoch of many suppliers takes seconds of work and hundreds of MB, neither of which a gateway's
event loop should feel. Orders come as JSON on stdin, for the ledger's URL may hold a password; what
became of them goes to stdout. Killed at any point, the epoch is booked whole or not at all.
"""

from __future__ import annotations

import contextlib
import sys
from enum import StrEnum
from pathlib import Path

import msgspec

from ide.invariants import InvariantError
from ide.params import IdeParams
from ide.settlement import SettlementError, settle, stored_result
from metering.accounts import AccountError
from metering.backend import open_database, open_ledger
from metering.ledger import Ledger, LedgerError
from metering.money import IO_UNIT, MoneyError


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """`file` or `url` says where the ledger is. No other `epoch` is closed, whatever is next."""

    file: str | None
    url: str | None
    params: IdeParams
    io_price_nano_usd: int | None
    epoch: int
    now_ns: int


class Outcome(StrEnum):
    SETTLED = "settled"
    ALREADY_SETTLED = "already_settled"
    NOTHING_NEW = "nothing_new"
    AWAY = "away"
    """The ledger did not answer: worth trying again soon."""
    REFUSED = "refused"
    """Something is wrong that trying again does not mend."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    outcome: Outcome
    problem: str = ""


def closed(orders: Orders) -> Told:
    """What became of the epoch."""
    try:
        where: Path | str = Path(orders.file) if orders.file is not None else orders.url or ""
        with (
            contextlib.closing(open_ledger(where)) as ledger,
            contextlib.closing(open_database(where)) as database,
        ):
            settlement = settle(
                ledger,
                orders.params,
                io_price_nano_usd=orders.io_price_nano_usd,
                now_ns=orders.now_ns,
                epoch=orders.epoch,
                even_if_empty=_something_may_move(ledger, orders.io_price_nano_usd),
                database=database,
            )
        return Told(outcome=Outcome(settlement.status))
    except LedgerError as error:
        return Told(outcome=Outcome.AWAY, problem=str(error))
    except msgspec.DecodeError as error:
        problem = (
            f"the last epoch was closed by another version, which this one cannot read: {error}"
        )
        return Told(outcome=Outcome.REFUSED, problem=problem)
    except (AccountError, InvariantError, MoneyError, SettlementError) as error:
        return Told(outcome=Outcome.REFUSED, problem=str(error))


def _something_may_move(ledger: Ledger, price: int | None) -> bool:
    """An epoch without a charge still pays debts, and spends what is set aside for the burn."""
    last = ledger.latest_epoch()
    if last is None:
        return False
    state = stored_result(last).state
    buys = price is not None and state.buyback_due_nano_usd * IO_UNIT >= price
    return buys or bool(state.debts)


def main() -> None:
    told = closed(msgspec.json.decode(sys.stdin.buffer.read(), type=Orders))
    sys.stdout.buffer.write(msgspec.json.encode(told))


if __name__ == "__main__":
    main()
