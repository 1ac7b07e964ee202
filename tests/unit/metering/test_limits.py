"""Limits of keys: whose they are, what is short first, and how long it takes."""

from __future__ import annotations

import pytest

from metering.limits import (
    REFUSED,
    UNLIMITED,
    KeyLimits,
    LimitKind,
    Limits,
    Shortage,
    local_limiter,
)
from metering.shared_limits import SharedKeyLimits

S = 1_000_000_000


def key_with(**limits) -> KeyLimits:
    return KeyLimits(Limits(**limits), Limits(**limits))


def test_a_limit_that_refuses_everything_is_refused():
    with pytest.raises(ValueError, match="tokens_per_minute is 0"):
        Limits(tokens_per_minute=0)


def refused(key: KeyLimits, tokens: int, now_ns: int) -> Shortage:
    assert key.take(tokens, now_ns) == REFUSED
    return key.shortage(tokens, now_ns)


def test_a_key_without_limits_has_the_default_ones():
    limiter = local_limiter(Limits(requests_per_minute=1))
    key = limiter.of("key_1", UNLIMITED)
    assert key.take(5, 0) == 0
    assert refused(key, 5, 0).kind is LimitKind.REQUESTS
    own = limiter.of("key_2", Limits(requests_per_minute=2, tokens_per_minute=9))
    assert own.take(5, 0) == 0
    assert refused(own, 5, 0).kind is LimitKind.TOKENS
    assert local_limiter().of("key_1", UNLIMITED) is None
    assert local_limiter().of("key_1", Limits()) is None


def test_a_key_keeps_its_count_until_its_limits_are_changed():
    limiter = local_limiter()
    first = limiter.of("key_1", Limits(requests_per_minute=1))
    assert limiter.of("key_1", Limits(requests_per_minute=1)) is first
    assert limiter.of("key_2", Limits(requests_per_minute=1)) is not first
    assert limiter.of("key_1", Limits(requests_per_minute=2)) is not first


def test_a_refusal_takes_of_no_limit():
    key = key_with(requests_per_minute=2, tokens_per_minute=10, concurrent_requests=2)
    assert key.take(11, 0) == REFUSED
    slot = key.take(10, 0)
    assert key.take(1, 0) == REFUSED
    key.settle(slot, 10, 4, S)
    assert key.take(6, 0) == 0
    short = refused(key, 0, 0)
    assert (short.kind, short.free, short.limit) == (LimitKind.REQUESTS, 0, 2)


def test_what_is_short_for_the_longest_is_named():
    key = key_with(requests_per_minute=1, tokens_per_minute=10)
    key.take(4, 0)
    assert refused(key, 11, 0).kind is LimitKind.TOKENS
    assert refused(key, 11, 0).wait_ns is None
    assert refused(key, 4, 0).kind is LimitKind.REQUESTS


def test_the_wait_is_until_enough_left_the_window():
    key = key_with(tokens_per_minute=10)
    key.take(4, 0)
    key.take(4, 30 * S)
    assert refused(key, 6, 40 * S).wait_ns == 21 * S
    assert refused(key, 7, 40 * S).wait_ns == 51 * S
    assert refused(key, 7, 40 * S).reset_ns == 51 * S
    assert key.take(6, 61 * S) == 61


def test_the_wait_for_a_place_is_learnt_from_how_long_places_are_held():
    key = key_with(concurrent_requests=2)
    for _ in range(60):
        key.settle(key.take(0, 0), 0, 0, 8 * S)
    key.take(0, 0)
    key.take(0, 0)
    assert 7 * S // 2 < refused(key, 0, 0).wait_ns <= 4 * S


@pytest.mark.parametrize("shared", [False, True])
def test_while_nothing_is_known_of_places_nobody_is_told_to_come_at_once(shared):
    """SDKs try twice more, after as long as they are told: in no time, and that was all."""
    if shared:
        limits = Limits(concurrent_requests=2)
        wait_ns = SharedKeyLimits("key", Limits(), limits, set()).shortage(0, 0).wait_ns
    else:
        key = key_with(concurrent_requests=2)
        key.take(0, 0)
        key.take(0, 0)
        wait_ns = refused(key, 0, 0).wait_ns
    assert wait_ns == S // 2


def test_what_is_given_back_after_its_minute_counts_nowhere():
    key = key_with(requests_per_minute=2, tokens_per_minute=10)
    slot = key.take(10, 0)
    assert key.take(10, 61 * S) == 61
    key.settle(slot, 10, 0, S)
    assert refused(key, 1, 62 * S).free == 0


def test_more_used_than_taken_counts_too():
    key = key_with(tokens_per_minute=10)
    key.settle(key.take(5, 0), 5, 12, S)
    assert refused(key, 1, 2 * S).free == -2


def test_where_a_key_stands_is_what_may_still_be_taken_and_when_all_may():
    key = key_with(requests_per_minute=3, tokens_per_minute=100)
    assert [(each.kind, each.remaining, each.reset_ns) for each in key.standings(0)] == [
        (LimitKind.REQUESTS, 3, 0),
        (LimitKind.TOKENS, 100, 0),
    ]
    slot = key.take(40, S // 2)
    assert [(each.remaining, each.reset_ns) for each in key.standings(S // 2)] == [
        (2, 60 * S + S // 2),
        (60, 60 * S + S // 2),
    ]
    key.settle(slot, 40, 0, S)
    key.take(7, 5 * S)
    requests, tokens = key.standings(30 * S)
    assert (requests.remaining, requests.reset_ns) == (1, 36 * S)
    assert (tokens.remaining, tokens.reset_ns) == (93, 36 * S), "what was given back waits for none"
    requests, tokens = key.standings(66 * S)
    assert (requests.remaining, requests.reset_ns) == (3, 0)
    assert key_with(concurrent_requests=1).standings(0) == []


def test_nothing_is_left_of_a_limit_that_was_passed():
    key = key_with(tokens_per_minute=100)
    key.settle(key.take(90, 0), 90, 130, S)
    assert [each.remaining for each in key.standings(0)] == [0]
