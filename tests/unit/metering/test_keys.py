"""Keys: secret once, hash ever after."""

from __future__ import annotations

import hashlib

import pytest

from metering import keys
from metering.cycle import Cycle
from metering.keys import KeyTerms, KeyTermsError


def test_a_secret_carries_all_of_its_entropy_and_its_prefix():
    secret = keys.new_secret(bytes(range(32)))
    assert secret == "sk-tg-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert keys.digest(secret) == hashlib.sha256(secret.encode()).digest()
    assert keys.key_id(bytes(range(32))) == "key_0001020304050607"


def test_a_secret_of_too_little_entropy_is_refused():
    with pytest.raises(ValueError, match="32 random bytes"):
        keys.new_secret(b"short")


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
