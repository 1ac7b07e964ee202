"""Who is logged in to the console: in the ledger's database, so that every gateway knows, and an
ended session is ended everywhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec

from metering.database import Database

_MINUTE_NS = 60 * 10**9
LASTS_NS = 12 * 60 * _MINUTE_NS
IDLE_NS = 60 * _MINUTE_NS
"""Without a page for so long it is over."""
_NOTED_NS = _MINUTE_NS
"""How exactly it is known when the last page was."""
_SECRET_BYTES = 32


class Session(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """For the audit trail: says nothing of the secret."""
    csrf: str
    """What a form must carry; another site cannot know it."""
    until_ns: int


class Sessions:
    """Thread-safe. `admin_key` None: nobody can log in. Raises LedgerError."""

    def __init__(self, database: Database, admin_key: str | None) -> None:
        self._database = database
        self._key = None if admin_key is None else hashlib.sha256(admin_key.encode()).digest()

    @property
    def there_is_a_key(self) -> bool:
        return self._key is not None

    def is_key(self, given: str) -> bool:
        digest = hashlib.sha256(given.encode()).digest()
        return self._key is not None and hmac.compare_digest(digest, self._key)

    def begin(self, now_ns: int) -> tuple[str, Session]:
        """A new session, and the secret for the browser, which is nowhere else."""
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        with self._database.transaction() as session:
            session.query("DELETE FROM console_session WHERE began_ns < ?", now_ns - LASTS_NS)
            session.query(
                "INSERT INTO console_session (digest, key_digest, began_ns, seen_ns)"
                " VALUES (?, ?, ?, ?)",
                _digest(secret),
                self._key,
                now_ns,
                now_ns,
            )
        return secret, _session(secret, now_ns)

    def find(self, secret: str, now_ns: int) -> Session | None:
        """None: unknown, ended, too old, idle too long, or of another admin key."""
        if self._key is None:
            return None
        rows = self._database.query(
            "SELECT began_ns, seen_ns FROM console_session WHERE digest = ? AND key_digest = ?",
            _digest(secret),
            self._key,
        )
        if not rows:
            return None
        began_ns, seen_ns = rows[0]
        if now_ns >= min(began_ns + LASTS_NS, seen_ns + IDLE_NS):
            return None
        if now_ns - seen_ns >= _NOTED_NS:
            self._database.note(
                "UPDATE console_session SET seen_ns = ? WHERE digest = ?", now_ns, _digest(secret)
            )
        return _session(secret, began_ns)

    def end(self, secret: str) -> None:
        self._database.note("DELETE FROM console_session WHERE digest = ?", _digest(secret))


def _session(secret: str, began_ns: int) -> Session:
    csrf = hmac.digest(secret.encode(), b"a form of the console", "sha256").hex()
    return Session(id=_digest(secret).hex()[:12], csrf=csrf, until_ns=began_ns + LASTS_NS)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
