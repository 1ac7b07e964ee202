"""A spool, read beside the gateway that may be writing it: how far it goes, which charges ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from metering.charge import ChargeRecord, CloseCharge, finished
from metering.legs import parts_of
from metering.spool_disk import DiskFolder
from metering.spool_file import SpoolError, decode_rows
from metering.spool_segment import RecordReader, charges_before, read_header


class SpoolReader:
    """Raises SpoolError, OSError."""

    def __init__(self, path: Path) -> None:
        self._folder = DiskFolder(path)
        self.writer: str | None = None
        """Whose spool it is; known once something was read."""

    def finished(self) -> Iterator[tuple[int, ChargeRecord]]:
        """Each finished charge with its row, as far as the log still has its rows: a segment that
        the ledger has all of is removed.
        """
        for name in sorted(name for name in self._folder.names() if name.endswith(".log")):
            try:
                yield from self._of_segment(name)
            except FileNotFoundError:
                continue  # removed meanwhile: the ledger has it
            except SpoolError as error:
                raise SpoolError(f"{name}: {error}") from error

    def forgotten_seq(self) -> int:
        """The last row that is gone; 0 if none is, or nothing was ever written."""
        names = [name for name in self._folder.names() if name.endswith(".log")]
        return int(min(names).removesuffix(".log")) - 1 if names else 0

    def last_seq(self) -> int:
        """The last row that is whole; 0 in a spool that was never written."""
        names = [name for name in self._folder.names() if name.endswith(".log")]
        if not names:
            return 0
        name = max(names)
        try:
            with closing(self._folder.open(name)) as file:
                header, start = read_header(file)
                self.writer = header.writer
                reader = RecordReader(file, header.salt, start, header.first_seq)
                while reader.next() is not None:
                    pass
        except SpoolError as error:
            raise SpoolError(f"{name}: {error}") from error
        return reader.next_seq - 1

    def _of_segment(self, name: str) -> Iterator[tuple[int, ChargeRecord]]:
        with closing(self._folder.open(name)) as file:
            header, start = read_header(file)
            self.writer = header.writer
            charges = charges_before(header)
            reader = RecordReader(file, header.salt, start, header.first_seq)
            while (record := reader.next()) is not None:
                for seq, row in enumerate(decode_rows(record.body), start=record.first_seq):
                    charge = charges.take(row)
                    if charge is not None and isinstance(row, CloseCharge):
                        for part in parts_of(charge, row):
                            yield seq, finished(*part)
