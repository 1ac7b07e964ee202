"""Files in the ledger's database: whose they are, what for and until when."""

from __future__ import annotations

from typing import Any

import msgspec

from metering.database import Database, Session

PURPOSE_INPUT = "batch"
PURPOSE_OUTPUT = "batch_output"
UNFINISHED = "('validating', 'in_progress', 'finalizing', 'cancelling')"
"""SQL: the states in which a batch needs its input file."""

_IN_USE = f"SELECT batch_id FROM batch WHERE input_file_id = ? AND status IN {UNFINISHED} LIMIT 1"


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    file_id: str
    account: str
    purpose: str
    filename: str
    bytes: int
    created_ns: int
    expires_ns: int


class FilesFullError(ValueError):
    """The account has more in its files than it may."""


class FileInUseError(ValueError):
    """A batch that is not over reads the file."""


_COLUMNS = ", ".join(StoredFile.__struct_fields__)
_PLACES = ", ".join("?" * len(StoredFile.__struct_fields__))


class FileStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, file: StoredFile, account_bytes_max: int) -> None:
        """Raises FilesFullError."""
        with self._database.transaction() as session:
            held = _held_bytes(session, file.account)
            if held + file.bytes > account_bytes_max:
                raise FilesFullError(
                    f"account '{file.account}' has {held} bytes in its files; with this one it "
                    f"would be more than {account_bytes_max}, the most kept here: delete some"
                )
            add_file(session, file)

    def get(self, account: str, file_id: str) -> StoredFile | None:
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM file WHERE file_id = ? AND account = ?", file_id, account
        )
        return _file(rows[0]) if rows else None

    def page(
        self,
        account: str,
        *,
        purpose: str | None,
        after: StoredFile | None,
        newest_first: bool,
        limit: int,
    ) -> list[StoredFile]:
        """Files by the time they were made, those behind the one given."""
        order, beyond = ("DESC", "<") if newest_first else ("ASC", ">")
        where, values = "account = ?", [account]
        if purpose is not None:
            where += " AND purpose = ?"
            values.append(purpose)
        place: tuple[object, ...] = ()
        if after is not None:
            where += f" AND (created_ns, file_id) {beyond} (?, ?)"
            place = (after.created_ns, after.file_id)
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM file WHERE {where}"
            f" ORDER BY created_ns {order}, file_id {order} LIMIT ?",
            *values,
            *place,
            limit,
        )
        return [_file(row) for row in rows]

    def delete(self, account: str, file_id: str) -> None:
        """Of one that is not there, nothing. Raises FileInUseError."""
        with self._database.transaction() as session:
            if found := session.query(_IN_USE, file_id):
                raise FileInUseError(
                    f"file '{file_id}' is the input of {found[0][0]}, which is not over: wait for "
                    "its end, or cancel it"
                )
            session.query("DELETE FROM file WHERE file_id = ? AND account = ?", file_id, account)

    def delete_expired(self, now_ns: int, limit: int) -> list[str]:
        """The ids of those whose time is over, which are no more; not of those in use."""
        with self._database.transaction() as session:
            rows = session.query(
                "DELETE FROM file WHERE file_id IN (SELECT file_id FROM file WHERE expires_ns <= ?"
                " AND file_id NOT IN (SELECT input_file_id FROM batch WHERE status IN"
                f" {UNFINISHED}) ORDER BY expires_ns LIMIT ?) RETURNING file_id",
                now_ns,
                limit,
            )
        return [file_id for (file_id,) in rows]


def add_file(session: Session, file: StoredFile) -> None:
    """In a transaction of the caller's. One that is there already changes nothing."""
    session.query(
        f"INSERT INTO file ({_COLUMNS}) VALUES ({_PLACES}) ON CONFLICT (file_id) DO NOTHING",
        *msgspec.structs.astuple(file),
    )


def _held_bytes(session: Session, account: str) -> int:
    rows = session.query(
        "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM file WHERE account = ?", account
    )
    return int(rows[0][0])


def _file(row: tuple[Any, ...]) -> StoredFile:
    return StoredFile(**dict(zip(StoredFile.__struct_fields__, row, strict=True)))
