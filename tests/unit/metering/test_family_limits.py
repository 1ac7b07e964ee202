"""A sub-key takes of its own limits and of its parent's, or of neither."""

from __future__ import annotations

import pytest

from metering.family_limits import SubKeyLimits, each_of, pools_of
from metering.limits import REFUSED, UNLIMITED, Limits, local_limiter
from metering.shared_limits import shared_limiter

NOW_NS = 10**18
PARENT = Limits(requests_per_minute=10, tokens_per_minute=1000, concurrent_requests=5)


def child(**own) -> SubKeyLimits:
    return SubKeyLimits(**own, parent_key_id="parent", parent=PARENT)


@pytest.fixture
def limiter():
    return local_limiter()


def taken(limiter, key_id: str, own: Limits, tokens: int = 1):
    """The pools and the slot of a request that is let through."""
    pools, slot = asked(limiter, key_id, own, tokens)
    assert slot != REFUSED
    return pools, slot


def refused(limiter, key_id: str, own: Limits, tokens: int = 1):
    """What a request is short of that is not."""
    pools, slot = asked(limiter, key_id, own, tokens)
    assert slot == REFUSED
    return pools.shortage(tokens, NOW_NS)


def asked(limiter, key_id: str, own: Limits, tokens: int):
    is_child = isinstance(own, SubKeyLimits)
    pools = pools_of(limiter, key_id, own) if is_child else limiter.of(key_id, own)
    return pools, pools.take(tokens, NOW_NS)


def test_all_sub_keys_together_have_what_their_parent_has(limiter):
    for number in range(5):
        taken(limiter, f"child-{number}", child(concurrent_requests=3))
    short = refused(limiter, "child-9", child(concurrent_requests=3))
    assert (short.kind, short.limit) == ("concurrency", 5)
    short = refused(limiter, "parent", PARENT)
    assert (short.kind, short.limit) == ("concurrency", 5)


def test_a_sub_keys_own_limit_holds_for_it_alone(limiter):
    taken(limiter, "a", child(requests_per_minute=1))
    short = refused(limiter, "a", child(requests_per_minute=1))
    assert (short.kind, short.limit) == ("requests", 1)
    taken(limiter, "b", child(requests_per_minute=1))


def test_a_refused_request_leaves_both_as_they_were(limiter):
    own = child(tokens_per_minute=2000)
    for _ in range(3):
        short = refused(limiter, "a", own, tokens=1500)
        assert (short.kind, short.limit) == ("tokens", 1000)
    assert [pools.own for pools in each_of(limiter, "a", own)] == [own, PARENT]
    for pools in each_of(limiter, "a", own):
        assert pools.take(1000, NOW_NS) != REFUSED


def test_what_ends_is_given_back_to_both(limiter):
    own = child(tokens_per_minute=1000, concurrent_requests=1)
    for _ in range(3):
        pools, slot = taken(limiter, "a", own, tokens=900)
        pools.settle(slot, 900, 0, 1)
    pools, slot = taken(limiter, "a", own, tokens=1000)
    pools.withdraw(slot, 1000)
    taken(limiter, "parent", PARENT, tokens=1000)


def test_a_family_without_limits_is_not_limited():
    own = SubKeyLimits(parent_key_id="parent", parent=UNLIMITED)
    assert pools_of(local_limiter(), "a", own) is None


def test_the_gateways_default_holds_for_the_family(limiter):
    limiter = local_limiter(Limits(concurrent_requests=1))
    own = SubKeyLimits(parent_key_id="parent", parent=UNLIMITED)
    taken(limiter, "a", own)
    assert refused(limiter, "b", own).limit == 1


def test_leased_limits_are_asked_for_each_by_itself():
    limiter = shared_limiter(UNLIMITED, set())
    pools = each_of(limiter, "a", child(requests_per_minute=5))
    assert set(limiter.keys) == {"a", "parent"}
    assert pools_of(limiter, "a", child(requests_per_minute=5)).take(1, NOW_NS) == REFUSED
    assert len(pools) == 2


def test_where_a_sub_key_stands_is_where_it_is_scarcer(limiter):
    taken(limiter, "a", child(requests_per_minute=4), tokens=300)
    taken(limiter, "b", child(requests_per_minute=4), tokens=300)
    pools = pools_of(limiter, "a", child(requests_per_minute=4))
    assert [(each.kind, each.limit, each.remaining) for each in pools.standings(NOW_NS)] == [
        ("requests", 4, 3),
        ("tokens", 1000, 400),
    ]


def test_nothing_is_told_of_a_shared_limit_before_its_pool_was_heard_of():
    limits = Limits(requests_per_minute=5)
    assert shared_limiter(UNLIMITED, set()).of("a", limits).standings(NOW_NS) == []
