"""The spool's place in a world without files: rows become durable when the test says so."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from enum import Enum
from pathlib import Path

from metering.charge import OpenCharges, Row
from metering.database import Database
from metering.keys import ApiKey, digest, key_id
from metering.limits import UNLIMITED, Limits
from metering.posting import whole_group
from metering.spool_file import SpoolError, decode_record, decode_rows, encode_record
from metering.spool_queue import OnDurable
from metering.transfer import Group

CREDIT_NANO_USD = 10**12
SECRET, LIMITED, POOR, REVOKED = "sk-good", "sk-limited", "sk-poor", "sk-revoked"
_SALT = b"saltsalt"
ACCOUNTS = {"acme": CREDIT_NANO_USD, "poor": 1_000}


class Durability(Enum):
    NOW = "now"
    """Whenever the loop is idle."""
    LATE = "late"
    """Whenever the order of events says."""
    NEVER = "never"
    """The disk fails at the first commit."""
    ONCE = "once"
    """It fails at the second."""

    @property
    def lasts(self) -> bool:
        """The disk does not fail."""
        return self in (Durability.NOW, Durability.LATE)


class MemorySpool:
    """A `Spool` for one thread. What it takes is put through the real codec, and what was closed
    through the real postings: a row that cannot be written or booked is found here.
    """

    def __init__(
        self, path: Path, *, rows_max: int = 0, kept_s: float = 0.0, kept_bytes_max: int = 0
    ) -> None:
        self.writer = path.name
        self.last_seq = 0
        self.grown = threading.Event()
        self.reset(Durability.NOW)

    def reset(self, durability: Durability) -> None:
        self.durability = durability
        self.failed: SpoolError | None = None
        self.rows: list[Row] = []
        self._waiting: list[tuple[Row, OnDurable | None]] = []

    full = False
    backlog = 0

    def append(self, row: Row, on_durable: OnDurable | None = None) -> None:
        self._waiting.append((row, on_durable))

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def commit(self) -> list[tuple[OnDurable, SpoolError | None]]:
        """Make what was appended durable, or fail to; returns whom to tell what."""
        waiting, self._waiting = self._waiting, []
        rows = [row for row, _ in waiting]
        first = not self.rows
        if self.durability is Durability.NEVER or (
            self.durability is Durability.ONCE and not first
        ):
            self.failed = SpoolError("the disk is full")
        else:
            record = decode_record(encode_record(_SALT, len(self.rows) + 1, rows), _SALT)
            assert record is not None
            self.rows += decode_rows(record.body)
        return [(tell, self.failed) for _, tell in waiting if tell is not None]

    def booked(self) -> tuple[list[Group], OpenCharges]:
        """What the poster would book of these rows, and what is open after them."""
        charges, groups = OpenCharges(), []
        for row in self.rows:
            opened = charges.take(row)
            if opened is not None and row is not opened:
                groups.append(whole_group(opened, row))  # type: ignore[arg-type]
        return groups, charges


class MemoryPoster:
    """A `Poster` whose ledger never has news."""

    failed = None
    lag_seconds = 0.0

    def __init__(self, spool: MemorySpool, *_: object) -> None:
        self._spool = spool

    def refresh(self, account: str) -> Future[None]:
        told: Future[None] = Future()
        told.set_result(None)
        return told


class FixedKeys:
    """A `KeySource`."""

    def __init__(self, database: Database) -> None:
        """A key store is in the ledger's database; this one is not."""

    def version(self) -> int:
        return 1

    def load_all(self) -> list[ApiKey]:
        few = Limits(requests_per_minute=3, tokens_per_minute=5000, concurrent_requests=1)
        return [
            _key(SECRET, "acme"),
            _key(LIMITED, "acme", limits=few),
            _key(POOR, "poor"),
            _key(REVOKED, "acme", revoked_ns=1),
        ]


def _key(
    secret: str, account: str, *, limits: Limits = UNLIMITED, revoked_ns: int | None = None
) -> ApiKey:
    hashed = digest(secret)
    return ApiKey(
        key_id=key_id(hashed),
        account=account,
        name=secret,
        digest=hashed,
        created_ns=1,
        revoked_ns=revoked_ns,
        limits=limits,
    )
