"""A node's signature over one HTTP request: HTTP Message Signatures, one fixed form of them.

https://www.rfc-editor.org/rfc/rfc9421 and, for the body's digest, https://www.rfc-editor.org/rfc/rfc9530.
What is signed: the method, the gateway's name, the path, the digest of the body, when it was made,
and a counter that only grows. So a message is worth nothing at another gateway, on another path,
with another body, too late, a second time, or behind one that came after it; and whose it is
follows from the key that verifies it, from nothing that anybody claims.

Only this very form is read: a parser that takes less has less to be wrong about. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

AGE_S_MAX = 60
"""How far a message's time may be from the gateway's clock, either way."""
COUNTER_MAX = 2**63 - 1

_COVERED = '("@method" "@authority" "@path" "content-digest")'
_INPUT = re.compile(
    re.escape(f"node={_COVERED}") + r';created=(\d{1,12});nonce="(\d{1,19})"'
    r';keyid="([A-Za-z0-9_-]{43})";alg="ed25519";tag="tollgate-node"'
)
_SIGNATURE = re.compile(r"node=:([A-Za-z0-9+/]{86}==):")


class SignatureRefusedError(ValueError):
    """The message proves nothing. `reason` is a word for counters, the text is for its sender."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """What a good signature proves."""

    public_key: str
    """43 characters of base64url: the 32 bytes of an Ed25519 key."""
    counter: int
    """Larger than that of each message before, says its sender; the gateway has to look."""


def public_name(key: Ed25519PublicKey) -> str:
    """The key's 32 bytes as 43 characters of base64url."""
    return base64.urlsafe_b64encode(key.public_bytes_raw()).decode().rstrip("=")


def sign(
    key: Ed25519PrivateKey,
    *,
    method: str,
    authority: str,
    path: str,
    body: bytes,
    created_s: int,
    counter: int,
) -> dict[str, str]:
    """The three headers that make a request the node's own. `authority` is the gateway's name as
    its operator configured it: `host`, or `host:port`.
    """
    digest = _digest(body)
    params = (
        f'{_COVERED};created={created_s};nonce="{counter}"'
        f';keyid="{public_name(key.public_key())}";alg="ed25519";tag="tollgate-node"'
    )
    proof = key.sign(_base(method, authority, path, digest, params))
    return {
        "content-digest": digest,
        "signature-input": f"node={params}",
        "signature": f"node=:{base64.b64encode(proof).decode()}:",
    }


def verify(
    headers: Mapping[str, str],
    *,
    method: str,
    authority: str,
    path: str,
    body: bytes,
    now_s: int,
) -> Signed:
    """Whose message it is. `headers` by lower-case name; `authority` is the gateway's own.

    Raises SignatureRefusedError.
    """
    given = _INPUT.fullmatch(headers.get("signature-input", ""))
    if given is None:
        raise SignatureRefusedError(
            "unsigned",
            "the message is not signed as a node's are: `signature-input` is missing or has "
            "another form",
        )
    proof = _SIGNATURE.fullmatch(headers.get("signature", ""))
    if proof is None:
        raise SignatureRefusedError("unsigned", "`signature` is missing or has another form")
    digest = headers.get("content-digest", "")
    if not hmac.compare_digest(digest.encode(), _digest(body).encode()):
        raise SignatureRefusedError(
            "digest", "`content-digest` is not the SHA-256 of the body: the body was changed"
        )
    created_s, counter, name = int(given[1]), int(given[2]), given[3]
    params = headers["signature-input"].removeprefix("node=")
    if not _proves(name, proof[1], _base(method, authority, path, digest, params)):
        raise SignatureRefusedError(
            "forged",
            f"the signature is not of this message and this key; messages to this gateway are "
            f"signed for '{authority}'",
        )
    if abs(now_s - created_s) > AGE_S_MAX:
        raise SignatureRefusedError(
            "expired",
            f"the message was made at {created_s} and it is {now_s} here, more than {AGE_S_MAX} s "
            "apart: set the node's clock, by NTP",
        )
    if counter > COUNTER_MAX:
        raise SignatureRefusedError("unsigned", "the counter is beyond 2^63 - 1")
    return Signed(public_key=name, counter=counter)


def new_key_proof(new: Ed25519PrivateKey, old_public_key: str) -> str:
    """Shows whoever replaces a key by this one to hold it."""
    return base64.b64encode(new.sign(_succession(old_public_key))).decode()


def check_new_key(new_public_key: str, proof: str, old_public_key: str) -> None:
    """Raises SignatureRefusedError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", new_public_key) or not _proves(
        new_public_key, proof, _succession(old_public_key)
    ):
        raise SignatureRefusedError("forged", "the new key did not sign that it replaces the old")


def _succession(old_public_key: str) -> bytes:
    return b"tollgate-node: this key replaces " + old_public_key.encode()


def _proves(public_key: str, proof: str, message: bytes) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(public_key + "="))
        key.verify(base64.b64decode(proof, validate=True), message)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _digest(body: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def _base(method: str, authority: str, path: str, digest: str, params: str) -> bytes:
    return (
        f'"@method": {method}\n"@authority": {authority}\n"@path": {path}\n'
        f'"content-digest": {digest}\n"@signature-params": {params}'
    ).encode()
