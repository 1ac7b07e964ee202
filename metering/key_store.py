"""API keys in the ledger's database. Only their hashes are kept."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import msgspec

from metering import keys
from metering.accounts import check_name
from metering.cycle import Cycle
from metering.database import Database
from metering.keys import NO_TERMS, ApiKey, KeyTerms
from metering.limits import UNLIMITED, Limits

NAME_CHARS_MAX = 100

_COLUMNS = (
    "key_id, account, name, digest, created_ns, revoked_ns, "
    "requests_per_minute, tokens_per_minute, concurrent_requests, "
    "models, spend_cap_nano_usd, spend_cycle, expires_ns, manages_keys, parent_key_id, "
    "previous_digest, previous_until_ns"
)


class KeyStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        account: str,
        name: str = "",
        terms: KeyTerms = NO_TERMS,
        *,
        parent_key_id: str | None = None,
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
            parent_key_id=parent_key_id,
            **msgspec.structs.asdict(terms),
        )
        row = _row(key)
        places = ", ".join("?" * len(row))
        self._database.query(f"INSERT INTO api_key ({_COLUMNS}) VALUES ({places})", *row)
        return key, secret

    def revoke(self, key_id: str) -> ApiKey | None:
        """The key as it now is; None if there is no such key. Revoking again changes nothing."""
        self._database.query(
            "UPDATE api_key SET revoked_ns = ? WHERE key_id = ? AND revoked_ns IS NULL",
            time.time_ns(),
            key_id,
        )
        found = self._database.query(f"SELECT {_COLUMNS} FROM api_key WHERE key_id = ?", key_id)
        return _key(found[0]) if found else None

    def load_all(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""
        rows = self._database.query(f"SELECT {_COLUMNS} FROM api_key ORDER BY created_ns, key_id")
        return [_key(row) for row in rows]


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
    )


def _key(row: tuple[Any, ...]) -> ApiKey:
    key_id, account, name, digest, created_ns, revoked_ns, rpm, tpm, at_once, *terms = row
    models, cap, cycle, expires_ns, manages_keys, parent, previous, until_ns = terms
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
    )
