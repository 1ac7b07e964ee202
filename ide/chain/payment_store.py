"""Signed transactions and what they pay, in the ledger's database. Edge.

A payment has a row as long as it is in a transaction that may land or has landed, and an epoch owes
a supplier at most one such row: so whatever is signed twice is refused before it can be sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ide.chain.chain import ChainError
from ide.chain.payment import (
    Attempt,
    Opening,
    PaidPayment,
    Payment,
    Spent,
    TransactionState,
)
from ide.chain.plan import CLOSING
from metering.database import Database, Session
from metering.ledger import ConflictError

_OPENING = "chain, mint, authority, supply_io, vault_io, paid_io, burned_io, reason, opened_ns"
_ATTEMPT = "signature, epoch, nonce_account, nonce, bytes, io, lamports"


class PaymentStore:
    """Of one chain, known by its genesis hash: what was paid on another is not paid on this.

    Thread-safe. Raises LedgerError when the database cannot answer.
    """

    def __init__(self, database: Database, chain: str) -> None:
        self._database = database
        self.chain = chain

    def record(
        self,
        attempt: Attempt,
        payments: Sequence[Payment],
        *,
        io_max: int | None,
        lamports_max: int | None,
        now_ns: int,
    ) -> None:
        """Make a signed transaction durable, before it is sent. All or nothing.

        Raises ChainError if the epoch would pass a cap, or if another process was quicker.
        """
        try:
            with self._database.transaction() as session:
                _check_caps(
                    attempt, _spent(session, self.chain, attempt.epoch), io_max, lamports_max
                )
                session.query(
                    f"INSERT INTO chain_transaction ({_ATTEMPT}, chain, state, signed_ns)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'signed', ?)",
                    *msgspec.structs.astuple(attempt),
                    self.chain,
                    now_ns,
                )
                for payment in payments:
                    session.query(
                        "INSERT INTO chain_payment"
                        " (epoch, supplier_id, wallet, io, chain, signature)"
                        " VALUES (?, ?, ?, ?, ?, ?)",
                        *msgspec.structs.astuple(payment),
                        self.chain,
                        attempt.signature,
                    )
        except ConflictError as error:
            raise ChainError(
                f"epoch {attempt.epoch} is being paid by another process, which was quicker:"
                " nothing of this transaction was sent. Run again"
            ) from error

    def end(
        self, signature: str, state: TransactionState, *, slot: int, error: str | None, now_ns: int
    ) -> None:
        """How a transaction ended. What a failed one was to pay is owed again; a repeat does
        nothing.
        """
        with self._database.transaction() as session:
            ended = session.query(
                "UPDATE chain_transaction SET state = ?, slot = ?, error = ?, ended_ns = ?"
                " WHERE signature = ? AND state = 'signed' RETURNING signature",
                str(state),
                slot,
                error,
                now_ns,
                signature,
            )
            if ended and state is TransactionState.FAILED:
                session.query("DELETE FROM chain_payment WHERE signature = ?", signature)

    def live(self) -> list[Attempt]:
        """Signed and not known to have ended, the oldest first."""
        rows = self._database.query(
            f"SELECT {_ATTEMPT} FROM chain_transaction WHERE state = 'signed' AND chain = ?"
            " ORDER BY seq",
            self.chain,
        )
        return [_attempt(row) for row in rows]

    def last_nonces(self) -> Mapping[str, str]:
        """The value that each nonce account was last used with."""
        rows = self._database.query(
            "SELECT nonce_account, nonce FROM chain_transaction WHERE seq IN"
            " (SELECT max(seq) FROM chain_transaction GROUP BY nonce_account)"
        )
        return dict(rows)

    def payments(self, epoch: int) -> list[PaidPayment]:
        """What is signed or final of an epoch, ordered by supplier, its burn first."""
        rows = self._database.query(
            "SELECT p.epoch, p.supplier_id, p.wallet, p.io, p.signature, t.state, t.slot"
            " FROM chain_payment p JOIN chain_transaction t ON t.signature = p.signature"
            " WHERE p.chain = ? AND p.epoch = ? ORDER BY p.supplier_id",
            self.chain,
            epoch,
        )
        return [_paid(row) for row in rows]

    def spent(self, epoch: int) -> Spent:
        return _spent(self._database, self.chain, epoch)

    def paid_by_supplier(self) -> dict[str, int]:
        """Base units in finalized transactions over all epochs; burned under `CLOSING`."""
        rows = self._database.query(
            "SELECT p.supplier_id, CAST(sum(p.io) AS BIGINT)"
            " FROM chain_payment p JOIN chain_transaction t ON t.signature = p.signature"
            " WHERE p.chain = ? AND t.state = 'finalized' GROUP BY p.supplier_id"
            " ORDER BY p.supplier_id",
            self.chain,
        )
        return dict(rows)

    def paid_by_wallet(self) -> dict[str, int]:
        """Base units in finalized payouts, by the address they went to."""
        rows = self._database.query(
            "SELECT p.wallet, CAST(sum(p.io) AS BIGINT)"
            " FROM chain_payment p JOIN chain_transaction t ON t.signature = p.signature"
            " WHERE p.chain = ? AND t.state = 'finalized' AND p.supplier_id <> ?"
            " GROUP BY p.wallet ORDER BY p.wallet",
            self.chain,
            CLOSING,
        )
        return dict(rows)

    def opening(self) -> Opening | None:
        rows = self._database.query(
            f"SELECT {_OPENING} FROM chain_opening WHERE chain = ? ORDER BY seq DESC LIMIT 1",
            self.chain,
        )
        return Opening(**dict(zip(_OPENING.split(", "), rows[0], strict=True))) if rows else None

    def open(self, opening: Opening) -> None:
        self._database.query(
            f"INSERT INTO chain_opening ({_OPENING}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *msgspec.structs.astuple(opening),
        )


def _check_caps(
    attempt: Attempt, spent: Spent, io_max: int | None, lamports_max: int | None
) -> None:
    over = [
        f"{name} {now} + {more} > {most}"
        for name, now, more, most in (
            ("base units of IO", spent.io, attempt.io, io_max),
            ("lamports", spent.lamports, attempt.lamports, lamports_max),
        )
        if most is not None and now + more > most
    ]
    if over:
        raise ChainError(
            f"epoch {attempt.epoch} would pass its spending cap ({'; '.join(over)}): nothing of"
            " this transaction was sent. Look why, then raise the cap in [solana]"
        )


def _spent(session: Session, chain: str, epoch: int) -> Spent:
    rows = session.query(
        "SELECT CAST(coalesce(sum(CASE WHEN state = 'failed' THEN 0 ELSE io END), 0) AS BIGINT),"
        " CAST(coalesce(sum(lamports), 0) AS BIGINT) FROM chain_transaction"
        " WHERE chain = ? AND epoch = ?",
        chain,
        epoch,
    )
    return Spent(io=rows[0][0], lamports=rows[0][1])


def _attempt(row: tuple[Any, ...]) -> Attempt:
    signature, epoch, nonce_account, nonce, transaction, io, lamports = row
    return Attempt(
        signature=signature,
        epoch=epoch,
        nonce_account=nonce_account,
        nonce=nonce,
        transaction=bytes(transaction),
        io=io,
        lamports=lamports,
    )


def _paid(row: tuple[Any, ...]) -> PaidPayment:
    epoch, supplier_id, wallet, io, signature, state, slot = row
    return PaidPayment(
        payment=Payment(epoch=epoch, supplier_id=supplier_id, wallet=wallet, io=io),
        signature=signature,
        state=TransactionState(state),
        slot=slot,
    )
