"""Shows that a certificate is of the node that names it: its key signs the node's own.

A door shows its certificate to whoever knocks, so anybody could name another's door as his own, and
be paid for what is served there. Pure.
"""

from __future__ import annotations

import base64
import binascii

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

_ALGORITHM = ec.ECDSA(SHA256())


class PossessionError(ValueError):
    """The certificate is none, or not of the node that names it."""


def prove(identity: bytes, public_key: str) -> str:
    """`identity` is PEM with the certificate's key, `public_key` the node's name of its own."""
    key = load_pem_private_key(identity, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "doors' keys are made here, of this kind"
    return base64.b64encode(key.sign(_claim(public_key), _ALGORITHM)).decode()


def check(certificate: str, proof: str, public_key: str) -> None:
    """Raises PossessionError."""
    try:
        (named,) = x509.load_pem_x509_certificates(certificate.encode())
        key = named.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise PossessionError("`certificate` must be a certificate in PEM, and one") from None
    if certificate != named.public_bytes(Encoding.PEM).decode():
        raise PossessionError("`certificate` must be PEM as OpenSSL writes it, and nothing else")
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise PossessionError("`certificate` must be of an elliptic curve's key")
    try:
        key.verify(base64.b64decode(proof, validate=True), _claim(public_key), _ALGORITHM)
    except (InvalidSignature, binascii.Error, ValueError):
        raise PossessionError(
            "`certificate_proof` does not show that the certificate is of this node: sign its "
            "present key with the certificate's"
        ) from None


def _claim(public_key: str) -> bytes:
    return b"tollgate-node: this certificate is of " + public_key.encode()
