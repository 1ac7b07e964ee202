"""How fast charges come from the spool into the ledger, and how far behind the ledger is."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from metering.backend import open_ledger
from metering.budget import BalanceUpdate
from metering.charge import ChargeOutcome, CloseCharge, OpenCharge, Row
from metering.ledger import Ledger
from metering.poster import Poster
from metering.posting import deposit_group
from metering.prices import ModelPrice
from metering.spool import Spool
from metering.usage import Usage, UsageSource

ACCOUNTS = 100
OPEN_CHARGES = 2000
"""Under way at once: those that take a tenth of a second, at 20,000 a second."""
LAG_RATE = 2000
"""Charges a second that come in while the lag is looked at."""
DRAIN_S = 600

_PRICE = ModelPrice(
    version="v1", prompt_nano_usd=200, cached_prompt_nano_usd=50, completion_nano_usd=600
)


class Pace(msgspec.Struct, frozen=True):
    charges: int
    wall_s: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.charges / self.wall_s


def booked(folder: Path, charges: int, *, under_way: int, url: str | None = None) -> Pace:
    """A spool full of charges, so many of them under way at once, drained into a file, or into
    PostgreSQL. None under way: each ends at once and is a single transfer. More than the poster
    books in one transaction: each is a hold and its post.
    """
    with _books(folder, url) as (ledger, spool, poster):
        rows = _rows(charges, under_way)
        for start in range(0, len(rows), 1024):
            spool.commit(rows[start : start + 1024])
        spool.start(lambda call: call())
        wall, cpu = time.perf_counter(), time.process_time()
        poster.start()
        assert poster.drain(DRAIN_S), poster.failed
        pace = Pace(charges, time.perf_counter() - wall, time.process_time() - cpu)
        _assert_books(ledger, charges)
    return pace


class Lag(msgspec.Struct, frozen=True):
    seconds: float
    rows: int


def lag(folder: Path, seconds: float) -> Lag:
    """The most that the ledger was behind while charges came in at LAG_RATE."""
    with _books(folder) as (ledger, spool, poster):
        spool.start(lambda call: call())
        poster.start()
        most_s, most_rows = 0.0, 0
        rows = _rows(int(LAG_RATE * seconds), OPEN_CHARGES)
        begun, done = time.monotonic(), 0
        while done < len(rows):
            due = int((time.monotonic() - begun) * LAG_RATE * 2)
            for row in rows[done:due]:
                spool.append(row, lambda error: None)
            done = max(done, due)
            most_s, most_rows = max(most_s, spool.lag_seconds), max(most_rows, spool.backlog)
            time.sleep(0.01)
        while spool.backlog:
            time.sleep(0.001)
        _assert_books(ledger, len(rows) // 2)
    return Lag(most_s, most_rows)


@contextlib.contextmanager
def _books(folder: Path, url: str | None = None) -> Iterator[tuple[Ledger, Spool, Poster]]:
    folder.mkdir()
    ledger = open_ledger(url or folder / "ledger.db")
    ledger.post("cli", [deposit_group(f"{i}", f"a{i}", 10**15) for i in range(ACCOUNTS)])
    spool = Spool(folder / "spool")
    poster = Poster(spool, ledger, _told)
    try:
        yield ledger, spool, poster
    finally:
        poster.stop()
        spool.close()
        ledger.close()


def _told(updates: list[BalanceUpdate]) -> None:
    """Where a budget would listen."""


def _rows(charges: int, open_at_once: int) -> list[Row]:
    rng = random.Random(charges)
    names = [f"{i:012x}{rng.getrandbits(80):020x}" for i in range(charges)]
    rows: list[Row] = []
    for i in range(charges + open_at_once):
        if i < charges:
            rows.append(open_of(names[i], i))
        if i >= open_at_once:
            rows.append(close_of(names[i - open_at_once]))
    return rows


def open_of(charge_id: str, i: int) -> OpenCharge:
    return OpenCharge(
        charge_id=charge_id,
        request_id=f"req_{charge_id}",
        account=f"a{i % ACCOUNTS}",
        key_id=f"key_{i % (2 * ACCOUNTS)}",
        model="mock",
        price=_PRICE,
        hold_nano_usd=300_000,
        prompt_tokens_estimate=20,
        created_ns=time.time_ns(),
    )


def close_of(charge_id: str) -> CloseCharge:
    return CloseCharge(
        charge_id=charge_id,
        outcome=ChargeOutcome.COMPLETED,
        node_id="node-1",
        supplier_id="supplier-1",
        usage=Usage(prompt_tokens=20, cached_tokens=0, completion_tokens=140),
        usage_source=UsageSource.NODE,
        closed_ns=time.time_ns(),
        ttft_ns=5_000_000,
    )


def _assert_books(ledger: Ledger, charges: int) -> None:
    found = ledger.verify()
    assert found.ok, found.problem
    assert found.charges == charges, f"{found.charges} of {charges} charges were booked"
