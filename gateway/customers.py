"""What an operator does with customers, by the admin API or the command line. It blocks."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from metering.accounts import customer
from metering.credit_line import set_line
from metering.customer_store import Customer, CustomerState, CustomerStore
from metering.ledger import Ledger

_NanoUsd = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Threshold = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class AccountPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not given stays as it is."""

    state: CustomerState | UnsetType = UNSET
    credit_line_nano_usd: _NanoUsd | UnsetType = UNSET
    warn_below_nano_usd: _Threshold | UnsetType | None = UNSET


class Customers:
    """`writer` is whose chain in the ledger what it books belongs to. Raises LedgerError."""

    def __init__(self, ledger: Ledger, store: CustomerStore, writer: str) -> None:
        self._ledger = ledger
        self._writer = writer
        self.store = store

    def open(self, account: str) -> bool:
        """False: it is there already. Raises AccountError."""
        opened = self._ledger.open_account(customer(account))
        self.store.enter(account, time.time_ns())
        return opened

    def change(self, account: str, patch: AccountPatch) -> Customer | None:
        """The customer as it now is; None if there is none. What comes before a refusal stays
        changed. Raises CustomerError, CreditLineError, AccountError.
        """
        if self.store.get(account) is None:
            return None
        now_ns = time.time_ns()
        if patch.state is not UNSET:
            self.store.set_state(account, patch.state, now_ns)
        if patch.credit_line_nano_usd is not UNSET:
            set_line(self._ledger, self._writer, account, patch.credit_line_nano_usd)
        if patch.warn_below_nano_usd is not UNSET:
            self.store.warn_below(account, patch.warn_below_nano_usd, now_ns)
        return self.store.get(account)
