"""Keys: secret once, hash ever after."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest

from metering import keys
from metering.accounts import AccountError
from metering.cycle import Cycle
from metering.keys import KeyTerms, KeyTermsError
from metering.limits import Limits
from metering.sqlite_keys import SqliteKeys


def test_a_secret_carries_all_of_its_entropy_and_its_prefix():
    secret = keys.new_secret(bytes(range(32)))
    assert secret == "sk-tg-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert keys.digest(secret) == hashlib.sha256(secret.encode()).digest()
    assert keys.key_id(bytes(range(32))) == "key_0001020304050607"


def test_a_secret_of_too_little_entropy_is_refused():
    with pytest.raises(ValueError, match="32 random bytes"):
        keys.new_secret(b"short")


@pytest.fixture
def store(tmp_path):
    made = SqliteKeys(tmp_path / "ledger.db")
    yield made
    made.close()


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


def test_no_secret_is_on_the_disk(store, tmp_path):
    _, secret = store.create("alice")
    body = secret.removeprefix(keys.SECRET_PREFIX).encode()
    for file in tmp_path.iterdir():
        assert body not in file.read_bytes()


def test_a_key_of_no_account_is_refused(store):
    with pytest.raises(AccountError):
        store.create("Alice!")


def test_another_process_sees_a_new_key(store, tmp_path):
    other = SqliteKeys(tmp_path / "ledger.db")
    key, _ = other.create("bob")
    other.close()
    assert store.load_all() == [key]


def test_two_keys_never_share_a_digest(store, tmp_path):
    key, _ = store.create("alice")
    db = sqlite3.connect(tmp_path / "ledger.db")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute(
            "INSERT INTO api_key (key_id, account, name, digest, created_ns) "
            "VALUES ('k', 'a', '', ?, 0)",
            (key.digest,),
        )
    db.close()


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


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"models": ()}, "no model would be allowed"),
        ({"spend_cap_nano_usd": -1}, "below zero"),
        ({"spend_cycle": Cycle.DAILY}, "give the cap too"),
    ],
)
def test_terms_that_mean_nothing_are_refused(terms, reason):
    with pytest.raises(KeyTermsError, match=reason):
        KeyTerms(**terms)
