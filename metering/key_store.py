"""API keys in the ledger's database. Only their hashes are kept."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import msgspec

from metering import keys
from metering.accounts import check_name
from metering.customer_store import CustomerState, keys_changed
from metering.cycle import Cycle
from metering.database import Database, Session
from metering.key_bounds import check_within
from metering.key_patch import NAME_CHARS_MAX, KeyPatch, expired
from metering.keys import NO_TERMS, ApiKey, KeyTerms
from metering.limits import UNLIMITED, Limits

SUB_KEYS_MAX = 1000
"""Of one key, revoked ones aside: each gateway holds all keys in memory."""

_COLUMNS = (
    "key_id, account, name, digest, created_ns, revoked_ns, "
    "requests_per_minute, tokens_per_minute, concurrent_requests, "
    "models, spend_cap_nano_usd, spend_cycle, expires_ns, manages_keys, parent_key_id, "
    "previous_digest, previous_until_ns, allows_unknown_parameters, usage_always, "
    "refuses_waking"
)


class KeyRefusedError(ValueError):
    """The key cannot be made or changed so; the message says why."""


class KeyStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, account: str, name: str = "", terms: KeyTerms = NO_TERMS
    ) -> tuple[ApiKey, str]:
        """A new key and its secret, which nobody can ever read again.

        Raises AccountError, and KeyRefusedError if the account is closed.
        """
        key, secret = _new_key(check_name(account), name, terms, None)
        with self._database.transaction() as session:
            _insert(session, key)
        return key, secret

    def create_sub_key(
        self, parent_key_id: str, name: str = "", terms: KeyTerms = NO_TERMS
    ) -> tuple[ApiKey, str]:
        """A key of the same account, within the bounds of another.

        Raises KeyTermsError for terms beyond them, KeyRefusedError if that key can make none.
        """
        with self._database.transaction() as session:
            parent = _find(session, parent_key_id)
            if parent is None or not parent.manages_keys:
                raise KeyRefusedError(f"{parent_key_id} may not make keys")
            if parent.revoked_ns is not None or expired(parent, time.time_ns()):
                raise KeyRefusedError(f"{parent_key_id} is revoked or expired: it makes no keys")
            check_within(terms, parent)
            ((count,),) = session.query(
                "SELECT count(*) FROM api_key WHERE parent_key_id = ? AND revoked_ns IS NULL",
                parent_key_id,
            )
            if count >= SUB_KEYS_MAX:
                raise KeyRefusedError(
                    f"{parent_key_id} has {count} sub-keys, the most: revoke some first"
                )
            key, secret = _new_key(parent.account, name, terms, parent_key_id)
            _insert(session, key)
        return key, secret

    def update(self, key_id: str, patch: KeyPatch) -> ApiKey | None:
        """The key as it now is; None if there is no such key.

        Raises KeyTermsError, KeyRefusedError for a key that is revoked.
        """
        with self._database.transaction() as session:
            key = _find(session, key_id)
            if key is None:
                return None
            if key.revoked_ns is not None:
                raise KeyRefusedError(f"{key_id} is revoked, which is for good: make a new key")
            terms = patch.applied(key.terms)
            if key.parent_key_id is not None:
                parent = _find(session, key.parent_key_id)
                if parent is not None:
                    check_within(terms, parent)
            changed = msgspec.structs.replace(
                key, name=patch.named(key.name), **msgspec.structs.asdict(terms)
            )
            _replace(session, changed)
        return changed

    def rotate(self, key_id: str, grace_ns: int) -> tuple[ApiKey, str] | None:
        """The key with a new secret, and that; the one before is good for so long still. None if
        there is no such key. An older secret that was still good ends at once.

        Raises KeyRefusedError for a key that is revoked.
        """
        secret = keys.new_secret(secrets.token_bytes(keys.SECRET_BYTES))
        with self._database.transaction() as session:
            key = _find(session, key_id)
            if key is None:
                return None
            if key.revoked_ns is not None:
                raise KeyRefusedError(f"{key_id} is revoked, which is for good: make a new key")
            rotated = msgspec.structs.replace(
                key,
                digest=keys.digest(secret),
                previous_digest=key.digest if grace_ns else None,
                previous_until_ns=time.time_ns() + grace_ns if grace_ns else None,
            )
            _replace(session, rotated)
        return rotated, secret

    def revoke(self, key_id: str) -> ApiKey | None:
        """The key as it now is, its sub-keys with it; None if there is no such key. Revoking again
        changes nothing.
        """
        with self._database.transaction() as session:
            session.query(
                "UPDATE api_key SET revoked_ns = ?"
                " WHERE (key_id = ? OR parent_key_id = ?) AND revoked_ns IS NULL",
                time.time_ns(),
                key_id,
                key_id,
            )
            keys_changed(session)
            return _find(session, key_id)

    def get(self, key_id: str) -> ApiKey | None:
        return _find(self._database, key_id)

    def page(
        self,
        *,
        account: str | None = None,
        parent_key_id: str | None = None,
        after_key_id: str | None = None,
        limit: int,
    ) -> list[ApiKey]:
        """Keys of an account or of a parent, or all; oldest first, those after the one named."""
        where, values = ["1 = 1"], list[object]()
        if account is not None:
            where.append("account = ?")
            values.append(account)
        if parent_key_id is not None:
            where.append("parent_key_id = ?")
            values.append(parent_key_id)
        if after_key_id is not None:
            where.append(
                "(created_ns, key_id) > (SELECT created_ns, key_id FROM api_key WHERE key_id = ?)"
            )
            values.append(after_key_id)
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM api_key WHERE {' AND '.join(where)}"
            " ORDER BY created_ns, key_id LIMIT ?",
            *values,
            limit,
        )
        return [_key(row) for row in rows]

    def version(self) -> int:
        """Another one after each change of a key, or of whether an account is suspended."""
        ((version,),) = self._database.query("SELECT version FROM key_version")
        return int(version)

    def load_all(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first; with whether its account is suspended."""
        rows = self._database.query(
            f"SELECT {_COLUMNS}, (SELECT state FROM customer WHERE account = api_key.account)"
            " FROM api_key ORDER BY created_ns, key_id"
        )
        return [_with_state(_key(row[:-1]), row[-1]) for row in rows]


def _new_key(
    account: str, name: str, terms: KeyTerms, parent_key_id: str | None
) -> tuple[ApiKey, str]:
    secret = keys.new_secret(secrets.token_bytes(keys.SECRET_BYTES))
    digest = keys.digest(secret)
    key = ApiKey(
        key_id=keys.key_id(digest),
        account=account,
        name=name[:NAME_CHARS_MAX],
        digest=digest,
        created_ns=time.time_ns(),
        parent_key_id=parent_key_id,
        **msgspec.structs.asdict(terms),
    )
    return key, secret


def _insert(session: Session, key: ApiKey) -> None:
    closed = session.query(
        "SELECT 1 FROM customer WHERE account = ? AND state = ?", key.account, CustomerState.CLOSED
    )
    if closed:
        raise KeyRefusedError(f"account '{key.account}' is closed: it gets no keys")
    row = _row(key)
    session.query(f"INSERT INTO api_key ({_COLUMNS}) VALUES ({', '.join('?' * len(row))})", *row)
    keys_changed(session)


def _replace(session: Session, key: ApiKey) -> None:
    columns = ", ".join(f"{column} = ?" for column in _COLUMNS.split(", "))
    session.query(f"UPDATE api_key SET {columns} WHERE key_id = ?", *_row(key), key.key_id)
    keys_changed(session)


def _find(session: Session, key_id: str) -> ApiKey | None:
    rows = session.query(f"SELECT {_COLUMNS} FROM api_key WHERE key_id = ?", key_id)
    return _key(rows[0]) if rows else None


def _row(key: ApiKey) -> tuple[object, ...]:
    return (
        key.key_id,
        key.account,
        key.name,
        key.digest,
        key.created_ns,
        key.revoked_ns,
        *msgspec.structs.astuple(key.limits),
        None if key.models is None else json.dumps(key.models),
        key.spend_cap_nano_usd,
        key.spend_cycle,
        key.expires_ns,
        int(key.manages_keys),
        key.parent_key_id,
        key.previous_digest,
        key.previous_until_ns,
        int(key.allows_unknown_parameters),
        int(key.usage_always),
        int(key.refuses_waking),
    )


def _key(row: tuple[Any, ...]) -> ApiKey:
    key_id, account, name, digest, created_ns, revoked_ns, rpm, tpm, at_once, *terms = row
    models, cap, cycle, expires_ns, manages_keys, parent, previous, *terms = terms
    until_ns, lenient, usage_always, refuses_waking = terms
    limits = Limits(requests_per_minute=rpm, tokens_per_minute=tpm, concurrent_requests=at_once)
    return ApiKey(
        key_id=key_id,
        account=account,
        name=name,
        digest=digest,
        created_ns=created_ns,
        revoked_ns=revoked_ns,
        limits=UNLIMITED if limits == UNLIMITED else limits,
        models=None if models is None else tuple(json.loads(models)),
        spend_cap_nano_usd=cap,
        spend_cycle=None if cycle is None else Cycle(cycle),
        expires_ns=expires_ns,
        manages_keys=bool(manages_keys),
        parent_key_id=parent,
        previous_digest=previous,
        previous_until_ns=until_ns,
        allows_unknown_parameters=bool(lenient),
        usage_always=bool(usage_always),
        refuses_waking=bool(refuses_waking),
    )


def _with_state(key: ApiKey, state: str | None) -> ApiKey:
    if state in (None, CustomerState.ACTIVE):
        return key
    return msgspec.structs.replace(key, suspended=True)
