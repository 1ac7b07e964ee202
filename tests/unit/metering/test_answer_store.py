"""Answers kept under an Idempotency-Key, in a database of either kind."""

from __future__ import annotations

import contextlib

import pytest

from metering.answer_store import (
    ANSWER_BYTES_MAX,
    KEPT_NS,
    RUNNING_NS,
    AnswerStore,
    Claim,
    ClaimState,
    KeptAnswer,
)
from metering.backend import open_database

ANSWER = KeptAnswer(request_id="req_1", content_type="application/json", body=b"\x00{}")


@pytest.fixture
def store(where):
    with contextlib.closing(open_database(where)) as database:
        yield AnswerStore(database, answers_max=3, account_bytes_max=100)


def claim(store: AnswerStore, key: str = "k", body: bytes = b"a", **more) -> Claim:
    fields = {"account": "acme", "writer": "w", "now_ns": 1} | more
    return store.claim(fields["account"], key, body, fields["writer"], fields["now_ns"])


def test_the_first_claims_and_the_next_gets_its_answer(store):
    assert claim(store) == Claim(ClaimState.CLAIMED)
    assert claim(store) == Claim(ClaimState.RUNNING)
    store.keep("acme", "k", ANSWER)
    assert claim(store) == Claim(ClaimState.KEPT, ANSWER)
    assert claim(store, body=b"other").state is ClaimState.OTHER_BODY
    assert claim(store, account="globex").state is ClaimState.CLAIMED


def test_what_cost_nothing_or_died_with_its_gateway_is_claimed_anew(store):
    claim(store)
    store.release("acme", "k")
    assert claim(store).state is ClaimState.CLAIMED
    store.release_all("another")
    assert claim(store).state is ClaimState.RUNNING
    store.release_all("w")
    assert claim(store).state is ClaimState.CLAIMED
    assert claim(store, now_ns=RUNNING_NS + 2).state is ClaimState.CLAIMED


def test_an_answer_is_neither_released_nor_kept_beyond_a_day(store):
    claim(store)
    store.keep("acme", "k", ANSWER)
    store.release("acme", "k")
    store.release_all("w")
    assert claim(store, now_ns=KEPT_NS + 1).state is ClaimState.KEPT
    assert claim(store, now_ns=KEPT_NS + 2).state is ClaimState.CLAIMED
    store.forget(3 * KEPT_NS)
    assert claim(store).state is ClaimState.CLAIMED


def test_what_could_not_be_charged_is_withdrawn(store):
    claim(store)
    store.keep("acme", "k", ANSWER)
    store.withdraw("acme", "k")
    assert claim(store).state is ClaimState.CLAIMED


def test_an_account_keeps_so_many_answers_and_so_many_bytes(store):
    assert [claim(store, str(n)).state for n in range(4)] == [ClaimState.CLAIMED] * 3 + [
        ClaimState.FULL
    ]
    claim(store, "x", account="globex")
    store.keep("globex", "x", KeptAnswer(request_id="r", content_type="t", body=bytes(100)))
    assert claim(store, "y", account="globex").state is ClaimState.FULL


def test_an_answer_too_large_to_keep_is_not_made_again(store):
    claim(store)
    store.keep(
        "acme", "k", KeptAnswer(request_id="r", content_type="t", body=bytes(ANSWER_BYTES_MAX + 1))
    )
    assert claim(store).state is ClaimState.TOO_LARGE
