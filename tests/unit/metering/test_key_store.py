"""Keys in the ledger's database: only their hashes."""

from __future__ import annotations

import contextlib

import pytest

from metering import keys
from metering.accounts import AccountError
from metering.backend import open_database
from metering.customer_store import CustomerState, CustomerStore
from metering.cycle import Cycle
from metering.key_bounds import by_digest
from metering.key_patch import KeyPatch
from metering.key_store import KeyRefusedError, KeyStore
from metering.keys import KeyTerms, KeyTermsError
from metering.ledger import LedgerError
from metering.limits import Limits


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
    key, _ = store.create("alice", terms=TERMS)
    assert key.terms == TERMS
    assert store.load_all() == [key]
    assert store.get(key.key_id) == key


MANAGER = KeyTerms(models=("a", "b"), spend_cap_nano_usd=100, manages_keys=True)


@pytest.fixture
def manager(store):
    key, _ = store.create("alice", "manager", MANAGER)
    return key


def test_a_sub_key_is_of_its_parents_account_and_revoked_with_it(store, manager):
    child, _ = store.create_sub_key(manager.key_id, "child", KeyTerms(models=("a",)))
    other, _ = store.create("alice")
    assert child.account == "alice"
    assert child.parent_key_id == manager.key_id
    store.revoke(manager.key_id)
    revoked = {key.key_id for key in store.load_all() if key.revoked_ns is not None}
    assert revoked == {manager.key_id, child.key_id}
    assert other.key_id not in revoked


def test_a_sub_key_beyond_its_parent_is_refused_when_made_and_when_changed(store, manager):
    with pytest.raises(KeyTermsError, match="may not use c"):
        store.create_sub_key(manager.key_id, terms=KeyTerms(models=("c",)))
    child, _ = store.create_sub_key(manager.key_id)
    with pytest.raises(KeyTermsError, match="101 is beyond 100"):
        store.update(child.key_id, KeyPatch(spend_cap_nano_usd=101))
    assert store.get(child.key_id) == child


def test_only_a_live_key_with_the_right_makes_keys(store, manager):
    plain, _ = store.create("alice")
    child, _ = store.create_sub_key(manager.key_id)
    expired, _ = store.create("alice", terms=KeyTerms(manages_keys=True, expires_ns=1))
    store.revoke(manager.key_id)
    for key in (plain, child, expired, manager):
        with pytest.raises(KeyRefusedError):
            store.create_sub_key(key.key_id)
    with pytest.raises(KeyRefusedError):
        store.create_sub_key("key_0")


def test_a_patch_changes_what_it_names_and_null_takes_a_limit_away(store, manager):
    changed = store.update(
        manager.key_id, KeyPatch(name="n", models=None, requests_per_minute=7, expires_at=9)
    )
    assert changed is not None
    assert changed.name == "n"
    assert changed.terms == KeyTerms(
        limits=Limits(requests_per_minute=7),
        spend_cap_nano_usd=100,
        expires_ns=9_000_000_000,
        manages_keys=True,
    )
    assert store.load_all() == [changed]
    with pytest.raises(KeyTermsError, match="give the cap too"):
        store.update(manager.key_id, KeyPatch(spend_cap_nano_usd=None, spend_cycle=Cycle.DAILY))
    assert store.update("key_0", KeyPatch()) is None


def test_a_rotated_key_opens_by_both_secrets_for_a_while(store):
    key, first = store.create("alice")
    rotated = store.rotate(key.key_id, grace_ns=60 * 10**9)
    assert rotated is not None
    changed, second = rotated
    found = by_digest(store.load_all())
    assert found[keys.digest(second)] == changed
    assert found[keys.digest(first)].key_id == key.key_id
    assert found[keys.digest(first)].expires_ns == changed.previous_until_ns
    assert changed.key_id == key.key_id
    again = store.rotate(key.key_id, grace_ns=0)
    assert again is not None
    assert set(by_digest(store.load_all())) == {keys.digest(again[1])}
    assert store.rotate("key_0", grace_ns=0) is None


def test_a_revoked_key_is_not_changed_any_more(store):
    key, _ = store.create("alice")
    store.revoke(key.key_id)
    with pytest.raises(KeyRefusedError, match="for good"):
        store.update(key.key_id, KeyPatch(name="x"))
    with pytest.raises(KeyRefusedError, match="for good"):
        store.rotate(key.key_id, grace_ns=1)


def test_keys_are_listed_page_by_page(store, manager):
    made = [store.create_sub_key(manager.key_id)[0] for _ in range(5)]
    store.create("bob")
    seen, after = [], None
    while page := store.page(parent_key_id=manager.key_id, after_key_id=after, limit=2):
        seen += page
        after = page[-1].key_id
    assert seen == made
    assert len(store.page(account="alice", limit=100)) == 6
    assert len(store.page(limit=100)) == 7


def test_a_key_has_so_many_sub_keys_at_most(store, manager, monkeypatch):
    monkeypatch.setattr("metering.key_store.SUB_KEYS_MAX", 2)
    first, _ = store.create_sub_key(manager.key_id)
    store.create_sub_key(manager.key_id)
    with pytest.raises(KeyRefusedError, match="has 2 sub-keys"):
        store.create_sub_key(manager.key_id)
    store.revoke(first.key_id)
    store.create_sub_key(manager.key_id)


def test_every_change_is_another_version_and_nothing_else_is(store, database):
    customers = CustomerStore(database)
    seen = [store.version()]
    manager, _ = store.create("alice", terms=KeyTerms(manages_keys=True))
    changes = [
        lambda: store.create_sub_key(manager.key_id),
        lambda: store.update(manager.key_id, KeyPatch(name="x")),
        lambda: store.rotate(manager.key_id, 1),
        lambda: store.revoke(manager.key_id),
        lambda: customers.set_state("alice", CustomerState.SUSPENDED, 1),
        lambda: customers.set_state("alice", CustomerState.CLOSED, 1),
    ]
    for change in changes:
        seen.append(store.version())
        change()
    seen.append(store.version())
    assert len(set(seen)) == len(seen)
    customers.warn_below("alice", 1, 1)
    store.load_all()
    assert store.version() == seen[-1]
