"""Spools without a worker: whatever is in them reaches the ledger, now or later."""

from __future__ import annotations

import contextlib
import time

import pytest
from books import closed, deposit, opened, progressed, used

from gateway.home import Home
from gateway.leftovers import Leftovers
from metering.charge import ChargeOutcome
from metering.ledger import LedgerError
from metering.spool import Spool
from metering.spool_file import SpoolError
from metering.sqlite_ledger import SqliteLedger

DEADLINE_S = 10


def absent(home: Home) -> list[Spool]:
    return [Spool(path) for path in home.absent_spool_folders(1)]


class Away(SqliteLedger):
    away = False

    def post(self, writer, groups, watermark=None):
        if self.away:
            raise LedgerError("connection refused")
        return super().post(writer, groups, watermark)


@pytest.fixture
def ledger(tmp_path):
    with contextlib.closing(Away(tmp_path / "ledger.db")) as made:
        made.post("cli", [deposit("alice", 10**9)])
        yield made


def leave(home: Home, worker: int) -> None:
    """A spool with one charge that ended and one under way."""
    spool = Spool(home.spool_folder(worker))
    ended, open_ = f"ended-{worker}", f"open-{worker}"
    spool.commit([opened(ended), closed(ended, used(5)), opened(open_), progressed(open_, 2)])
    spool.close()


def test_the_first_worker_has_the_spool_of_a_gateway_alone(tmp_path):
    home = Home(tmp_path)
    assert home.spool_folder(0).name == "spool"
    for worker in (0, 1, 2, 10):
        leave(home, worker)
    (tmp_path / "spool-01").touch()
    names = [[path.name for path in home.absent_spool_folders(count)] for count in (1, 2, 11)]
    assert names == [["spool-1", "spool-2", "spool-10"], ["spool-2", "spool-10"], []]


def test_a_spool_of_a_development_version_is_not_passed_over(tmp_path, ledger):
    home = Home(tmp_path)
    (tmp_path / "spool-3.db").touch()
    with pytest.raises(SpoolError, match=r"spool-3\.db was written by a development version"):
        Leftovers(absent(home), ledger)


def test_all_is_booked_once(tmp_path, ledger):
    home = Home(tmp_path)
    for worker in (1, 2):
        leave(home, worker)
    for _ in range(2):
        leftovers = Leftovers(absent(home), ledger)
        leftovers.book(now_ns=1, within_s=DEADLINE_S)
        for worker in (1, 2):
            Spool(home.spool_folder(worker)).close()  # nobody holds it any more
        leftovers.close()
    outcomes = {charge.charge_id: charge.outcome for charge in ledger.charges()}
    assert outcomes == {
        "ended-1": ChargeOutcome.COMPLETED,
        "ended-2": ChargeOutcome.COMPLETED,
        "open-1": ChargeOutcome.GATEWAY_CRASH,
        "open-2": ChargeOutcome.GATEWAY_CRASH,
    }
    assert ledger.verify().ok
    assert not any(line.balance.debits_pending for line in ledger.trial_balance())


def test_while_the_ledger_is_away_it_waits_and_holds_up_nobody(tmp_path, ledger):
    home = Home(tmp_path)
    leave(home, 1)
    leftovers = Leftovers(absent(home), ledger)
    ledger.away = True
    leftovers.book(now_ns=1, within_s=0.05)
    assert not list(ledger.charges())
    ledger.away = False
    deadline = time.monotonic() + DEADLINE_S
    while len(list(ledger.charges())) < 2:
        assert time.monotonic() < deadline
    leftovers.close()


def test_a_worker_that_lives_on_is_named(tmp_path, ledger):
    home = Home(tmp_path)
    with (
        contextlib.closing(Spool(home.spool_folder(1))),
        pytest.raises(SpoolError, match=r"spool-1 is in use by process"),
    ):
        Leftovers(absent(home), ledger)
