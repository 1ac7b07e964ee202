"""What only a server can do: refuse, be of another version."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from books import closed, opened

from metering.ledger import LedgerError
from metering.postgres_ledger import PostgresLedger
from metering.posting import close_group, hold_group


@pytest.mark.parametrize("table", ["transfer", "charge", "epoch"])
@pytest.mark.parametrize(
    "change", ["UPDATE {} SET seq = seq + 100", "DELETE FROM {}", "TRUNCATE {}"]
)
def test_the_server_itself_refuses_changes_to_what_is_booked(postgres_url, table, change):
    opening = opened("c")
    with contextlib.closing(PostgresLedger(postgres_url)) as ledger:
        ledger.post("g", [hold_group(opening), close_group(opening, closed("c"))])
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("INSERT INTO epoch VALUES (1, 0, 0, '', '', '', '', 0, '', NULL)")
        with pytest.raises(psycopg.errors.RaiseException, match="never"):
            db.execute(change.format(table))


def test_a_ledger_of_a_newer_version_is_left_alone(postgres_url):
    PostgresLedger(postgres_url).close()
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE ledger_schema SET version = 99")
    with pytest.raises(LedgerError, match=r"schema version 99.*newer Tollgate"):
        PostgresLedger(postgres_url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://tollgate:s3cret@127.0.0.1:1/x", r"tollgate@127\.0\.0\.1:1/x.*refused"),
        ("postgresql://tollgate:s3cret@[::1/x", "cannot be read"),
        ("postgresql://tollgate:s3cret@127.0.0.1/x?nonsense=1", "cannot be read"),
    ],
)
def test_an_error_names_the_server_and_no_password(url, message):
    with pytest.raises(LedgerError, match=message) as refused:
        PostgresLedger(url)
    assert "s3cret" not in str(refused.value)


def test_a_wrong_password_is_refused_without_telling_it(postgres_url):
    wrong = postgres_url.replace("between", "amid")
    with pytest.raises(LedgerError, match="password authentication failed") as refused:
        PostgresLedger(wrong)
    assert "amid" not in str(refused.value)
