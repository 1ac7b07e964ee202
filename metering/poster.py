"""Carries the spool's rows into the ledger, each exactly once.

Its position is the ledger's own watermark, which moves in the transaction that books the rows:
after a crash at any point it goes on where the books are. And should rows come twice all the same,
their ids are known and they answer EXISTS.

It also tells the budget what the ledger says. Order is what makes that exact: balances are read by
the thread that books, and handed over one after the other.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Protocol

from metering import accounts
from metering.budget import BalanceUpdate
from metering.charge import OpenCharges, Row
from metering.ledger import Balance, Ledger, LedgerError, PostResult
from metering.purse import is_purse
from metering.ready_rows import Change, ReadyRows, change_of, make_ready
from metering.spool import Spool
from metering.spool_file import SpoolError

log = logging.getLogger("tollgate")

OnPosted = Callable[[list[BalanceUpdate]], None]

BATCH_ROWS = 8192
"""At most so many are booked in one transaction, where so many wait: a charge that began and ended
among them is one transfer instead of two. It takes a fifth of a second, and others' writes wait."""
GATHER_ROWS = 1024
GATHER_S = 0.1
GATHER_TIMES = 5
"""Rows gather for so many times so long before they are booked, or until they are so many: hardly
anybody waits for the ledger, a batch costs little more than a row, and a charge that ends meanwhile
is one transfer instead of two. Who does wait ends it."""
FULL_PARTS = 4
"""Nor do rows gather beyond such a part of the spool's bound: full, it would refuse requests."""
POLL_INTERVAL_S = 1.0
"""How often the ledger is asked whether someone else wrote to it, such as a deposit."""
FORGET_ROWS = 4096
BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 5.0


class _RefusedError(Exception):
    """The books and the spool disagree about a row."""


class Tally(Protocol):
    """What the ledger's charges leave of the purses that they draw from."""

    def left(self, names: Iterable[str], seq: int) -> dict[str, int]:
        """Of each that is known, by the charges up to this row. Raises LedgerError."""


class Poster:
    """`on_posted` and `on_changed` are called on the thread that appends to the spool.

    `on_changed` tells that another process wrote to the ledger's database.
    """

    def __init__(
        self,
        spool: Spool,
        ledger: Ledger,
        on_posted: OnPosted,
        on_changed: Callable[[], None] | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.failed: LedgerError | None = None
        """Set if the ledger refused a row: books and spool disagree, and a person must look."""
        self._spool = spool
        self._ledger = ledger
        self._on_posted = on_posted
        self._on_changed = on_changed
        self._tally = tally
        self._enough_rows = min(GATHER_ROWS, spool.rows_max // FULL_PARTS)
        self._open = OpenCharges()
        self._prepared: ReadyRows | None = None
        self._seq = 0
        self._watermark = 0
        self._forgotten_seq = 0
        self._recovered_seq = 0
        self._watched: set[str] = set()
        self._untold: dict[str, Change] = {}
        self._questions: queue.SimpleQueue[tuple[str, Future[None]]] = queue.SimpleQueue()
        self._heard: list[Future[None]] = []
        self._data_version = 0
        self._polled_at = 0.0
        self._ended = False
        self._stopping = threading.Event()
        self._hurried = threading.Event()  # somebody waits: no gathering now
        self._drains = 0
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="poster", daemon=True)

    def start(self) -> None:
        """Go on from where the ledger stands. Raises as `resume`."""
        self.resume()
        self._spool.grown.set()
        self._thread.start()

    def resume(self) -> None:
        """Find where the ledger stands.

        Raises LedgerError if it cannot be reached, SpoolError if it and the spool do not belong
        together.
        """
        self._seq = self._watermark = self._ledger.watermark(self._spool.writer)
        self._open = self._spool.open_charges(self._seq)
        self._spool.booked(self._seq)
        self._recovered_seq = self._spool.last_seq
        self._data_version = self._ledger.data_version()

    @property
    def lag_rows(self) -> int:
        return self._spool.backlog

    @property
    def lag_seconds(self) -> float:
        return self._spool.lag_seconds

    def refresh(self, account: str) -> Future[None]:
        """Have the balance of an account, or of a purse, told through `on_posted`: now and
        whenever it changes.

        Done once it was told; fails with LedgerError while the ledger is away.
        """
        asked: Future[None] = Future()
        self._questions.put((account, asked))
        self._hurried.set()
        self._spool.grown.set()
        if self._ended:
            self._dismiss()
        return asked

    def drain(self, deadline_s: float) -> bool:
        """Wait until the ledger has all that is durable in the spool now. False if it has not."""
        target = self._spool.last_seq
        with self._moved:
            self._drains += 1
            self._hurried.set()
            self._spool.grown.set()
            self._moved.wait_for(lambda: self._seq >= target or self.failed is not None, deadline_s)
            self._drains -= 1
        return self._seq >= target

    def stop(self) -> None:
        """End after the batch at hand; the rest is booked after the next start."""
        self._stopping.set()
        self._hurried.set()
        self._spool.grown.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._prepared is None and self.failed is None:
            self._forget()

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._loop()
        except (_RefusedError, SpoolError, ValueError) as error:
            self._fail(error)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._ended = True
            self._dismiss()
            with self._moved:
                self._moved.notify_all()

    def _loop(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        while not self._stopping.is_set():
            self._spool.grown.wait(POLL_INTERVAL_S)
            self._spool.grown.clear()
            try:
                self.step()
            except LedgerError as error:
                self._answer(error)
                if backoff_s == BACKOFF_FIRST_S:
                    log.warning("the ledger is away, charges stay in the spool: %s", error)
                self._stopping.wait(backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
                self._spool.grown.set()
            else:
                backoff_s = BACKOFF_FIRST_S

    def step(self) -> None:
        """What the thread does again and again: book all that is durable by now, see who else
        wrote, and tell balances to the budget and to those who asked. Raises LedgerError.
        """
        self.catch_up()
        self._poll()
        self._hear_questions()
        self._tell()
        self._answer(None)

    def catch_up(self) -> None:
        """Book all that is durable by now, and tell the budget.

        Raises LedgerError; the batch at hand is then booked by the next call.
        """
        target = self._spool.last_seq
        while self._seq < target and not self._stopping.is_set():
            if self._prepared is None:
                if target - self._seq < self._enough_rows:
                    self._gather()
                self._prepared = self._ready(self._spool.read(self._seq, BATCH_ROWS))
            self._book(self._prepared)
            self._prepared = None
            if self._watermark - self._forgotten_seq >= FORGET_ROWS:
                self._forget()
            self._tell()

    def _gather(self) -> None:
        for _ in range(GATHER_TIMES):
            if self._spool.last_seq - self._seq >= self._enough_rows or self._drains:
                return
            if self._hurried.wait(GATHER_S):
                return

    def _ready(self, rows: list[Row]) -> ReadyRows:
        return make_ready(rows, self._seq, self._open, self._recovered_seq)

    def _book(self, batch: ReadyRows) -> None:
        if batch.groups:
            results = self._ledger.post(self._spool.writer, batch.groups, batch.upto_seq)
            for group, result in zip(batch.groups, results, strict=True):
                if result is not PostResult.OK and not result.booked:
                    raise _RefusedError(
                        f"the ledger refused transfer {group.transfers[0].id} of writer "
                        f"{self._spool.writer}: {result}. Run `tollgate ledger verify`; the row "
                        "and all after it stay in the spool"
                    )
            self._watermark = batch.upto_seq
        for name, change in batch.changes.items():
            untold = change_of(self._untold, name)
            untold.available += change.available
            untold.paid += change.paid
            untold.released += change.released
        self._spool.booked(batch.upto_seq)
        with self._moved:
            self._seq = batch.upto_seq
            self._moved.notify_all()

    def _forget(self) -> None:
        if self._watermark > self._forgotten_seq:
            self._spool.forget(self._watermark)
            self._forgotten_seq = self._watermark

    def _poll(self) -> None:
        now = time.monotonic()
        if now - self._polled_at < POLL_INTERVAL_S:
            return
        self._polled_at = now
        version = self._ledger.data_version()
        if version == self._data_version:
            return
        for account in self._watched:
            change_of(self._untold, account)
        if self._on_changed is not None:
            self._spool.notify(self._on_changed)
        self._data_version = version

    def _hear_questions(self) -> None:
        self._hurried.clear()  # first: who asks from here on sets it again
        while not self._questions.empty():
            account, asked = self._questions.get_nowait()
            if asked.set_running_or_notify_cancel():
                self._heard.append(asked)
                self._watched.add(account)
                change_of(self._untold, account)

    def _tell(self) -> None:
        """Hand over the balances of all accounts that changed, with what changed them; none before
        all is booked that was there at the start: those rows change nothing, and a balance without
        them would stay wrong.
        """
        if not self._untold or self._seq < self._recovered_seq:
            return
        purses = [name for name in self._untold if is_purse(name)]
        ids = {accounts.customer(name): name for name in self._untold if not is_purse(name)}
        seq = self._ledger.last_seq()
        balances = self._ledger.balances(ids)
        updates = []
        for account_id, account in ids.items():
            balance = balances.get(account_id, Balance())
            updates.append(self._update(account, balance.available, balance.posted, seq))
        if self._tally is not None:
            told = self._tally.left(purses, seq)
            updates += [self._update(name, left, left, seq) for name, left in told.items()]
            self._watched.difference_update(name for name in purses if name not in told)
        self._untold = {}
        self._spool.notify(partial(self._on_posted, updates))

    def _update(self, name: str, available: int, posted: int, seq: int) -> BalanceUpdate:
        change = self._untold[name]
        return BalanceUpdate(
            account=name,
            available_nano_usd=available,
            booked_nano_usd=change.available,
            posted_nano_usd=posted,
            paid_nano_usd=change.paid,
            released_nano_usd=change.released,
            seq=seq,
        )

    def _answer(self, error: LedgerError | None) -> None:
        if error is not None:
            self._hear_questions()
        heard, self._heard = self._heard, []
        for asked in heard:
            if error is None:
                asked.set_result(None)
            else:
                asked.set_exception(error)

    def _dismiss(self) -> None:
        """Answer those who ask after the end."""
        error = self.failed or LedgerError("the gateway is shutting down")
        for asked in self._heard:
            asked.set_exception(error)
        self._heard = []
        with contextlib.suppress(queue.Empty):
            while True:
                _, asked = self._questions.get_nowait()
                if asked.set_running_or_notify_cancel():
                    asked.set_exception(error)

    def _fail(self, error: BaseException) -> None:
        self.failed = LedgerError(f"no more charges reach the ledger: {error}")
        log.critical("%s", self.failed)
