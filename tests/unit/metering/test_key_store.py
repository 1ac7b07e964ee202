"""Keys in the ledger's database: only their hashes."""

from __future__ import annotations

import contextlib

import pytest

from metering import keys
from metering.accounts import AccountError
from metering.backend import open_database
from metering.cycle import Cycle
from metering.key_store import KeyStore
from metering.keys import KeyTerms
from metering.ledger import LedgerError
from metering.limits import Limits


@pytest.fixture
def database(where):
    with contextlib.closing(open_database(where)) as made:
        yield made


@pytest.fixture
def store(database):
    return KeyStore(database)


def test_a_key_is_found_by_its_digest_until_it_is_revoked(store):
    key, secret = store.create("alice", "laptop")
    assert key.digest == keys.digest(secret)
    assert store.load_all() == [key]
    revoked = store.revoke(key.key_id)
    assert revoked is not None
    assert revoked.revoked_ns is not None
    assert store.load_all() == [revoked]
    assert store.revoke(key.key_id) == revoked
    assert store.revoke("key_0") is None


def test_no_secret_is_on_the_disk(tmp_path):
    with contextlib.closing(open_database(tmp_path / "ledger.db")) as database:
        _, secret = KeyStore(database).create("alice")
        body = secret.removeprefix(keys.SECRET_PREFIX).encode()
        for file in tmp_path.iterdir():
            assert body not in file.read_bytes()


def test_a_key_of_no_account_is_refused(store):
    with pytest.raises(AccountError):
        store.create("Alice!")


def test_another_process_sees_a_new_key(store, where):
    with contextlib.closing(open_database(where)) as other:
        key, _ = KeyStore(other).create("bob")
    assert store.load_all() == [key]


def test_two_keys_never_share_a_digest(store, database):
    key, _ = store.create("alice")
    with pytest.raises(LedgerError, match=r"(?i)unique"):
        database.query(
            "INSERT INTO api_key (key_id, account, name, digest, created_ns)"
            " VALUES ('k', 'a', '', ?, 0)",
            key.digest,
        )


TERMS = KeyTerms(
    limits=Limits(requests_per_minute=5),
    models=("a", "b/c"),
    spend_cap_nano_usd=2**62,
    spend_cycle=Cycle.EIGHT_HOURS,
    expires_ns=7,
    manages_keys=True,
)


def test_the_terms_of_a_key_are_kept(store):
    key, _ = store.create("alice", terms=TERMS, parent_key_id="key_0")
    assert key.terms == TERMS
    assert key.parent_key_id == "key_0"
    assert store.load_all() == [key]
