"""Kept responses in a database of either kind: whose they are, how long, how many."""

from __future__ import annotations

import msgspec
import pytest

from metering.response_store import ResponseStore
from metering.stored_response import StoredResponse

BYTES_MAX = 10**6


@pytest.fixture
def store(database):
    return ResponseStore(database, per_account_max=1000, account_bytes_max=10**6)


def response(number: int, **changes) -> StoredResponse:
    made = StoredResponse(
        response_id=f"resp_{number}",
        account="acme",
        previous_response_id=None,
        status="completed",
        created_ns=number,
        expires_ns=1000 + number,
        alive_ns=number,
        input=f'["asked {number}"]',
        response=f'{{"said": "ä {number}"}}',
    )
    return msgspec.structs.replace(made, **changes)


def test_it_comes_back_as_it_was_and_only_to_its_account(store):
    kept = response(1, events="event: x\n\n", previous_response_id="resp_0")
    store.add(kept)
    assert store.get("acme", "resp_1") == kept
    assert store.get("other", "resp_1") is None
    assert store.get("acme", "resp_2") is None
    assert store.chain("other", "resp_1", BYTES_MAX) == ([], "resp_1")
    assert not store.delete("other", "resp_1")
    assert not store.finish(response(1, account="other", status="failed"))
    assert store.delete("acme", "resp_1")
    assert not store.delete("acme", "resp_1")
    assert store.get("acme", "resp_1") is None


def test_a_conversation_is_read_from_its_beginning(store):
    store.add(response(1))
    store.add(response(2, previous_response_id="resp_1"))
    store.add(response(3, previous_response_id="resp_2"))
    store.add(response(4, previous_response_id="resp_1"))
    turns, before = store.chain("acme", "resp_3", BYTES_MAX)
    assert [asked for asked, _ in turns] == ['["asked 1"]', '["asked 2"]', '["asked 3"]']
    assert before is None
    turns, before = store.chain("acme", "resp_4", BYTES_MAX)
    assert [asked for asked, _ in turns] == ['["asked 1"]', '["asked 4"]']
    store.delete("acme", "resp_1")
    turns, before = store.chain("acme", "resp_3", BYTES_MAX)
    assert (len(turns), before) == (2, "resp_1")
    turns, before = store.chain("acme", "resp_3", 1)
    assert (len(turns), before) == (1, "resp_2")


def test_another_accounts_turn_ends_a_conversation(store):
    store.add(response(1, account="other"))
    store.add(response(2, previous_response_id="resp_1"))
    turns, before = store.chain("acme", "resp_2", BYTES_MAX)
    assert (len(turns), before) == (1, "resp_1")


def test_the_first_end_stays(store):
    store.add(response(1, status="queued"))
    store.add(response(2, status="in_progress"))
    assert store.under_way(["resp_1", "resp_2", "resp_3"]) == {"resp_1", "resp_2"}
    ended = response(1, status="completed", response='{"said": "all"}', events="e")
    assert store.finish(ended)
    assert store.get("acme", "resp_1") == ended
    assert not store.finish(response(1, status="cancelled"))
    assert store.get("acme", "resp_1") == ended
    assert store.under_way(["resp_1", "resp_2"]) == {"resp_2"}


def test_who_is_silent_is_lost(store):
    for number in (1, 2):
        store.add(response(number, status="in_progress"))
    store.add(response(3))
    assert store.keep_alive(["resp_1", "resp_3", "resp_9"], 500) == {"resp_1"}
    assert [lost.response_id for lost in store.lost(500)] == ["resp_2"]
    assert store.lost(2) == []


def test_it_expires(store):
    store.add(response(1))
    store.add(response(2))
    store.expire(1000)
    assert store.get("acme", "resp_1") is not None
    store.expire(1001)
    assert store.get("acme", "resp_1") is None
    assert store.get("acme", "resp_2") is not None


@pytest.mark.parametrize("by", ["number", "bytes"])
def test_an_account_keeps_its_newest_and_another_all(database, by):
    each = response(10).bytes
    bounds = {"per_account_max": 32, "account_bytes_max": 10**6}
    if by == "bytes":
        bounds = {"per_account_max": 10**6, "account_bytes_max": 32 * each}
    store = ResponseStore(database, **bounds)
    store.add(response(0, account="other"))
    for number in range(10, 74):
        store.add(response(number))
        found = database.query("SELECT count(*) FROM response WHERE account = 'acme'")[0][0]
        assert found <= 32 + 2 * 32 // 16
    (numbers,) = zip(*database.query("SELECT created_ns FROM response"), strict=True)
    assert set(range(42, 74)) <= set(numbers)
    assert 0 in numbers
    assert min(set(numbers) - {0}) > 30


def test_another_process_brings_it_to_the_bounds_as_well(database):
    wide = ResponseStore(database, per_account_max=1000, account_bytes_max=10**6)
    for number in range(40):
        wide.add(response(number))
    ResponseStore(database, per_account_max=8, account_bytes_max=10**6).add(response(99))
    assert database.query("SELECT count(*) FROM response")[0][0] == 8
