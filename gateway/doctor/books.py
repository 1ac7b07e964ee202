"""The ledger: its server, its schema, its newest rows; and what waits in spools for it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from gateway.doctor.clock import books_from_the_future, compare
from gateway.doctor.patient import Patient
from gateway.doctor.processes import holder
from gateway.doctor.remark import Remark, fault, note, ok, warning
from metering.backend import open_ledger, open_snapshot
from metering.ledger import LedgerError
from metering.quick_verify import quick_verify
from metering.spool_file import SpoolError
from metering.spool_reader import SpoolReader
from metering.sqlite_file import schema_versions

SERVER, BOOKS, SPOOL = "postgresql", "ledger", "spool"
VERSION_MIN = 130_000
MUCH_PARTS = 10
"""A spool that is fuller than such a part of its bound is worth a look; nine of them, urgent."""


def examine(patient: Patient) -> list[Remark]:
    where = patient.where
    if where is None:
        return []
    if isinstance(where, Path) and not where.exists():
        said = "is not there yet: the first start makes it"
        return [note(BOOKS, str(where), said), *_spools(patient, None)]
    try:
        found, current = _schema(where)
        if not current:
            return found
        found += _verified(where)
    except LedgerError as error:
        advice = (
            "start the server, or mend [ledger]: until then charges wait in the spools, and a "
            "gateway that is started refuses"
        )
        return [fault(BOOKS, _name(where), str(error), advice)]
    return [*found, *_spools(patient, where)]


def _name(where: Path | str) -> str:
    return str(where) if isinstance(where, Path) else where.rpartition("@")[2].partition("?")[0]


def _schema(where: Path | str) -> tuple[list[Remark], bool]:
    """And whether its tables are those that this version knows."""
    found: list[Remark] = []
    if isinstance(where, Path):
        has, known = schema_versions(where)
    else:
        from metering.postgres_server import server_facts  # here: only few have psycopg

        facts = server_facts(where)
        has, known = facts.schema, facts.schema_known
        found += [compare(f"postgresql {_name(where)}", facts.ahead_ns)]
        found += [
            grade(SERVER, _name(where), said, advice)
            for bad, grade, said, advice in (
                (
                    facts.version_number < VERSION_MIN,
                    warning,
                    f"is PostgreSQL {facts.version}; the tests run on 15",
                    "take a newer one",
                ),
                (
                    not facts.fsync or not facts.full_page_writes,
                    fault,
                    "fsync or full_page_writes is off: a power cut can spoil the books",
                    "ALTER SYSTEM SET fsync = on; ALTER SYSTEM SET full_page_writes = on; restart",
                ),
                (
                    facts.standby,
                    fault,
                    "is a standby, which takes no writes",
                    "name the primary in [ledger], with target_session_attrs=read-write",
                ),
                (
                    facts.connections > facts.connections_max * 0.8,
                    warning,
                    f"{facts.connections} of {facts.connections_max} connections are taken; each "
                    "gateway process takes several",
                    "raise max_connections",
                ),
                (
                    facts.over_tcp and not facts.encrypted and not _is_local(where),
                    warning,
                    "the connection is not encrypted",
                    "add sslmode=verify-full to the URL",
                ),
            )
            if bad
        ]
        if not any(remark.check == SERVER for remark in found):
            sums = "with" if facts.checksums else "without"
            found.append(
                ok(SERVER, _name(where), f"PostgreSQL {facts.version}, {sums} checksums of pages")
            )
    if has > known:
        said = f"has {has} migrations, this Tollgate knows {known}: a newer version made it"
        return [*found, fault(BOOKS, _name(where), said, "install the newer version")], False
    if has < known:
        said = f"has {has} of {known} migrations"
        advice = "the next start brings it up to date: take a backup before (docs/upgrades.md)"
        return [*found, warning(BOOKS, _name(where), said, advice)], False
    return found, True


def _is_local(url: str) -> bool:
    return any(f"@{host}" in url for host in ("127.0.0.1", "localhost", "[::1]"))


def _verified(where: Path | str) -> list[Remark]:
    with open_snapshot(where) as snapshot:
        checked = quick_verify(snapshot)
    future = books_from_the_future(checked.newest_ns, time.time_ns())
    found = [] if future is None else [future]
    if checked.problem is not None:
        advice = (
            "stop settling, run `tollgate ledger verify`, which names the first wrong row, and "
            "restore a backup from before it (docs/backup.md)"
        )
        return [*found, fault(BOOKS, _name(where), checked.problem, advice)]
    said = f"the newest {checked.rows} of {checked.last_seq} rows are right, and all adds up"
    return [*found, ok(BOOKS, _name(where), said)]


def _spools(patient: Patient, where: Path | str | None) -> list[Remark]:
    if not patient.spools:
        return []
    if where is None:
        return [note(SPOOL, path.name, "there is no ledger to compare it with")
                for path in patient.spools]  # fmt: skip
    rows_max = patient.config.spool.rows_max if patient.config else 1_000_000
    with contextlib.closing(open_ledger(where)) as ledger:
        return [_spool(path, ledger.watermark, rows_max) for path in patient.spools]


def _spool(path: Path, watermark: object, rows_max: int) -> Remark:
    assert callable(watermark)
    reader = SpoolReader(path)
    try:
        last_seq = reader.last_seq()
    except (SpoolError, OSError) as error:
        advice = "bring the file back from a copy; docs/operations.md says what if there is none"
        return fault(SPOOL, path.name, f"cannot be read: {error}", advice)
    waiting = last_seq - int(watermark(reader.writer)) if reader.writer else 0
    if waiting < 0:
        said = f"ends {-waiting} rows before what the ledger has booked of it: it is an old copy"
        advice = "bring back the newest copy, or move the folder away to begin a new one"
        return fault(SPOOL, path.name, said, advice)
    lives = holder(path) is not None
    said = f"{waiting} rows wait for the ledger, {rows_max} may"
    if waiting * MUCH_PARTS > rows_max:
        grade = fault if waiting * MUCH_PARTS > 9 * rows_max else warning
        return grade(SPOOL, path.name, said, "see to the ledger: when it is full, requests get 429")
    if waiting and not lives:
        advice = "start the gateway of this home: its start books them"
        return warning(SPOOL, path.name, f"{said}, and no gateway has it open", advice)
    return ok(SPOOL, path.name, said)
