"""One segment of the spool: appended to, and read back record after record."""

from __future__ import annotations

import msgspec

from metering.charge import OpenCharges
from metering.spool_disk import File
from metering.spool_file import (
    HEADER_BYTES,
    RECORD_BYTES,
    Header,
    Record,
    SpoolError,
    decode_header,
    decode_record,
    header_size,
    holds_record,
    record_size,
)

WINDOW_BYTES = 256 * 1024
"""Read at once: records are small, and so many of them cost one call."""


FILLED_BYTES = 64 * 1024
"""A write that reaches room which is only reserved fills it with zeros up to the next multiple of
this. Overwriting blocks costs a third less than being the first to write them, at 3 KB a commit."""


class Segment(msgspec.Struct, frozen=True):
    """Where a segment's rows are, without the rows."""

    name: str
    first_seq: int
    salt: bytes
    start: int
    """Where its first record begins."""


def read_header(file: File) -> tuple[Header, int]:
    """The header and its size. Raises SpoolError, to be given the file's name."""
    size = header_size(file.read(HEADER_BYTES, 0))
    try:
        header = decode_header(file.read(size, 0)) if size <= file.size() else None
    except msgspec.MsgspecError as error:
        raise SpoolError(f"cannot be read: {error}") from error
    if header is None:
        raise SpoolError(f"is damaged in its first {size} bytes")
    return header, size


def charges_before(header: Header) -> OpenCharges:
    """The charges that were open when the segment was begun."""
    charges = OpenCharges()
    for row in header.open_rows:
        charges.take(row)
    return charges


class SegmentWriter:
    """Appends to a new file that has so much room. All methods raise OSError."""

    def __init__(self, file: File, room: int) -> None:
        self.end = 0
        self._file = file
        self._room = room
        self._filled = 0

    def append(self, data: bytes) -> None:
        """Durable once it returns."""
        start, self.end = self.end, self.end + len(data)
        if self.end > self._filled:
            self._filled = min(self.end + FILLED_BYTES - self.end % FILLED_BYTES, self._room)
            data += bytes(max(0, self._filled - self.end))
        while written := self._file.write(data, start):
            start, data = start + written, data[written:]
            if not data:
                return
        raise OSError("the disk takes no more bytes")

    def sync(self) -> None:
        self._file.sync()

    def give_back_room(self) -> None:
        self._file.truncate(self.end)

    def close(self) -> None:
        self._file.close()


class RecordReader:
    """Goes through a segment's records in order; always stands before one, or where none is."""

    def __init__(self, file: File, salt: bytes, offset: int, next_seq: int) -> None:
        self.offset = offset
        self.next_seq = next_seq
        self._file = file
        self._salt = salt
        self._size = file.size()
        self._window = b""
        self._window_start = 0

    def next(self) -> Record | None:
        """Step over the record that holds row `next_seq`; None if no sound one begins here."""
        size = record_size(self._bytes(RECORD_BYTES), self._salt)
        if size is None or self.offset + size > self._size:
            return None
        record = decode_record(self._bytes(size), self._salt)
        if record is None or record.first_seq != self.next_seq:
            return None
        self.offset += size
        self.next_seq += record.rows
        return record

    def torn_bytes(self) -> int | None:
        """How much of an unfinished write lies here; None if something was damaged instead.

        The log writes a record only after the one before it is durable. So a crash can spoil only
        the last: bad bytes with nothing sound behind them. A sound record behind bad bytes was
        acknowledged, and so were they.
        """
        rest = self._file.read(self._size - self.offset, self.offset)
        if holds_record(rest, self._salt):
            return None
        return len(rest.rstrip(b"\0"))

    def _bytes(self, size: int) -> bytes:
        start = self.offset - self._window_start
        if start + size > len(self._window):
            self._window = self._file.read(max(size, WINDOW_BYTES), self.offset)
            self._window_start, start = self.offset, 0
        return self._window[start : start + size]
