"""Sub-keys stay within the key that made them."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import asdict

from metering.cycle import Cycle
from metering.family_limits import SubKeyLimits
from metering.key_bounds import by_digest, check_within
from metering.keys import NO_TERMS, ApiKey, KeyTerms, KeyTermsError
from metering.limits import Limits


def api_key(name: str, **fields) -> ApiKey:
    return ApiKey(
        key_id=name, account="acme", name=name, digest=name.encode(), created_ns=5, **fields
    )


PARENT = api_key(
    "parent",
    models=("a", "b"),
    spend_cap_nano_usd=100,
    spend_cycle=Cycle.DAILY,
    expires_ns=1000,
    limits=Limits(requests_per_minute=60, tokens_per_minute=1000),
    manages_keys=True,
)


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"models": ("a", "c", "d")}, "may not use c, d"),
        ({"spend_cap_nano_usd": 101}, "spend_cap_nano_usd: 101 is beyond 100"),
        ({"expires_ns": 1001}, "expires_ns: 1001 is beyond 1000"),
        ({"limits": Limits(requests_per_minute=61)}, "requests_per_minute: 61 is beyond 60"),
        ({"limits": Limits(tokens_per_minute=1001)}, "tokens_per_minute: 1001 is beyond 1000"),
        ({"manages_keys": True}, "cannot make keys"),
    ],
)
def test_what_the_parent_may_not_do_is_refused(terms, reason):
    with pytest.raises(KeyTermsError, match=reason):
        check_within(KeyTerms(**terms), PARENT)


@pytest.mark.parametrize(
    "terms",
    [
        NO_TERMS,
        KeyTerms(
            models=("b",),
            spend_cap_nano_usd=100,
            expires_ns=1000,
            limits=Limits(requests_per_minute=60, concurrent_requests=7),
        ),
    ],
)
def test_what_the_parent_may_do_is_granted(terms):
    check_within(terms, PARENT)


def test_a_parent_without_bounds_sets_none():
    check_within(KeyTerms(models=("z",), spend_cap_nano_usd=2**62), api_key("free"))


def loaded(*keys: ApiKey) -> dict[str, ApiKey]:
    return {digest.decode(): key for digest, key in by_digest(keys).items()}


def test_a_sub_key_that_says_nothing_has_its_parents_bounds():
    child = loaded(PARENT, api_key("child", parent_key_id="parent"))["child"]
    assert child.models == ("a", "b")
    assert child.expires_ns == 1000
    assert child.limits == SubKeyLimits(
        **asdict(PARENT.limits), parent_key_id="parent", parent=PARENT.limits
    )
    assert child.spend_cap_nano_usd is None
    assert child.revoked_ns is None


def test_a_parent_that_was_narrowed_later_narrows_its_sub_keys():
    child = api_key(
        "child",
        parent_key_id="parent",
        models=("a", "c"),
        expires_ns=2000,
        limits=Limits(requests_per_minute=100, concurrent_requests=3),
    )
    child = loaded(child, PARENT)["child"]
    assert child.models == ("a",)
    assert child.expires_ns == 1000
    assert child.limits == SubKeyLimits(
        requests_per_minute=60,
        tokens_per_minute=1000,
        concurrent_requests=3,
        parent_key_id="parent",
        parent=PARENT.limits,
    )


def test_a_sub_key_without_a_model_left_may_use_none():
    child = api_key("child", parent_key_id="parent", models=("z",))
    assert loaded(PARENT, child)["child"].models == ()


@pytest.mark.parametrize("revoked_ns", [7, None])
def test_a_revoked_parent_revokes(revoked_ns):
    parent = msgspec.structs.replace(PARENT, revoked_ns=6)
    child = api_key("child", parent_key_id="parent", revoked_ns=revoked_ns)
    assert loaded(parent, child)["child"].revoked_ns == 6


def test_a_sub_key_whose_parent_is_gone_is_revoked():
    assert loaded(api_key("child", parent_key_id="gone"))["child"].revoked_ns is not None


@pytest.mark.parametrize(("expires_ns", "old_secret_ends_ns"), [(None, 50), (40, 40), (60, 50)])
def test_the_secret_before_a_rotation_opens_the_same_key_until_its_grace_ends(
    expires_ns, old_secret_ends_ns
):
    key = api_key("k", previous_digest=b"old", previous_until_ns=50, expires_ns=expires_ns)
    found = loaded(key)
    assert found["k"] == key
    assert found["old"].key_id == "k"
    assert found["old"].expires_ns == old_secret_ends_ns
