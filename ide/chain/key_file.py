"""A Solana key pair in a file, as Solana's own tools write it. Edge: the file system."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
from solders.keypair import Keypair

from ide.chain.chain import ChainError

_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_key(path: Path) -> Keypair:
    """Raises ChainError, also if anybody but the file's owner may do anything with it."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_mode & _OPEN_TO_OTHERS:
                raise ChainError(
                    f"key file {path} is open to others (mode {stat.S_IMODE(found.st_mode):04o}):"
                    f" whoever reads it can spend the vault. Run: chmod 600 {path}"
                )
            raw = msgspec.json.decode(file.read(), type=list[int])
            return Keypair.from_bytes(bytes(raw))
    except OSError as error:
        raise ChainError(f"key file {path}: {error.strerror}") from None
    except ValueError:  # msgspec's, that of bytes(), and that of a pair that does not match
        raise ChainError(
            f"key file {path} holds no key pair: a JSON array of 64 numbers, as solana-keygen"
            " writes it"
        ) from None


def make_key(path: Path) -> Keypair:
    """A new key pair in a new file that only its owner can read. Raises ChainError."""
    key = Keypair()
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(file, "wb") as opened:
            opened.write(msgspec.json.encode(list(bytes(key))))
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        raise ChainError(f"key file {path}: {error.strerror}") from None
    return key
