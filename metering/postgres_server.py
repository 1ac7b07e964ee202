"""What a PostgreSQL server says of itself and of a ledger in it, with nothing changed there."""

from __future__ import annotations

import time

import msgspec
import psycopg

from metering.ledger import LedgerError
from metering.postgres_link import MIGRATIONS, read_url, schema_version

_ASK = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
    current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
    current_setting('data_checksums') = 'on', pg_is_in_recovery(),
    current_setting('max_connections')::int, (SELECT count(*) FROM pg_stat_activity),
    (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), inet_server_addr() IS NOT NULL,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
"""


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """Without a password."""
    version: str
    version_number: int
    fsync: bool
    full_page_writes: bool
    checksums: bool
    standby: bool
    connections_max: int
    connections: int
    encrypted: bool
    over_tcp: bool
    ahead_ns: int
    """Its clock less this machine's, to half the time that the question took."""
    schema: int
    schema_known: int
    """Migrations that the ledger there has, and that this Tollgate has."""


def server_facts(url: str) -> ServerFacts:
    """Raises LedgerError."""
    conninfo, name = read_url(url)
    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("SET statement_timeout = '5s'")
            before_ns = time.time_ns()
            row = connection.execute(_ASK).fetchone()
            now_ns = (before_ns + time.time_ns()) // 2
            assert row is not None, "a SELECT without FROM has a row"
            return ServerFacts(
                name=name,
                version=row[0],
                version_number=row[1],
                fsync=row[2],
                full_page_writes=row[3],
                checksums=row[4],
                standby=row[5],
                connections_max=row[6],
                connections=row[7],
                encrypted=row[8],
                over_tcp=row[9],
                ahead_ns=row[10] * 1000 - now_ns,
                schema=schema_version(connection),
                schema_known=len(list(MIGRATIONS.glob("*.sql"))),
            )
    except psycopg.Error as error:
        raise LedgerError(f"ledger {name}: {str(error).strip()}") from error
