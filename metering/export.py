"""The books as text that others can read and check: CSV, or JSON lines. Pure.

`docs/ledger.md` describes both, with a checker that needs nothing of ours. Rows come and go one at
a time, so a ledger of any length is written in constant memory.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import msgspec

from metering.charge import ChargeRecord
from metering.ledger import AccountBalance, BookedTransfer, EpochRow
from metering.transfer import Transfer

TRANSFER_COLUMNS = ("seq", "booked_ns", "writer", "hash", *Transfer.__struct_fields__)
CHARGE_COLUMNS = ("seq", "booked_ns", *ChargeRecord.__struct_fields__)
ACCOUNT_COLUMNS = (
    "account",
    "debits_pending",
    "debits_posted",
    "credits_pending",
    "credits_posted",
)
EPOCH_COLUMNS = EpochRow.__struct_fields__

Row = Sequence[object]


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


def csv_lines(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """A head, then a line for each row. What is not there is an empty field."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    write(columns)
    for row in rows:
        yield _taken(text)
        write(row)
    yield _taken(text)


def json_lines(objects: Iterable[object]) -> Iterator[str]:
    encode = msgspec.json.Encoder().encode
    for each in objects:
        yield encode(each).decode() + "\n"


def transfer_row(row: BookedTransfer) -> Row:
    """Of TRANSFER_COLUMNS."""
    facts = msgspec.structs.astuple(row.transfer)
    return (row.seq, row.booked_ns, row.writer, row.hash.hex(), *facts)


def transfer_object(row: BookedTransfer) -> dict[str, object]:
    """All that the hash covers, in the order in which it does."""
    return {
        "seq": row.seq,
        "booked_ns": row.booked_ns,
        "transfer": row.transfer,
        "settles": row.settles,
        "writer": row.writer,
        "hash": row.hash.hex(),
    }


def charge_rows(rows: Iterable[BookedTransfer]) -> Iterator[Row]:
    """Of CHARGE_COLUMNS: the charges that were finished by these transfers."""
    for row in rows:
        if isinstance(row.settles, ChargeRecord):
            yield (row.seq, row.booked_ns, *msgspec.structs.astuple(row.settles))


def account_row(line: AccountBalance) -> Row:
    """Of ACCOUNT_COLUMNS."""
    return (line.account, *msgspec.structs.astuple(line.balance))


def epoch_row(epoch: EpochRow) -> Row:
    """Of EPOCH_COLUMNS."""
    return msgspec.structs.astuple(epoch)


def _taken(text: io.StringIO) -> str:
    line = text.getvalue()
    text.seek(0)
    text.truncate()
    return line
