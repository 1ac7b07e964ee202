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
from ide.merkle import MerkleTree
from ide.proof import Proof
from ide.proving import payout_tree, prove
from ide.settlement import SettlementError, stored_params, stored_result
from metering.epoch_seal import EpochSeal, PayoutRow
from metering.ledger import EpochRow, Ledger

_SHOWN_MAX = 64
_TREES_MAX = 4

T = TypeVar("T")


class Epochs:
    """Thread-safe. Methods raise SettlementError for what is not there, and LedgerError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._shown: _Kept[tuple[int, str], bytes] = _Kept(_SHOWN_MAX)
        self._trees: _Kept[int, MerkleTree] = _Kept(_TREES_MAX)

    def newest(self, *, before: int | None, limit: int) -> list[EpochSeal]:
        return self._ledger.seals(before=before, limit=limit)

    def as_json(self, epoch: int) -> bytes:
        """Head, figures and parameters; payouts are told a page at a time."""
        return self._shown.get((epoch, "json"), lambda: self._json(epoch))

    def as_page(self, epoch: int) -> bytes:
        return self._shown.get((epoch, "html"), lambda: self._page(epoch))

    def payouts(self, epoch: int, *, after_leaf: int, limit: int) -> list[PayoutRow]:
        self._seal(epoch)
        return list(self._ledger.payouts(epoch, after_leaf=after_leaf, limit=limit))

    def proof(self, epoch: int, supplier_id: str, *, with_charges: bool) -> Proof:
        row, _ = self._epoch(epoch)
        tree = self._trees.get(epoch, lambda: payout_tree(self._ledger, epoch))
        return prove(self._ledger, row, supplier_id, with_charges=with_charges, tree=tree)

    def _json(self, epoch: int) -> bytes:
        row, seal = self._epoch(epoch)
        figures = msgspec.to_builtins(msgspec.json.decode(row.result, type=EpochReport))
        del figures["payouts"]
        return msgspec.json.encode(
            {**seal_object(seal), "report": figures, "params": stored_params(row)}
        )

    def _page(self, epoch: int) -> bytes:
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


K = TypeVar("K")


class _Kept(Generic[K, T]):
    """The latest of so many values; what several ask for at once is made once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[K, T] = OrderedDict()

    def get(self, key: K, make: Callable[[], T]) -> T:
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
                if len(self._values) > self._most:
                    self._values.popitem(last=False)
            self._values.move_to_end(key)
            return self._values[key]
