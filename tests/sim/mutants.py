"""Gateways with one mistake each: what the simulation is worth is how soon it finds them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from unittest.mock import patch

from memory_folder import MemoryFile, MemoryFolder

from metering import limits_window, rules, spool_file, sqlite_file
from metering.batch import Batch
from metering.budget import Budget
from metering.charge import OpenCharge, OpenCharges
from metering.limits import KeyPools
from metering.poster import Poster
from metering.rules import Books
from metering.spool import BATCH_ROWS_MAX, Spool, _tell
from metering.spool_log import SpoolLog

write, forget = Batch.write, SpoolLog.forget
take, crash_closes = OpenCharges.take, OpenCharges.closed_by_crash
resume, judge, connect = Poster.resume, Books._judge, sqlite_file.connect


def tells_before_it_writes(spool: Spool) -> bool:
    in_hand = spool._queue.take(BATCH_ROWS_MAX)
    callbacks = [on_durable for _, on_durable in in_hand if on_durable is not None]
    spool.notify(partial(_tell, callbacks, None))
    spool._notify = immediately(spool._notify)
    if in_hand:
        spool.commit([row for row, _ in in_hand])
    return bool(in_hand)


def immediately(notify):
    """What was queued is heard before the write begins."""
    queue = notify.__self__
    while queue:
        queue.popleft()()
    return notify


def starts_from_the_beginning(poster: Poster) -> None:
    resume(poster)
    poster._seq = poster._watermark = poster._spool._log.forgotten_seq
    poster._open = poster._spool.open_charges(poster._seq)


def takes_every_id_for_new(books: Books, transfer):
    books.transfers.pop(transfer.id, None)
    return judge(books, transfer)


def syncs_at_checkpoints_only(path):
    db = connect(path)
    db.execute("PRAGMA synchronous = NORMAL")
    return db


class Unsynced(MemoryFile):
    def sync(self) -> None: ...


def reads_what_may_not_be_durable(folder: MemoryFolder, name: str) -> MemoryFile:
    return (MemoryFile if folder.buffered else Unsynced)(folder, folder.files[name])


def forgets_names(folder: MemoryFolder) -> None:
    folder.step("sync folder", lambda: None, folder._sync if folder.buffered else lambda: None)


def keeps_what_ended(charges: OpenCharges, row):
    found = take(charges, row)
    if found is not None and not isinstance(row, OpenCharge):
        charges._open[row.charge_id] = found
    return found


def charges_crashes_nothing(charges: OpenCharges, now_ns: int):
    charges._progress.clear()
    return crash_closes(charges, now_ns)


def spends_without_setting_aside(budget: Budget, account: str, amount: int) -> bool:
    return budget.known(account) and budget.available(account) >= amount


def mutant(owner: object, name: str, mistake: object) -> AbstractContextManager[object]:
    return patch.object(owner, name, mistake)


MUTANTS = {
    "the watermark is dropped": lambda: mutant(
        Batch, "write", lambda batch, watermark, epoch=None: write(batch, None, epoch)
    ),
    "the watermark is not looked at": lambda: mutant(Poster, "resume", starts_from_the_beginning),
    "a known id is taken for a new one": lambda: mutant(Books, "_judge", takes_every_id_for_new),
    "a row is acknowledged before it is written": lambda: mutant(
        Spool, "step", tells_before_it_writes
    ),
    "the ledger is synced at checkpoints only": lambda: mutant(
        sqlite_file, "connect", syncs_at_checkpoints_only
    ),
    "a ledger in memory alone is believed": lambda: mutant(
        sqlite_file, "_make_durable", lambda db: None
    ),
    "a spool in memory alone is believed": lambda: mutant(
        MemoryFolder, "open", reads_what_may_not_be_durable
    ),
    "a segment's name is not made durable": lambda: mutant(MemoryFolder, "sync", forgets_names),
    "rows are forgotten that the ledger lacks": lambda: mutant(
        SpoolLog, "forget", lambda log, upto_seq: forget(log, upto_seq + 8)
    ),
    "a checksum is not looked at": lambda: mutant(spool_file, "_is_sound", lambda data: True),
    "a charge stays open": lambda: mutant(OpenCharges, "take", keeps_what_ended),
    "progress is lost in a crash": lambda: mutant(
        OpenCharges, "closed_by_crash", charges_crashes_nothing
    ),
    "a refused hold stops the poster": lambda: mutant(rules, "_FALLS_BACK", ()),
    "a hold is not set aside": lambda: mutant(Budget, "reserve", spends_without_setting_aside),
    "a refused request keeps its place": lambda: mutant(
        KeyPools, "withdraw", lambda pools, slot, tokens: None
    ),
    "a minute lasts a second too short": lambda: mutant(limits_window, "WINDOW_SLOTS", 60),
}
