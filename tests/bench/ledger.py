"""The books under load: how fast charges are booked and made durable, how quickly books answer."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import uvloop

from metering.backend import open_ledger
from metering.poster import BATCH_ROWS

from . import ledger_file
from .ledger_pace import LAG_RATE, OPEN_CHARGES, booked, lag
from .ledger_posts import STREAMS, durable_posts
from .ledger_queries import ask
from .screen import Status

CHARGES_PER_S_MIN = 20_000
POSTGRES_CHARGES_PER_S_MIN = 5_000
POST_S_MAX = 0.002
QUERY_S_MAX = 0.020
LAG_S_MAX = 2.0
FORMS = (
    ("one transfer each", 0),
    (f"{OPEN_CHARGES:,} under way", OPEN_CHARGES),
    ("hold, then post", 2 * BATCH_ROWS),
)


class Size(msgspec.Struct, frozen=True):
    charges: int
    transfers: int
    postgres_charges: int
    postgres_transfers: int
    seconds: float
    repeats: int


FULL = Size(
    charges=200_000,
    transfers=10_000_000,
    postgres_charges=100_000,
    postgres_transfers=1_000_000,
    seconds=10,
    repeats=15,
)
QUICK = Size(
    charges=5_000,
    transfers=50_000,
    postgres_charges=2_000,
    postgres_transfers=10_000,
    seconds=1,
    repeats=3,
)


class Figure(msgspec.Struct, frozen=True):
    name: str
    value: str
    bar: str = ""
    met: bool = True


def measure(size: Size, folder: Path | None, status: Status) -> list[Figure]:
    """In folders of their own below this one, which should be on the disk that is meant."""
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-", dir=folder) as name:
        work = Path(name)
        found = [
            *_booking(size.charges, CHARGES_PER_S_MIN, work, status),
            _lag(size, work, status),
            *_posting(size, work, status),
            *_asking(work / "books.db", size.transfers, size.repeats, status),
        ]
    return [*found, *_on_postgres(size, folder, status)]


def _on_postgres(size: Size, folder: Path | None, status: Status) -> list[Figure]:
    """A server of its own, with fsync; its own user must reach the folder."""
    from postgres_process import PostgresProcess  # here: only few have psycopg

    with (
        tempfile.TemporaryDirectory(prefix="tollgate-bench-", dir=folder) as name,
        tempfile.TemporaryDirectory(prefix="tollgate-bench-", dir=folder) as spools,
        PostgresProcess(Path(name), fsync=True) as server,
    ):
        found = [
            *_booking(
                size.postgres_charges,
                POSTGRES_CHARGES_PER_S_MIN,
                Path(spools),
                status,
                server.fresh,
            ),
            *_asking(server.fresh(), size.postgres_transfers, size.repeats, status),
        ]
    return [msgspec.structs.replace(each, name=f"PostgreSQL: {each.name}") for each in found]


def _booking(
    charges: int,
    per_s_min: int,
    work: Path,
    status: Status,
    fresh: Callable[[], str | None] = lambda: None,
) -> Iterator[Figure]:
    """`fresh` makes a place on a server; in a file without."""
    for name, under_way in FORMS:
        status(f"charges booked, {name}")
        pace = booked(work / f"pace-{under_way}", charges, under_way=under_way, url=fresh())
        cpu_us = pace.cpu_s / pace.charges * 1e6
        yield Figure(
            f"charges booked, {name}",
            f"{pace.per_s:,.0f}/s ({cpu_us:.1f} µs CPU each)",
            f"at least {per_s_min:,}/s",
            pace.per_s >= per_s_min,
        )


def _lag(size: Size, work: Path, status: Status) -> Figure:
    status("lag")
    behind = lag(work / "lag", size.seconds)
    return Figure(
        f"ledger behind at {LAG_RATE:,} charges/s",
        f"at most {behind.seconds:.2f} s, {behind.rows:,} rows",
        f"at most {LAG_S_MAX:g} s",
        behind.seconds <= LAG_S_MAX,
    )


def _posting(size: Size, work: Path, status: Status) -> list[Figure]:
    found = []
    for think_s in (0.25, 0.0):
        what = f"{think_s:g} s long" if think_s else "without end to end pause"
        status(f"durable posts, {STREAMS} streams {what}")
        waits = uvloop.run(durable_posts(work / f"posts-{think_s}", size.seconds, think_s=think_s))
        found.append(
            Figure(
                f"durable post, {STREAMS} streams {what}",
                f"p50 {waits.p50_s * 1e3:.2f} ms, p99 {waits.p99_s * 1e3:.2f} ms"
                f" ({waits.per_s:,.0f}/s)",
                f"p50 at most {POST_S_MAX * 1e3:g} ms",
                waits.p50_s <= POST_S_MAX,
            )
        )
    return found


def _asking(where: Path | str, transfers: int, repeats: int, status: Status) -> list[Figure]:
    status(f"making books of {transfers:,} transfers")
    ledger_file.make(where, transfers)
    status("asking them")
    found = [
        Figure(
            f"{query.name}, of {transfers:,} transfers",
            f"p50 {query.p50_s * 1e3:.2f} ms",
            f"at most {QUERY_S_MAX * 1e3:g} ms",
            query.p50_s <= QUERY_S_MAX,
        )
        for query in ask(where, transfers, repeats)
    ]
    status("verifying them")
    with contextlib.closing(open_ledger(where)) as ledger:
        begun = time.perf_counter()
        verification = ledger.verify()
    per_s = verification.transfers / (time.perf_counter() - begun)
    text = f"{per_s:,.0f} rows/s" if verification.ok else str(verification.problem)
    return [*found, Figure("verification", text, "right", verification.ok)]
