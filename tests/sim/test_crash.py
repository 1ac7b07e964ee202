"""A gateway that dies at any write: from a seed, a world; after every death, books that are exact.

All files of the world share a fuse that burns through after some number of steps: statements to
SQLite, and whatever the spool does to a file or its folder. The step it happens at takes effect, or
does not, or does so in memory alone; from then on nothing can be read or written. Then either the
process was killed and the kernel's memory is kept, or the power was cut: of the spool's files there
is what was synced, and any parts of the rest. The gateway is started again, and may die again.

The auditor knows only what the spool acknowledged, and predicts every charge from that.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from books import PRICE, closed, opened, progressed, single, used
from memory_folder import MemoryFolder, Moment

from metering import poster as poster_module
from metering import spool_log, sqlite_file
from metering.budget import Budget
from metering.charge import ChargeOutcome, ChargeProgress, CloseCharge, OpenCharge, Row
from metering.ledger import LedgerError
from metering.poster import Poster
from metering.posting import cost_of
from metering.spool import Spool
from metering.spool_file import SpoolError
from metering.sqlite_ledger import SqliteLedger
from metering.usage import Usage

WORLDS = 300
DEPOSIT = 40_000
RICH, POOR = "rich", "poor"


class Fuse:
    """Counts steps; burns through at one of them."""

    def __init__(self) -> None:
        self.arm(None, Moment.BEFORE)

    def arm(self, steps: int | None, moment: Moment, spares_ledger: bool = False) -> None:
        self.left = steps
        self.moment = moment
        self.spared = ("open", "read", "statement") if spares_ledger else ("open", "read")
        self.burnt = False

    def step(self, name: str) -> Moment | None:
        """Whether and when this step fails; what changes nothing fails only for want of power."""
        if self.burnt:
            return Moment.BEFORE
        if self.left is None or name in self.spared:
            return None
        self.left -= 1
        self.burnt = self.left < 0
        return self.moment if self.burnt else None


FUSE = Fuse()


class FusedConnection(sqlite3.Connection):
    """No fsync: of the ledger the process is what dies here, the disk stays."""

    def execute(self, sql, *args):
        if sql == "PRAGMA synchronous = FULL":
            sql = "PRAGMA synchronous = OFF"
        return self._fused(lambda: super(FusedConnection, self).execute(sql, *args))

    def executemany(self, *args):
        return self._fused(lambda: super(FusedConnection, self).executemany(*args))

    def _fused(self, execute):
        fails = FUSE.step("statement")
        if fails is Moment.BEFORE:
            raise sqlite3.OperationalError("power cut")
        done = execute()
        if fails:
            raise sqlite3.OperationalError("power cut")
        return done


def connect_fused(path):
    db = sqlite3.connect(
        path, timeout=1, isolation_level=None, check_same_thread=False, factory=FusedConnection
    )
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        db.close()
        raise
    return db


@pytest.fixture(scope="module")
def new_ledger(tmp_path_factory):
    """An empty ledger file to copy: migrating anew would be most of the time."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    SqliteLedger(path).close()
    return path


class World:
    """One gateway, its files, and what the outside was told."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.fate = random.Random(seed)
        self.folder = folder
        self.spool_files = MemoryFolder(FUSE.step)
        self.names = (f"c{i}" for i in itertools.count())
        self.acknowledged: list[Row] = []
        self.unsure: list[Row] = []
        self.open: dict[str, OpenCharge] = {}
        self.withdrawn = 0
        self.deaths = 0

    # -- one life of the gateway ------------------------------------------------------------------

    def live_until(self, steps: int, moment: Moment, *, spares_ledger: bool = False) -> None:
        """Start, work, and die when the fuse burns."""
        FUSE.arm(steps, moment, spares_ledger)
        self.live(last=False)

    def live_on(self) -> None:
        """Start, work, and finish everything."""
        FUSE.arm(None, Moment.BEFORE)
        self.live(last=True)

    def live(self, last: bool) -> None:
        opened_files: list[SqliteLedger | Spool] = []
        try:
            ledger = SqliteLedger(self.folder / "ledger.db")
            opened_files.append(ledger)
            spool = Spool(self.folder, folder=self.spool_files)
            opened_files.append(spool)
            self.work(ledger, spool, last)
        except (LedgerError, SpoolError, sqlite3.OperationalError, OSError):
            assert FUSE.burnt, "an error without a power cut"
        finally:
            for file in reversed(opened_files):
                file.close()
        self.deaths += FUSE.burnt
        if self.fate.random() < 0.6:
            self.spool_files.cut_power(self.fate)

    def work(self, ledger: SqliteLedger, spool: Spool, last: bool) -> None:
        spool.recover(now_ns=99)
        self.open = {}
        spool.start(lambda call: call())
        budget = Budget()
        poster = Poster(spool, ledger, budget.update)
        poster.resume()
        poster.catch_up()
        for _ in range(self.rng.randrange(25)):
            action = self.rng.random()
            if action < 0.7:
                self.write(spool)
            elif action < 0.95:
                poster.catch_up()
            else:
                self.withdraw(ledger)
        if last:
            self.close_all(spool)
            poster.catch_up()
        if last or self.rng.random() < 0.3:
            poster.stop()

    def write(self, spool: Spool) -> None:
        rows = [self.next_row() for _ in range(self.rng.randrange(1, 5))]
        self.unsure += rows
        spool.commit(rows)
        del self.unsure[-len(rows) :]
        self.acknowledged += rows

    def next_row(self) -> Row:
        if not self.open or self.rng.random() < 0.4:
            row = opened(
                next(self.names),
                account=self.rng.choice((RICH, POOR)),
                hold=self.rng.randrange(2000, 12_000),
            )
            self.open[row.charge_id] = row
            return row
        name = self.rng.choice(list(self.open))
        usage = self.some_usage()
        if self.rng.random() < 0.5:
            return progressed(name, usage.completion_tokens)
        del self.open[name]
        return closed(name, usage if self.rng.random() < 0.8 else None)

    def some_usage(self) -> Usage:
        return used(self.rng.randrange(1, 20))

    def close_all(self, spool: Spool) -> None:
        rows: list[Row] = [closed(name, self.some_usage()) for name in self.open]
        if rows:
            spool.commit(rows)
            self.acknowledged += rows

    def withdraw(self, ledger: SqliteLedger) -> None:
        """An operator takes money away, perhaps from under a hold that is not booked yet."""
        taken = single(f"out:{self.rng.random()}", f"usd:customer:{POOR}", "usd:external", 3000)
        self.withdrawn += ledger.post("cli", [taken])[0].booked * 3000

    # -- the auditor ------------------------------------------------------------------------------

    def audit(self) -> None:
        ledger = SqliteLedger(self.folder / "ledger.db")
        found = ledger.verify()
        assert found.ok, found.problem
        records = {record.charge_id: record for record in ledger.charges()}
        assert len(records) == len(list(ledger.charges())), "a charge was booked twice"
        sure, unsure = History(self.acknowledged), History(self.unsure)
        assert sure.opens.keys() <= records.keys(), "a charge is lost"
        assert records.keys() <= sure.opens.keys() | unsure.opens.keys(), "a charge from nowhere"
        for name, record in records.items():
            possible = predicted(name, sure, unsure)
            found_close = (record.outcome, record.completion_tokens, record.cost_nano_usd)
            assert found_close in possible, f"{name}: {found_close} is none of {possible}"
        self.audit_balances(ledger, records)
        ledger.close()

    def audit_balances(self, ledger, records) -> None:
        paid = {RICH: 0, POOR: 0}
        for record in records.values():
            paid[record.account] += record.charged_nano_usd
        served = sum(record.cost_nano_usd for record in records.values())
        poor = ledger.balance(f"usd:customer:{POOR}")
        assert ledger.balance(f"usd:customer:{RICH}").posted == 100 * DEPOSIT - paid[RICH]
        assert poor.debits_posted - paid[POOR] in range(0, poor.credits_posted + 1, 3000)
        assert ledger.balance("usd:fee_vault").posted == served
        assert ledger.balance("usd:shortfall").debits_posted == served - sum(paid.values())
        assert not any(line.balance.debits_pending for line in ledger.trial_balance())


class History:
    """Rows by charge."""

    def __init__(self, rows: list[Row]) -> None:
        self.opens: dict[str, OpenCharge] = {}
        self.progress: dict[str, list[ChargeProgress]] = {}
        self.closes: dict[str, CloseCharge] = {}
        for row in rows:
            if isinstance(row, OpenCharge):
                self.opens[row.charge_id] = row
            elif isinstance(row, ChargeProgress):
                self.progress.setdefault(row.charge_id, []).append(row)
            else:
                self.closes[row.charge_id] = row


def predicted(name: str, sure: History, unsure: History) -> set[tuple[ChargeOutcome, int, int]]:
    """How the charge may have ended: exactly one way, unless it died in the middle of a write."""
    opening = sure.opens.get(name) or unsure.opens[name]
    if name in sure.closes:
        close = sure.closes[name]
        tokens = close.usage.completion_tokens if close.usage else 0
        return {(close.outcome, tokens, cost_of(opening, close))}
    ends = {ending(opening, sure.progress.get(name, [])[-1:])}
    ends |= {ending(opening, [row]) for row in unsure.progress.get(name, [])}
    if name in unsure.closes:
        close = unsure.closes[name]
        tokens = close.usage.completion_tokens if close.usage else 0
        ends.add((close.outcome, tokens, cost_of(opening, close)))
    return ends


def ending(opening: OpenCharge, last: list[ChargeProgress]) -> tuple[ChargeOutcome, int, int]:
    if not last:
        return ChargeOutcome.GATEWAY_CRASH, 0, 0
    tokens = last[0].usage.completion_tokens
    cost = 10 * PRICE.prompt_nano_usd + tokens * PRICE.completion_nano_usd
    return ChargeOutcome.GATEWAY_CRASH, tokens, cost


@pytest.fixture
def fused(monkeypatch):
    monkeypatch.setattr(sqlite_file, "connect", connect_fused)
    monkeypatch.setattr(spool_log, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(poster_module, "GATHER_S", 0)
    monkeypatch.setattr(poster_module, "FORGET_ROWS", 5)


def play(folder: Path, new_ledger: Path, seed: int) -> World:
    folder.mkdir()
    shutil.copy(new_ledger, folder / "ledger.db")
    world = World(folder, seed)
    ledger = SqliteLedger(folder / "ledger.db")
    for account, amount in ((RICH, 100 * DEPOSIT), (POOR, DEPOSIT)):
        ledger.post(
            "cli", [single(f"in:{account}", "usd:external", f"usd:customer:{account}", amount)]
        )
    ledger.close()
    for _ in range(world.rng.randrange(2, 6)):
        spares_ledger = world.rng.random() < 0.5
        steps = world.rng.randrange(1, 60 if spares_ledger else 120)
        world.live_until(steps, world.rng.choice(list(Moment)), spares_ledger=spares_ledger)
    world.live_on()
    world.audit()
    return world


def test_the_books_are_exact_whenever_the_gateway_dies(fused, new_ledger, tmp_path):
    deaths = charges = 0
    for seed in range(WORLDS):
        folder = tmp_path / str(seed)
        try:
            world = play(folder, new_ledger, seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        deaths += world.deaths
        charges += len(world.acknowledged)
        shutil.rmtree(folder)
    assert deaths > WORLDS  # or else the fuse is too long and this proves nothing
    assert charges > 10 * WORLDS


def test_every_single_write_of_one_life_is_a_survivable_moment_to_die(fused, new_ledger, tmp_path):
    """The same life again and again, ending one step later each time."""
    for step in range(250):
        for moment, fate in itertools.product(Moment, range(3)):
            world = World(tmp_path / f"{step}-{moment}-{fate}", seed=11)
            world.fate = random.Random(1000 * step + fate)
            world.folder.mkdir()
            shutil.copy(new_ledger, world.folder / "ledger.db")
            ledger = SqliteLedger(world.folder / "ledger.db")
            ledger.post(
                "cli", [single("in", "usd:external", f"usd:customer:{RICH}", 100 * DEPOSIT)]
            )
            ledger.close()
            world.live_until(step, moment)
            died = world.deaths
            world.live_on()
            world.audit()
            shutil.rmtree(world.folder)
        if not died:
            assert step > 50
            return
    raise AssertionError("the life is longer than the test: raise its bound")
