"""The embedded Solana VM as a chain that outlives its process: its accounts are in a file. Edge.

It runs the real programs (litesvm of solders). A transaction and every account that it changed are
written in one commit, so a killed process leaves a chain on which it landed or did not. Each
transaction is a block of its own and final at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from solders.account import Account
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata

from ide.chain.account_data import with_nonce
from ide.chain.address import SYSTEM_PROGRAM
from ide.chain.chain import AccountState, ChainAwayError, ChainError, TransactionStatus
from ide.chain.instructions import NONCE_SIZE

_SCHEMA = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE block (slot INTEGER PRIMARY KEY, signature TEXT NOT NULL UNIQUE, error TEXT) STRICT;
CREATE TABLE account (
    address TEXT PRIMARY KEY,
    lamports INTEGER NOT NULL,
    owner TEXT NOT NULL,
    data BLOB NOT NULL
) STRICT;
"""
_LOCK_TIMEOUT_S = 5


class VmChain:
    """A `Chain`. One process has it open at a time; raises ChainAwayError if another does.

    `genesis` are the accounts that a new file begins with.
    """

    def __init__(self, path: Path, genesis: Mapping[Pubkey, AccountState]) -> None:
        self._path = path
        with self._errors():
            self._db = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, isolation_level=None)
            try:
                self._open(genesis)
            except BaseException:
                self._db.close()
                raise
        self._svm = LiteSVM()
        for address, lamports, owner, data in self._db.execute("SELECT * FROM account"):
            state = AccountState(lamports=lamports, owner=Pubkey.from_string(owner), data=data)
            self._svm.set_account(Pubkey.from_string(address), _account(state))
        ((blocks,),) = self._db.execute("SELECT count(*) FROM block")
        for _ in range(blocks + 1):  # or nonces would repeat the values that they had before
            self._svm.expire_blockhash()

    @property
    def name(self) -> str:
        return f"the embedded Solana VM in {self._path}"

    def identity(self) -> str:
        with self._errors():
            ((identity,),) = self._db.execute("SELECT value FROM fact WHERE name = 'identity'")
        return str(identity)

    def accounts(self, addresses: Sequence[Pubkey]) -> list[AccountState | None]:
        return [self._state(address) for address in addresses]

    def statuses(self, signatures: Sequence[Signature]) -> list[TransactionStatus | None]:
        with self._errors():
            return [self._status(signature) for signature in signatures]

    def simulate(self, transaction: bytes) -> str | None:
        told = self._svm.simulate_transaction(Transaction.from_bytes(transaction))
        return _told(told) if isinstance(told, FailedTransactionMetadata) else None

    def send(self, transaction: bytes) -> None:
        """Like a cluster: what cannot get into a block is dropped, and nobody is told."""
        parsed = Transaction.from_bytes(transaction)
        told = self._svm.send_transaction(parsed)
        error = None
        if isinstance(told, FailedTransactionMetadata):
            if told.meta().signature() == Signature.default():
                return
            error = _told(told)
            self._advance_nonce(parsed)
        self._svm.expire_blockhash()
        self._write(parsed, error)

    def latest_blockhash(self) -> Hash:
        return self._svm.latest_blockhash()

    def rent_lamports(self, size: int) -> int:
        return self._svm.minimum_balance_for_rent_exemption(size)

    def pause(self) -> None:
        """Everything is final at once."""

    def close(self) -> None:
        self._db.close()

    def _open(self, genesis: Mapping[Pubkey, AccountState]) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("BEGIN EXCLUSIVE")
        if not self._db.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall():
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            identity = str(Hash(secrets.token_bytes(32)))
            self._db.execute("INSERT INTO fact VALUES ('identity', ?)", [identity])
            for address, account in genesis.items():
                self._keep(address, account)
        self._db.execute("COMMIT")

    def _write(self, transaction: Transaction, error: str | None) -> None:
        with self._errors():
            self._db.execute("BEGIN")
            self._db.execute(
                "INSERT INTO block (signature, error) VALUES (?, ?)",
                [str(transaction.signatures[0]), error],
            )
            for address in transaction.message.account_keys:
                account = self._svm.get_account(address)
                if account is None or not account.executable:
                    self._keep(address, self._state(address))
            self._db.execute("COMMIT")

    def _keep(self, address: Pubkey, account: AccountState | None) -> None:
        if account is None:
            self._db.execute("DELETE FROM account WHERE address = ?", [str(address)])
            return
        self._db.execute(
            "INSERT OR REPLACE INTO account VALUES (?, ?, ?, ?)",
            [str(address), account.lamports, str(account.owner), account.data],
        )

    def _state(self, address: Pubkey) -> AccountState | None:
        account = self._svm.get_account(address)
        if account is None or account.lamports == 0:
            return None
        return AccountState(
            owner=account.owner, lamports=account.lamports, data=bytes(account.data)
        )

    def _status(self, signature: Signature) -> TransactionStatus | None:
        rows = self._db.execute(
            "SELECT slot, error FROM block WHERE signature = ?", [str(signature)]
        ).fetchall()
        return (
            TransactionStatus(finalized=True, slot=rows[0][0], error=rows[0][1]) if rows else None
        )

    def _advance_nonce(self, transaction: Transaction) -> None:
        """A cluster advances the nonce of a transaction that fails, litesvm does not."""
        for address in transaction.message.account_keys:
            account = self._state(address)
            if account is None or account.owner != SYSTEM_PROGRAM:
                continue
            if len(account.data) == NONCE_SIZE:
                value = hashlib.sha256(b"DURABLE_NONCE" + bytes(self._svm.latest_blockhash()))
                data = with_nonce(account.data, Hash(value.digest()))
                moved = AccountState(owner=account.owner, lamports=account.lamports, data=data)
                self._svm.set_account(address, _account(moved))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise ChainAwayError(
                f"{self.name}: {error}. If another tollgate command has it open, run again later"
            ) from error
        except sqlite3.DatabaseError as error:
            raise ChainError(f"{self.name}: {error}") from error


def _account(state: AccountState) -> Account:
    return Account(state.lamports, state.data, state.owner, False, 0)


def _told(failed: FailedTransactionMetadata) -> str:
    logs = [line for line in failed.meta().logs() if not line.startswith("Program ")]
    return "; ".join([str(failed.err()), *logs[-1:]])
