"""Settled epochs as anyone may see them, kept ready: what is closed never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from ide.commitment import head_of
from ide.epoch import EpochReport
from ide.epoch_page import epoch_page
from ide.proof import Proof
from ide.proving import PayoutTree, prove
from ide.settlement import SettlementError, stored_params, stored_result
from metering.epoch_seal import EpochSeal, PayoutRow
from metering.ledger import EpochRow, Ledger

_JSON_MAX = 1024
_PAGES_MAX = 128
_TREES_MAX = 1024

T = TypeVar("T")


class Epochs:
    """Thread-safe. Methods raise SettlementError for what is not there, and LedgerError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._json: _Kept[bytes] = _Kept(_JSON_MAX)
        self._pages: _Kept[bytes] = _Kept(_PAGES_MAX)
        self._proving: _Kept[tuple[EpochRow, PayoutTree]] = _Kept(_TREES_MAX)

    def newest(self, *, before: int | None, limit: int) -> list[EpochSeal]:
        return self._ledger.seals(before=before, limit=limit)

    def as_json(self, epoch: int) -> bytes:
        """Head, figures and parameters; payouts are told a page at a time."""
        return self._json.get(epoch, lambda: self._as_json(epoch))

    def as_page(self, epoch: int) -> bytes:
        return self._pages.get(epoch, lambda: self._as_page(epoch))

    def payouts(self, epoch: int, *, after_leaf: int, limit: int) -> list[PayoutRow]:
        self._seal(epoch)
        return list(self._ledger.payouts(epoch, after_leaf=after_leaf, limit=limit))

    def proof(self, epoch: int, supplier_id: str, *, with_charges: bool) -> Proof:
        row, tree = self._proving.get(epoch, lambda: self._provable(epoch))
        return prove(self._ledger, row, supplier_id, with_charges=with_charges, tree=tree)

    def _provable(self, epoch: int) -> tuple[EpochRow, PayoutTree]:
        """What of an epoch's record a proof needs: the rest may be tens of MB."""
        row, _ = self._epoch(epoch)
        brief = msgspec.structs.replace(row, inputs="", result="", state="")
        return brief, PayoutTree(self._ledger, epoch)

    def _as_json(self, epoch: int) -> bytes:
        row, seal = self._epoch(epoch)
        report = msgspec.json.decode(row.result, type=EpochReport)
        figures = msgspec.to_builtins(msgspec.structs.replace(report, payouts=()))
        del figures["payouts"]
        params = msgspec.Raw(row.params.encode())  # as they were hashed, whatever was added since
        return msgspec.json.encode({**seal_object(seal), "report": figures, "params": params})

    def _as_page(self, epoch: int) -> bytes:
        row, seal = self._epoch(epoch)
        return epoch_page(seal, head_of(seal), stored_result(row), stored_params(row)).encode()

    def _epoch(self, epoch: int) -> tuple[EpochRow, EpochSeal]:
        seal, row = self._seal(epoch), self._ledger.epoch(epoch)
        if row is None:
            raise SettlementError(f"epoch {epoch} is not settled")
        return row, seal

    def _seal(self, epoch: int) -> EpochSeal:
        found = self._ledger.seals(before=epoch + 1)
        if not found or found[0].epoch != epoch:
            raise SettlementError(f"epoch {epoch} is not settled, or was before epochs were sealed")
        return found[0]


def seal_object(seal: EpochSeal) -> dict[str, object]:
    """An epoch in a few hundred bytes: its head, and the hash of that."""
    return {"object": "epoch", "hash": seal.hash, **msgspec.to_builtins(head_of(seal))}


class _Kept(Generic[T]):
    """By epoch, the latest of so many values; what several ask for at once is made once, and what
    is there is told meanwhile.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._making = threading.Lock()
        self._lock = threading.Lock()
        self._values: OrderedDict[int, T] = OrderedDict()

    def get(self, epoch: int, make: Callable[[], T]) -> T:
        found = self._kept(epoch)
        if found is not None:
            return found
        with self._making:
            found = self._kept(epoch)
            if found is None:
                found = make()
                self._keep(epoch, found)
            return found

    def _kept(self, epoch: int) -> T | None:
        with self._lock:
            if epoch in self._values:
                self._values.move_to_end(epoch)
            return self._values.get(epoch)

    def _keep(self, epoch: int, value: T) -> None:
        with self._lock:
            self._values[epoch] = value
            if len(self._values) > self._most:
                self._values.popitem(last=False)
