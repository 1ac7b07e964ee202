"""The spool's log: segments in a folder, the newest appended to, the oldest removed.

    00000000000000000001.log   rows 1 to 28416        gone once the ledger has them all
    00000000000000028417.log   rows 28417 to ...      room reserved; every commit is one record
    new                        the next one, until its header is durable

A segment's header says which charges were open just before its first row, so whatever is left of
the log tells which are open at any row in it.

Every start, and every orderly end, begins a segment. That seals the ones before: their rows end
where the next begins, and what a crash left behind that end is never looked at again. Of a sealed
segment every row must be sound. Only in the last one may a write be cut off, and there only the
last: see `RecordReader.torn_bytes`.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from contextlib import closing
from pathlib import Path

import msgspec

from metering.charge import OpenCharges, Row
from metering.spool_disk import Folder
from metering.spool_file import (
    SALT_BYTES,
    Header,
    Record,
    SpoolError,
    decode_rows,
    encode_header,
    encode_record,
)
from metering.spool_segment import (
    RecordReader,
    Segment,
    SegmentWriter,
    charges_before,
    read_header,
)

log = logging.getLogger("tollgate")

SEGMENT_BYTES = 8 * 1024 * 1024
KEPT_SEGMENTS_MAX = 8

_NEW = "new"
_NAME = re.compile(r"\d{20}\.log")


class SpoolLog:
    """`append` and `seal` belong to one thread, `read` and `forget` to one other.

    What the ledger has is kept for `kept_s` all the same, from the end of its segment on, so that a
    ledger which was restored from a backup finds here what it lacks: but no more than so many
    segments. After a start that time begins anew: nobody knows when the segments that are found
    came to their end.

    Raises SpoolError if the segments found do not make a whole, OSError if the disk fails.
    """

    def __init__(
        self,
        folder: Folder,
        path: Path,
        name: str,
        kept_s: float = 0.0,
        kept_segments_max: int = KEPT_SEGMENTS_MAX,
    ) -> None:
        self._folder = folder
        self._path = path
        self._segments_lock = threading.Lock()
        self._kept_s = kept_s
        self._kept_segments_max = kept_segments_max
        self._sealed_s: dict[str, float] = {}
        self._segments: tuple[Segment, ...] = ()
        self._failed = False
        self._read_to = ("", 0, 0)  # the segment, where in it, and which row is next there
        self.writer = f"{name}-{secrets.token_hex(4)}"
        self.last_seq = 0
        self._open = OpenCharges()
        self._find()
        self._file = self._begin_file()

    # -- writing ----------------------------------------------------------------------------------

    def append(self, rows: list[Row]) -> None:
        """Make rows durable. Raises OSError; nothing is ever written again then, for nobody knows
        what the disk has of them, and a second try that seems to work proves nothing.
        """
        self._refuse_after_failure()
        record = encode_record(self._newest.salt, self.last_seq + 1, rows)
        try:
            if self._file.end + len(record) > SEGMENT_BYTES and self._has_records:
                self._begin()
                record = encode_record(self._newest.salt, self.last_seq + 1, rows)
            self._file.append(record)
        except OSError:
            self._failed = True
            raise
        for row in rows:
            self._open.take(row)
        self.last_seq += len(rows)

    def seal(self) -> None:
        """Begin a segment if the newest has rows, so that damage to the last row is not taken for a
        write that was cut off. Give back the room. Raises OSError.
        """
        self._refuse_after_failure()
        if self._has_records:
            self._begin()
        self._file.give_back_room()

    def close(self) -> None:
        self._file.close()

    def _refuse_after_failure(self) -> None:
        if self._failed:
            raise OSError("a write failed before")

    @property
    def _newest(self) -> Segment:
        return self._segments[-1]

    @property
    def _has_records(self) -> bool:
        return self._file.end > self._newest.start

    def _begin(self) -> None:
        full, self._file = self._file, self._begin_file()
        with closing(full):
            full.give_back_room()

    def _begin_file(self) -> SegmentWriter:
        """The header is durable before the segment has its name, the name before it is used."""
        salt = secrets.token_bytes(SALT_BYTES)
        first_seq = self.last_seq + 1
        header = encode_header(Header(self.writer, first_seq, salt, self._open.rows()))
        segment = Segment(f"{first_seq:020}.log", first_seq, salt, len(header))
        file = SegmentWriter(self._folder.create(_NEW, SEGMENT_BYTES), SEGMENT_BYTES)
        try:
            file.append(header)
            file.sync()
            self._folder.rename(_NEW, segment.name)
            self._folder.sync()
        except BaseException:
            file.close()
            raise
        with self._segments_lock:
            kept = [known for known in self._segments if known.first_seq < first_seq]
            self._segments = (*kept, segment)
        now_s = time.monotonic()
        for sealed in kept:
            self._sealed_s.setdefault(sealed.name, now_s)
        return file

    # -- reading ----------------------------------------------------------------------------------

    @property
    def forgotten_seq(self) -> int:
        """The last row that is gone."""
        return self._segments[0].first_seq - 1

    def forget(self, upto_seq: int) -> None:
        """Remove the segments that hold no row after this one. Raises OSError."""
        while len(self._segments) > 1 and self._segments[1].first_seq <= upto_seq + 1:
            oldest = self._segments[0]
            young = time.monotonic() - self._sealed_s[oldest.name] < self._kept_s
            if young and len(self._segments) <= self._kept_segments_max + 1:
                return
            self._folder.remove(oldest.name)
            del self._sealed_s[oldest.name]
            with self._segments_lock:
                self._segments = self._segments[1:]
            self._folder.sync()  # or else a power cut could bring back one from before a gap

    def open_charges(self, upto_seq: int) -> OpenCharges:
        """The charges open after this row, which the log must hold. Raises SpoolError, OSError."""
        segment = self._holding(upto_seq + 1)[0]
        charges = charges_before(self._read_header(segment.name)[0])
        seq = segment.first_seq - 1
        while seq < upto_seq:
            for row in self.read(seq, min(1024, upto_seq - seq)):
                seq += 1
                if seq <= upto_seq:
                    charges.take(row)
        return charges

    def read(self, after_seq: int, rows: int) -> list[Row]:
        """The rows that follow `after_seq`; about as many as asked for. Raises SpoolError, OSError.

        Going on where the last call ended costs nothing; anything else looks from the segment's
        start.
        """
        found: list[Row] = []
        last_seq = self.last_seq
        while len(found) < rows and after_seq + len(found) < last_seq:
            found += self._read_one(after_seq + len(found) + 1, rows - len(found), last_seq)
        return found

    def _read_one(self, seq: int, most: int, last_seq: int) -> list[Row]:
        segment, end_seq = self._holding(seq)
        name, offset, next_seq = self._read_to
        if name != segment.name or next_seq > seq:
            offset, next_seq = segment.start, segment.first_seq
        found: list[Row] = []
        with closing(self._folder.open(segment.name)) as file:
            reader = RecordReader(file, segment.salt, offset, next_seq)
            while len(found) < most and reader.next_seq <= min(end_seq, last_seq):
                record = reader.next()
                if record is None:
                    raise self._damaged(segment, reader)
                if reader.next_seq > seq:
                    rows = self._decode(segment, reader, record)
                    found += rows[max(0, seq - record.first_seq) :]
        self._read_to = (segment.name, reader.offset, reader.next_seq)
        return found

    def _holding(self, seq: int) -> tuple[Segment, int]:
        """The segment that holds this row, and the last row that it can hold."""
        with self._segments_lock:
            segments = self._segments
        end_seq = 2**63
        for segment in reversed(segments):
            if segment.first_seq <= seq:
                return segment, end_seq
            end_seq = segment.first_seq - 1
        raise SpoolError(f"spool {self._path} holds no row {seq}, the first is {end_seq + 1}")

    # -- finding what is there --------------------------------------------------------------------

    def _find(self) -> None:
        names = sorted(name for name in self._folder.names() if _NAME.fullmatch(name))
        segments: list[Segment] = []
        for name in names:
            header, start = self._read_header(name)
            if segments and header.writer != self.writer:
                raise self._mixed(name, f"is of {header.writer}, the ones before of {self.writer}")
            if name != f"{header.first_seq:020}.log":
                raise self._mixed(name, f"was begun for row {header.first_seq}")
            self.writer = header.writer
            segments.append(Segment(name, header.first_seq, header.salt, start))
        self._segments = tuple(segments)
        for i, segment in enumerate(segments):
            if i < len(segments) - 1:
                self._check(segment, segments[i + 1].first_seq - 1)
            else:
                self._take_last(segment)

    def _read_header(self, name: str) -> tuple[Header, int]:
        try:
            with closing(self._folder.open(name)) as file:
                return read_header(file)
        except SpoolError as error:
            raise SpoolError(f"spool file {self._path.joinpath(name)} {error}") from None

    def _check(self, segment: Segment, end_seq: int) -> None:
        with closing(self._folder.open(segment.name)) as file:
            reader = RecordReader(file, segment.salt, segment.start, segment.first_seq)
            while reader.next_seq <= end_seq:
                if reader.next() is None:
                    raise self._damaged(segment, reader, end_seq)

    def _take_last(self, segment: Segment) -> None:
        """A gateway that was killed may have left a record in the kernel's memory alone: it is made
        durable before anybody relies on it.
        """
        with closing(self._folder.open(segment.name)) as file:
            file.sync()
            self._open = charges_before(read_header(file)[0])
            reader = RecordReader(file, segment.salt, segment.start, segment.first_seq)
            while record := reader.next():
                for row in self._decode(segment, reader, record):
                    self._open.take(row)
            torn = reader.torn_bytes()
            if torn is None:
                raise self._damaged(segment, reader)
            if torn:
                log.warning(
                    "spool file %s: %d bytes at its end are a write that a crash cut off, never "
                    "acknowledged: left out",
                    self._path.joinpath(segment.name),
                    torn,
                )
        self.last_seq = reader.next_seq - 1

    def _decode(self, segment: Segment, reader: RecordReader, record: Record) -> list[Row]:
        try:
            return decode_rows(record.body)
        except msgspec.MsgspecError as error:
            raise SpoolError(
                f"spool file {self._path.joinpath(segment.name)}: rows {record.first_seq} to "
                f"{reader.next_seq - 1} cannot be read: {error}"
            ) from error

    def _damaged(self, segment: Segment, reader: RecordReader, end_seq: int = 0) -> SpoolError:
        upto = f" to {end_seq}" if end_seq else " and those after it"
        return SpoolError(
            f"spool file {self._path.joinpath(segment.name)} is damaged at byte {reader.offset}: "
            f"row {reader.next_seq}{upto} cannot be read. Bring back from a copy what is damaged "
            f"or missing, or move {self._path} away to begin a new spool: what the ledger does not "
            "have of this one is lost then"
        )

    def _mixed(self, name: str, what: str) -> SpoolError:
        return SpoolError(
            f"spool file {self._path.joinpath(name)} {what}: it does not belong here. Bring back "
            "the files as they were"
        )
