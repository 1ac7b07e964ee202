"""Keys that are made where they are used and never leave: files that only their owner may read."""

from __future__ import annotations

import contextlib
import datetime
import os
import stat
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

CERTIFICATE_YEARS = 20
"""Who trusts it trusts this very one; it is renewed by making another."""


class KeyFileError(ValueError):
    """The file holds no key of the kind, or others may read it."""


def node_key(path: Path) -> Ed25519PrivateKey:
    """The key in this file; one is made if there is no file. Raises KeyFileError and OSError."""
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        _make(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    text = _read_secret(path)
    try:
        key = load_pem_private_key(text, None)
    except ValueError:
        raise KeyFileError(f"{path} holds no private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds a key of another kind than Ed25519")
    return key


def certificate(path: Path, name: str) -> str:
    """The PEM certificate out of the file, whose key is in there too; both are made if there is no
    file. Raises KeyFileError and OSError.
    """
    if not path.exists():
        _make(path, _self_signed(name))
    text = _read_secret(path)
    try:
        return x509.load_pem_x509_certificate(text).public_bytes(Encoding.PEM).decode()
    except ValueError:
        raise KeyFileError(f"{path} holds no certificate in PEM") from None


def write_secret(path: Path, content: bytes) -> None:
    """Whole or not at all, and for nobody else to read."""
    _written(path, content).replace(path)


def _make(path: Path, content: bytes) -> None:
    """As `write_secret`; a file that another process made meanwhile stays, and is the one."""
    fresh = _written(path, content)
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(fresh)
    fresh.unlink()


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(prefix=f"{path.name}.new-", dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(fresh)


def _read_secret(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise KeyFileError(f"others may read {path}: `chmod 600` it, or make another key")
        return file.read()


def _self_signed(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * CERTIFICATE_YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + made.public_bytes(Encoding.PEM)
