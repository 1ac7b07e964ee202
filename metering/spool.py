"""This gateway's own log: what is in it survives `kill -9` and a power cut.

Rows come from the event loop (`spool_queue.py`); one thread writes them, as many in one commit as
have come. One commit is one write to the log (`spool_log.py`), durable when it returns: cheap, and
it fights the event loop for the interpreter lock only once.

The log is emptied from its old end once the ledger has the rows, and never loses which charges are
open.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from metering.charge import OpenCharges, Row
from metering.spool_disk import DiskFolder, Folder, lock
from metering.spool_file import SpoolError
from metering.spool_log import KEPT_SEGMENTS_MAX, SEGMENT_BYTES, SpoolLog
from metering.spool_queue import OnDurable, SpoolQueue

log = logging.getLogger("tollgate")

Notify = Callable[[Callable[[], None]], object]

BATCH_ROWS_MAX = 1024
TAIL_ROWS_MAX = 10_000
"""The newest rows kept in memory for the poster; behind that it reads the file."""

ROWS_MAX = 1_000_000

_MARK_INTERVAL_S = 1.0


class Spool:
    """`append` belongs to the event loop, `read` and `forget` to the poster's thread.

    `writer` is this log's own name in the ledger, made with its folder: a lost spool is replaced by
    one with another name. What the ledger has stays for `kept_s`, in case it goes back in time, and
    takes about `kept_bytes_max` at most.
    Raises SpoolError if another process has the folder, or if what is in it is damaged or no spool.
    """

    def __init__(
        self,
        path: Path,
        name: str = "gateway",
        *,
        rows_max: int = ROWS_MAX,
        kept_s: float = 0.0,
        kept_bytes_max: int = KEPT_SEGMENTS_MAX * SEGMENT_BYTES,
        folder: Folder | None = None,
    ) -> None:
        self.path = path
        self.rows_max = rows_max
        self.failed: SpoolError | None = None
        self.grown = threading.Event()
        """Set at every commit, for the poster to wait on."""
        _refuse_sqlite(path)
        try:
            files = DiskFolder(path) if folder is None else folder
            self._lock_file = lock(path)
            try:
                kept_segments_max = kept_bytes_max // SEGMENT_BYTES
                self._log = SpoolLog(files, path, name, kept_s, kept_segments_max)
            except BaseException:
                os.close(self._lock_file)
                raise
        except OSError as error:
            raise SpoolError(f"spool {path}: {error}") from error
        self.writer = self._log.writer
        self.last_seq = self._log.last_seq
        self._queue: SpoolQueue[Row] = SpoolQueue()
        self.append = self._queue.put
        """Queue a row. `on_durable` is called on the appending thread, never from in here: with
        None once the row is on disk, with the error if it may not be. A row without it goes to the
        disk with the next one that has it, or a moment later.
        """
        self._started_at_seq = 0
        self._in_hand: list[tuple[Row, OnDurable | None]] = []
        self._booked_seq = self._log.forgotten_seq
        self._forget_seq = 0
        self._tail: deque[tuple[int, list[Row]]] = deque()
        self._tail_rows = 0
        self._tail_lock = threading.Lock()
        self._marks: deque[tuple[int, float]] = deque()
        self._notify: Notify | None = None
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    # -- the gateway's side -----------------------------------------------------------------------

    def recover(self, now_ns: int) -> int:
        """Close what a dead gateway left open; returns how many charges. Before `start`.

        Each is billed as far as was recorded, or voided. Raises SpoolError.
        """
        assert self._notify is None, "recover() comes before start()"
        closes = self.open_charges(self.last_seq).closed_by_crash(now_ns)
        try:
            if closes:
                self.commit(list(closes))
        except OSError as error:
            raise self._write_error(error) from error
        return len(closes)

    def start(self, notify: Notify) -> None:
        """`notify` runs a function on the thread that appends: `loop.call_soon_threadsafe`."""
        self._notify = notify
        self._started_at_seq = self.last_seq
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Rows that the ledger does not have yet, from the moment they are appended."""
        return self.appended_seq - self._booked_seq

    @property
    def appended_seq(self) -> int:
        """The last row that was appended, on disk or not."""
        return max(self._started_at_seq + self._queue.rows_put, self.last_seq)

    @property
    def booked_seq(self) -> int:
        """The last row that the ledger has."""
        return self._booked_seq

    @property
    def full(self) -> bool:
        """So many rows wait for the ledger that no charge should be opened; closing them may go on.

        A bound on new work, not on appending: what is open must always find its end.
        """
        booked_seq = self._booked_seq
        return self._started_at_seq + self._queue.rows_put - booked_seq >= self.rows_max

    @property
    def lag_seconds(self) -> float:
        """How long the oldest row has waited for the ledger, to the second."""
        marks = self._marks
        return time.monotonic() - marks[0][1] if marks and self.backlog else 0.0

    def close(self) -> None:
        """Write what was appended, then let go of the file."""
        if self._thread.ident is not None:
            self._queue.close()
            self._thread.join()
        try:
            if self.failed is None:
                self._log.seal()
                self._log.forget(self._forget_seq)
        except OSError as error:
            self._write_error(error)
        finally:
            self._log.close()
            os.close(self._lock_file)

    # -- the poster's side ------------------------------------------------------------------------

    def open_charges(self, upto_seq: int) -> OpenCharges:
        """The charges open after this row. Raises SpoolError if rows up to it are forgotten."""
        if not self._log.forgotten_seq <= upto_seq <= self.last_seq:
            raise SpoolError(
                f"spool {self.path} holds rows {self._log.forgotten_seq + 1} to {self.last_seq}, "
                f"the ledger has booked {upto_seq} of writer {self.writer}: one of the two is an "
                "old copy. Bring back the one that is missing rows, or move both away to start anew"
            )
        try:
            return self._log.open_charges(upto_seq)
        except OSError as error:
            raise self._read_error(error) from error

    def read(self, after_seq: int, rows: int) -> list[Row]:
        """The rows that follow `after_seq`, in order; about as many as asked for."""
        with self._tail_lock:
            if self._tail and self._tail[0][0] <= after_seq + 1:
                found: list[Row] = []
                for first_seq, batch in self._tail:
                    if len(found) >= rows:
                        break
                    if first_seq + len(batch) > after_seq + 1:
                        found += batch[max(0, after_seq + 1 - first_seq) :]
                return found
        try:
            return self._log.read(after_seq, rows)
        except OSError as error:
            raise self._read_error(error) from error

    def booked(self, upto_seq: int) -> None:
        """The ledger has the rows up to here."""
        self._booked_seq = upto_seq
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= upto_seq:
            marks.popleft()
        if marks and upto_seq >= self.last_seq:
            marks.popleft()
        with self._tail_lock:
            while self._tail and self._tail[0][0] + len(self._tail[0][1]) <= upto_seq + 1:
                self._tail_rows -= len(self._tail.popleft()[1])

    def forget(self, upto_seq: int) -> None:
        """Rows up to here, which the ledger has, may go."""
        self._forget_seq = upto_seq
        try:
            self._log.forget(upto_seq)
        except OSError as error:
            log.warning("spool %s: could not remove what the ledger has: %s", self.path, error)

    def notify(self, call: Callable[[], None]) -> None:
        """Run something on the thread that appends."""
        assert self._notify is not None, "start() was not called"
        try:
            self._notify(call)
        except RuntimeError:
            log.debug("nobody is left to hear from the spool: the event loop is closed")

    # -- the writer thread ------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._write()
        except OSError as error:
            self._write_error(error)
            self._refuse()
        except BaseException as error:
            self._write_error(error)
            self._refuse()
            raise

    def _write(self) -> None:
        while True:
            stops = self._queue.closed  # asked first: what was put before it closed is taken now
            if not self.step() and stops:
                return

    def step(self) -> bool:
        """What the thread does again and again: one commit of what was appended, told to those who
        wait for it. False if nothing was. Raises OSError.
        """
        in_hand = self._in_hand = self._queue.take(BATCH_ROWS_MAX)
        if in_hand:
            self.commit([row for row, _ in in_hand])
        callbacks = [on_durable for _, on_durable in in_hand if on_durable is not None]
        if callbacks:
            self.notify(partial(self._durable, callbacks, time.monotonic()))
        return bool(in_hand)

    def _durable(self, callbacks: list[OnDurable], since_s: float) -> None:
        """On the thread that appends."""
        self._queue.told_after_s = time.monotonic() - since_s
        _tell(callbacks, None)

    def commit(self, rows: list[Row]) -> None:
        """Make rows durable on the calling thread: the writer's, once it was started.

        Raises OSError; what was in hand may then be durable or not.
        """
        self._log.append(rows)
        self._remember(self.last_seq + 1, rows)
        self.grown.set()

    def _remember(self, first_seq: int, rows: list[Row]) -> None:
        with self._tail_lock:
            self._tail.append((first_seq, rows))
            self._tail_rows += len(rows)
            while self._tail_rows > TAIL_ROWS_MAX and len(self._tail) > 1:
                self._tail_rows -= len(self._tail.popleft()[1])
        now = time.monotonic()
        if not self._marks or now - self._marks[-1][1] >= _MARK_INTERVAL_S:
            self._marks.append((first_seq, now))
        self.last_seq = first_seq + len(rows) - 1

    def _write_error(self, error: BaseException) -> SpoolError:
        self.failed = SpoolError(
            f"spool {self.path}: could not write: {error}. Nothing is served until the gateway is "
            "started again on a disk that takes its writes"
        )
        log.critical("%s", self.failed)
        return self.failed

    def _read_error(self, error: OSError) -> SpoolError:
        return SpoolError(f"spool {self.path}: could not read: {error}")

    def _refuse(self) -> None:
        """After a failure: tell everyone who appends, until the spool is closed."""
        in_hand = self._in_hand
        stops = False
        while in_hand or not stops:
            callbacks = [on_durable for _, on_durable in in_hand if on_durable is not None]
            if callbacks:
                self.notify(partial(_tell, callbacks, self.failed))
            stops = self._queue.closed
            in_hand = self._queue.take(BATCH_ROWS_MAX)


def _tell(callbacks: list[OnDurable], error: SpoolError | None) -> None:
    for on_durable in callbacks:
        on_durable(error)


def _refuse_sqlite(path: Path) -> None:
    """A home of a version before the first release may hold rows in the form of that time."""
    old = path.with_name(f"{path.name}.db")
    if old.exists():
        raise SpoolError(
            f"{old} was written by a development version of Tollgate and may hold charges that the "
            "ledger does not have: start and stop that version once more, then delete the file"
        )
