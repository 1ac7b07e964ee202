"""API keys in the ledger's file. Only their hashes are kept."""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from pathlib import Path

from metering import keys
from metering.accounts import check_name
from metering.keys import ApiKey
from metering.limits import UNLIMITED, Limits
from metering.sqlite_file import named_errors, open_database

NAME_CHARS_MAX = 100

_COLUMNS = (
    "key_id, account, name, digest, created_ns, revoked_ns, "
    "requests_per_minute, tokens_per_minute, concurrent_requests"
)


class SqliteKeys:
    """Thread-safe. Raises LedgerError when the file cannot answer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db = open_database(path)

    def create(
        self, account: str, name: str = "", limits: Limits = UNLIMITED
    ) -> tuple[ApiKey, str]:
        """A new key and its secret, which nobody can ever read again. Raises AccountError."""
        secret = keys.new_secret(secrets.token_bytes(keys.SECRET_BYTES))
        digest = keys.digest(secret)
        key = ApiKey(
            key_id=keys.key_id(digest),
            account=check_name(account),
            name=name[:NAME_CHARS_MAX],
            digest=digest,
            created_ns=time.time_ns(),
            limits=limits,
        )
        self._execute(
            f"INSERT INTO api_key ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, NULL, ?, ?, ?)",
            (
                key.key_id,
                key.account,
                key.name,
                key.digest,
                key.created_ns,
                limits.requests_per_minute,
                limits.tokens_per_minute,
                limits.concurrent_requests,
            ),
        )
        return key, secret

    def revoke(self, key_id: str) -> ApiKey | None:
        """The key as it now is; None if there is no such key. Revoking again changes nothing."""
        self._execute(
            "UPDATE api_key SET revoked_ns = ? WHERE key_id = ? AND revoked_ns IS NULL",
            (time.time_ns(), key_id),
        )
        found = self._execute(f"SELECT {_COLUMNS} FROM api_key WHERE key_id = ?", (key_id,))
        return _key(found[0]) if found else None

    def load_all(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        rows = self._execute(f"SELECT {_COLUMNS} FROM api_key ORDER BY created_ns, key_id")
        return [_key(row) for row in rows]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        with self._lock, named_errors(self._path):
            return self._db.execute(statement, values).fetchall()


def _key(row: sqlite3.Row) -> ApiKey:
    key_id, account, name, digest, created_ns, revoked_ns, rpm, tpm, at_once = row
    limits = Limits(requests_per_minute=rpm, tokens_per_minute=tpm, concurrent_requests=at_once)
    return ApiKey(
        key_id=key_id,
        account=account,
        name=name,
        digest=digest,
        created_ns=created_ns,
        revoked_ns=revoked_ns,
        limits=UNLIMITED if limits == UNLIMITED else limits,
    )
