"""Customers in the ledger's database: their state, when to warn, and what the books say of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from metering.accounts import credit_line, customer
from metering.credit_line import drawn_nano_usd, line_nano_usd
from metering.database import Database, Session
from metering.ledger import Balance


class CustomerState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    """Its keys are known, but nothing is served to them."""
    CLOSED = "closed"
    """Its keys are revoked, and it gets no new ones. For good."""


class CustomerError(ValueError):
    """The customer cannot be changed so; the message says why."""


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    state: CustomerState
    warn_below_nano_usd: int | None
    """Warned of once each time that less than this is available; None: never."""
    warned_ns: int | None
    """When it fell below; None: it has not, or is above again."""
    created_ns: int | None
    """None: older than the record of customers."""
    balance: Balance
    lender: Balance
    """Of the account that its credit line comes out of."""

    @property
    def credit_line_nano_usd(self) -> int:
        return line_nano_usd(self.lender)

    @property
    def credit_drawn_nano_usd(self) -> int:
        return drawn_nano_usd(self.credit_line_nano_usd, self.balance)


class BalanceWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A balance fell below its threshold."""

    account: str
    warned_ns: int
    threshold_nano_usd: int
    available_nano_usd: int


_CUSTOMER = customer("x")[:-1]
_LENDER = credit_line("x")[:-1]
_NAME = f"substr(a.id, {len(_CUSTOMER) + 1})"
# An account that was used before there was a record of customers, or by a deposit, has none.
_CUSTOMERS = (
    "SELECT a.id, c.state, c.warn_below_nano_usd, c.warned_ns, c.created_ns, "
    "a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted, "
    "l.debits_pending, l.debits_posted, l.credits_pending, l.credits_posted FROM account a "
    f"LEFT JOIN customer c ON c.account = {_NAME} "
    f"LEFT JOIN account l ON l.id = '{_LENDER}' || {_NAME}"
)
_AVAILABLE = "(a.credits_posted - a.debits_posted - a.debits_pending)"


class CustomerStore:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, account: str) -> Customer | None:
        """None if no such account was ever opened. Raises AccountError."""
        rows = self._database.query(f"{_CUSTOMERS} WHERE a.id = ?", customer(account))
        return _customer(rows[0]) if rows else None

    def page(self, *, after: str | None = None, limit: int) -> list[Customer]:
        """Customers by name, those after the one given."""
        rows = self._database.query(
            f"{_CUSTOMERS} WHERE a.id > ? AND a.id < ? ORDER BY a.id LIMIT ?",
            _CUSTOMER + (after or ""),
            _CUSTOMER[:-1] + ";",  # what follows the colon
            limit,
        )
        return [_customer(row) for row in rows]

    def enter(self, account: str, now_ns: int) -> None:
        """Begin its record, unless it has one."""
        with self._database.transaction() as session:
            _enter(session, account, now_ns)

    def warn_below(self, account: str, nano_usd: int | None, now_ns: int) -> None:
        """Warn when less is available. An account that is below already is warned of anew."""
        with self._database.transaction() as session:
            _enter(session, account, now_ns)
            session.query(
                "UPDATE customer SET warn_below_nano_usd = ?, warned_ns = NULL WHERE account = ?",
                nano_usd,
                account,
            )

    def set_state(self, account: str, state: CustomerState, now_ns: int) -> None:
        """Raises CustomerError for an account that is closed, which is for good."""
        with self._database.transaction() as session:
            _enter(session, account, now_ns)
            ((before,),) = session.query("SELECT state FROM customer WHERE account = ?", account)
            if before == CustomerState.CLOSED and state is not CustomerState.CLOSED:
                raise CustomerError(f"account '{account}' is closed, which is for good")
            session.query("UPDATE customer SET state = ? WHERE account = ?", state, account)
            keys_changed(session)
            if state is CustomerState.CLOSED:
                session.query(
                    "UPDATE api_key SET revoked_ns = ? WHERE account = ? AND revoked_ns IS NULL",
                    now_ns,
                    account,
                )

    def count_low(self) -> int:
        """How many have less than they are to be warned at."""
        rows = self._database.query("SELECT count(*) FROM customer WHERE warned_ns IS NOT NULL")
        count: int = rows[0][0]
        return count

    def warn(self, now_ns: int) -> list[BalanceWarning]:
        """Note every balance that fell below its threshold since the last time, once whoever asks,
        and every one that is above it again.
        """
        crossed = self._database.query(
            f"SELECT c.account FROM customer c JOIN account a ON a.id = '{_CUSTOMER}' || c.account"
            f" WHERE (c.warned_ns IS NULL AND {_AVAILABLE} < c.warn_below_nano_usd)"
            f" OR (c.warned_ns IS NOT NULL AND {_AVAILABLE} >= c.warn_below_nano_usd)"
        )
        warnings = []
        for (account,) in crossed:
            with self._database.transaction() as session:
                warning = _cross(session, account, now_ns)
            if warning is not None:
                warnings.append(warning)
        return warnings

    def warnings(self, *, account: str | None = None, limit: int) -> list[BalanceWarning]:
        """The newest first."""
        where, values = ("", ()) if account is None else ("WHERE account = ?", (account,))
        rows = self._database.query(
            "SELECT account, warned_ns, threshold_nano_usd, available_nano_usd FROM balance_warning"
            f" {where} ORDER BY warned_ns DESC, account LIMIT ?",
            *values,
            limit,
        )
        fields = BalanceWarning.__struct_fields__
        return [BalanceWarning(**dict(zip(fields, row, strict=True))) for row in rows]


def keys_changed(session: Session) -> None:
    """Have gateways read the keys again."""
    session.query("UPDATE key_version SET version = version + 1")


def _enter(session: Session, account: str, now_ns: int) -> None:
    session.query(
        "INSERT INTO customer (account, state, created_ns) VALUES (?, ?, ?)"
        " ON CONFLICT (account) DO NOTHING",
        account,
        CustomerState.ACTIVE,
        now_ns,
    )


def _cross(session: Session, account: str, now_ns: int) -> BalanceWarning | None:
    """What it looks like under the write lock: another gateway may have noted it."""
    ((threshold, warned_ns, available),) = session.query(
        f"SELECT c.warn_below_nano_usd, c.warned_ns, {_AVAILABLE} FROM customer c"
        f" JOIN account a ON a.id = '{_CUSTOMER}' || c.account WHERE c.account = ?",
        account,
    )
    is_below = threshold is not None and available < threshold
    if is_below == (warned_ns is not None):
        return None
    session.query(
        "UPDATE customer SET warned_ns = ? WHERE account = ?",
        now_ns if is_below else None,
        account,
    )
    if not is_below:
        return None
    session.query(
        "INSERT INTO balance_warning"
        " (account, warned_ns, threshold_nano_usd, available_nano_usd) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (account, warned_ns) DO NOTHING",
        account,
        now_ns,
        threshold,
        available,
    )
    return BalanceWarning(
        account=account,
        warned_ns=now_ns,
        threshold_nano_usd=threshold,
        available_nano_usd=available,
    )


def _customer(row: tuple[Any, ...]) -> Customer:
    account_id, state, warn_below, warned_ns, created_ns, *counters = row
    return Customer(
        account=account_id.rpartition(":")[2],
        state=CustomerState.ACTIVE if state is None else CustomerState(state),
        warn_below_nano_usd=warn_below,
        warned_ns=warned_ns,
        created_ns=created_ns,
        balance=Balance(*counters[:4]),
        lender=Balance(*(counter or 0 for counter in counters[4:])),
    )
