"""A node's signature proves what it says, and nothing once a byte of it is another."""

from __future__ import annotations

import base64
import multiprocessing.pool
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.enrolment.counter import RESERVED, Counter
from serving.enrolment.key_files import KeyFileError, certificate, node_key
from serving.enrolment.messages import Enrol, Lease, MessageError, decode
from serving.enrolment.signature import (
    AGE_S_MAX,
    SignatureRefusedError,
    check_new_key,
    new_key_proof,
    public_name,
    sign,
    verify,
)

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
NOW_S = 1_800_000_000
SAID = {"method": "POST", "authority": "gw.example", "path": "/nodes/v1/lease", "body": b'{"a": 1}'}


def signed(**changes) -> dict[str, str]:
    key = changes.pop("key", KEY)
    return sign(key, **{**SAID, "created_s": NOW_S, "counter": 7, **changes})


def heard(headers, now_s=NOW_S, **changes):
    return verify(headers, now_s=now_s, **{**SAID, **changes})


def test_it_tells_whose_it_is_and_its_counter():
    proved = heard(signed())
    assert (proved.public_key, proved.counter) == (public_name(KEY.public_key()), 7)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "GET"}, "forged"),
        ({"authority": "other.example"}, "forged"),
        ({"path": "/nodes/v1/rotate"}, "forged"),
        ({"body": b'{"a": 2}'}, "digest"),
        ({"now_s": NOW_S + AGE_S_MAX + 1}, "expired"),
        ({"now_s": NOW_S - AGE_S_MAX - 1}, "expired"),
    ],
)
def test_it_is_good_for_nothing_else(changes, reason):
    with pytest.raises(SignatureRefusedError) as refused:
        heard(signed(), **changes)
    assert refused.value.reason == reason


def test_a_key_cannot_be_claimed_by_whoever_has_another():
    headers = signed(key=OTHER)
    claimed = headers["signature-input"].replace(
        public_name(OTHER.public_key()), public_name(KEY.public_key())
    )
    with pytest.raises(SignatureRefusedError, match="not of this message and this key"):
        heard({**headers, "signature-input": claimed})


def test_a_counter_or_a_time_cannot_be_changed():
    headers = signed()
    for before, after in (('nonce="7"', 'nonce="8"'), (str(NOW_S), str(NOW_S + 1))):
        changed = headers["signature-input"].replace(before, after)
        with pytest.raises(SignatureRefusedError, match="not of this message"):
            heard({**headers, "signature-input": changed})


@pytest.mark.parametrize("name", ["content-digest", "signature-input", "signature"])
def test_none_of_its_headers_may_be_missing(name):
    headers = signed()
    del headers[name]
    with pytest.raises(SignatureRefusedError):
        heard(headers)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_byte_of_it_may_be_another(data):
    headers = signed()
    name = data.draw(st.sampled_from(sorted(headers)))
    text = headers[name]
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="latin-1"))
    changed = text[:place] + other + text[place + 1 :]
    if changed == text or _same_bytes(name, changed, text):
        return
    with pytest.raises(SignatureRefusedError):
        heard({**headers, name: changed})


def _same_bytes(name: str, one: str, another: str) -> bool:
    """The last letter of base64 before `==` holds four bits that mean nothing."""
    if name != "signature":
        return False
    try:
        return base64.b64decode(one[6:-1], validate=True) == base64.b64decode(another[6:-1])
    except ValueError:
        return False


def test_a_new_key_must_have_signed_that_it_replaces_the_old():
    old, new = public_name(KEY.public_key()), public_name(OTHER.public_key())
    check_new_key(new, new_key_proof(OTHER, old), old)
    for proof in (new_key_proof(KEY, old), new_key_proof(OTHER, new), "", "AAAA"):
        with pytest.raises(SignatureRefusedError):
            check_new_key(new, proof, old)


def test_counters_only_grow_whatever_the_clock_does(tmp_path):
    path = tmp_path / "counter"
    first = Counter(path, now_us=1000)
    taken = [first.take() for _ in range(RESERVED + 2)]
    assert taken == sorted(set(taken))
    again = Counter(path, now_us=0)  # the clock was set back, the process killed
    assert again.take() > taken[-1]


@pytest.mark.parametrize("damaged", ["", "1x"])
def test_a_damaged_counter_begins_anew(tmp_path, damaged):
    path = tmp_path / "counter"
    path.write_text(damaged)
    assert Counter(path, now_us=1000).take() == 1000
    assert Counter(path, now_us=0).take() == 1000 + RESERVED


def test_processes_that_make_a_key_at_once_have_the_same(tmp_path):
    path = tmp_path / "identity.pem"
    begun = threading.Barrier(4)

    def made(_: int) -> str:
        begun.wait()
        return certificate(path, "any")

    with multiprocessing.pool.ThreadPool(4) as pool:
        assert len(set(pool.map(made, range(4)))) == 1


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "home" / "node_key"
    made = node_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert public_name(node_key(path).public_key()) == public_name(made.public_key())
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="others may read"):
        node_key(path)
    path.chmod(0o600)
    path.write_text("nonsense")
    with pytest.raises(KeyFileError, match="no private key"):
        node_key(path)


LEASE = b'{"state": "ready", "url": "https://n:1", "model": "m", "capacity": 4, %s}'


@pytest.mark.parametrize(
    "field", ["supplier_id", "tier", "region", "gpu", "price_ppm", "owner", "node_id"]
)
def test_what_the_operator_decides_is_refused_by_name(field):
    with pytest.raises(MessageError, match=f"`{field}` is not the node's to write"):
        decode(Lease, LEASE % f'"{field}": "mine"'.encode())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b'{"invitation": 3}', b'{"invitation": "short"}']
)
def test_what_is_no_message_is_told(body):
    with pytest.raises(MessageError):
        decode(Enrol, body)
