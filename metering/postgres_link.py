"""A connection to PostgreSQL for money: durable commits, bounded waits, the schema up to date; made
anew when the server was gone.
"""

from __future__ import annotations

import contextlib
import math
import re
import select
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from metering.ledger import ConflictError, LedgerError, TextError
from metering.postgres_watch import ANSWER_S, Plug

MIGRATIONS = Path(__file__).parent / "migrations" / "postgres"

_DEFAULTS: dict[str, str | int] = {
    "application_name": "tollgate",
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""What the URL does not say; a server whose machine is gone is given up after 15 s."""

_SETTINGS = """
SELECT set_config('lock_timeout', '10s', false),
    set_config('idle_in_transaction_session_timeout', '30s', false),
    set_config('plan_cache_mode', 'force_custom_plan', false),
    set_config('max_parallel_workers_per_gather', '0', false),
    CASE WHEN current_setting('synchronous_commit') IN ('off', 'remote_write')
    THEN set_config('synchronous_commit', 'on', false) END
"""
"""Transactions take milliseconds. One that hangs, on either side, must not hold up all others; and
a commit that was answered survives a power cut, whatever the server's default is. A plan that was
made for an empty table would scan it when it has millions of rows. And to start workers for a
question takes 20 ms and more, where the few rows it is about take one."""

_AGAIN_S = 0.5
"""For so long after a server could not be reached, no other attempt is made: each may take as long
as `connect_timeout`, and those who ask wait for one another."""

_LOCK = "SELECT pg_advisory_xact_lock(8390880602325313637)"
"""Held by whoever writes, to the end of the transaction: so commits have an order, rows get their
numbers in it, and what is read inside stays true. The number is 'tollgate' in ASCII."""

_CHANGED = "UPDATE ledger_change SET version = version + 1"

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresLink:
    """One connection, for one thread at a time. A server that has not answered for `answer_s` is
    taken for gone. Raises LedgerError if there is no way to it.
    """

    def __init__(self, url: str, *, answer_s: float = ANSWER_S) -> None:
        self._conninfo, self.name = read_url(url)
        self._answer_s = math.inf
        self._connection: Connection | None = None
        self._plug: Plug | None = None
        self._refused = ""
        self._again_s = 0.0
        self.transactions = 0
        """Those that ended well; one whose end is unknown is not among them."""
        try:
            with self.connected() as connection:
                _migrate(connection, self.name)
            self._give_up_after(answer_s)
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def connected(self) -> Iterator[Connection]:
        """The connection, in autocommit mode; its errors as LedgerErrors.

        After a failure it may be unknown whether the last commit took place.
        """
        try:
            if self._connection is None or self._plug is None or not _lives(self._connection):
                self.close()
                self._connection = self._connect()
                self._plug = Plug(self._connection.fileno(), self._answer_s)
            with self._plug.watched():
                yield self._connection
        except psycopg.IntegrityError as error:
            raise ConflictError(f"ledger {self.name}: {str(error).strip()}") from error
        except psycopg.DataError as error:
            kind = TextError if error.sqlstate is None else LedgerError  # None: it was never sent
            raise kind(f"ledger {self.name}: {str(error).strip()}") from error
        except psycopg.Error as error:
            raise LedgerError(f"ledger {self.name}: {str(error).strip()}") from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing, and alone. Others are told that something changed."""
        with self.connected() as connection, connection.transaction():
            connection.execute(_LOCK)
            yield connection
            connection.execute(_CHANGED)
        self.transactions += 1

    def close(self) -> None:
        if self._plug is not None:
            self._plug.close()
            self._plug = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _give_up_after(self, answer_s: float) -> None:
        self._answer_s = answer_s
        if self._plug is not None:
            self._plug.answer_s = answer_s

    def _connect(self) -> Connection:
        if self._refused and time.monotonic() < self._again_s:
            raise psycopg.OperationalError(self._refused)
        try:
            connection = psycopg.connect(
                self._conninfo, autocommit=True, cursor_factory=psycopg.RawCursor
            )
        except psycopg.Error as error:
            self._refused, self._again_s = str(error), time.monotonic() + _AGAIN_S
            raise
        self._refused = ""
        try:
            connection.adapters.register_loader("numeric", _WholeLoader)
            connection.execute(_SETTINGS)
        except BaseException:
            connection.close()
            raise
        return connection


class _WholeLoader(Loader):
    """A sum of integers is an integer."""

    def load(self, data: bytes | bytearray | memoryview) -> int:
        return int(bytes(data))


@lru_cache(maxsize=512)
def numbered(sql: str) -> str:
    """A statement with `?` for its values, as PostgreSQL wants it: with $1, $2 and so on."""
    places = count(1)
    return _PLACE.sub(lambda found: f"${next(places)}" if found[0] == "?" else found[0], sql)


_PLACE = re.compile(r"'[^']*'|\?")


def read_url(url: str) -> tuple[str, str]:
    """What libpq connects with, and a name without the password."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # whose message may hold the password
        raise LedgerError(
            "the URL of the ledger cannot be read; it looks like "
            "postgresql://user:password@host:5432/database, with %40 for an @ in the password"
        ) from None
    user, host = given.get("user"), given.get("host") or given.get("hostaddr") or ""
    name = "postgresql://" + (f"{user}@" if user else "") + str(host)
    name += f":{given['port']}" if "port" in given else ""
    name += f"/{given.get('dbname', '')}"
    options: dict[str, str | int | None] = {**_DEFAULTS, **given}
    return make_conninfo("", **options), name


def _lives(connection: Connection) -> bool:
    """Did the server say nothing since the last answer? What it says unasked is farewell, or some
    notice that a new connection does without.
    """
    if connection.closed or connection.broken:
        return False
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    if not socket.poll(0):
        return True
    connection.close()
    return False


def _migrate(connection: Connection, name: str) -> None:
    files = sorted(MIGRATIONS.glob("*.sql"))
    if schema_version(connection) == len(files):
        return
    with connection.transaction():
        connection.execute(_LOCK)
        version = schema_version(connection)
        if version > len(files):
            raise LedgerError(
                f"ledger {name} has schema version {version}, made by a newer Tollgate; this one "
                f"knows {len(files)}: install the newer one"
            )
        if version == 0:
            connection.execute("CREATE TABLE ledger_schema (version BIGINT NOT NULL)")
            connection.execute("INSERT INTO ledger_schema VALUES (0)")
        for file in files[version:]:
            connection.execute(file.read_text())
        connection.execute("UPDATE ledger_schema SET version = $1", (len(files),))


def schema_version(connection: Connection) -> int:
    """How many migrations it has."""
    if connection.execute(_HAS_SCHEMA).fetchone() is None:
        return 0
    row = connection.execute("SELECT version FROM ledger_schema").fetchone()
    return 0 if row is None else int(row[0])


_HAS_SCHEMA = (
    "SELECT 1 FROM pg_class"
    " WHERE relname = 'ledger_schema' AND relnamespace = current_schema()::regnamespace"
)
"""Not `to_regclass`: after a wait for the lock it may still know what was before."""
