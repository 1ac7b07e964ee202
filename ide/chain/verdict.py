"""What became of a transaction that was signed, told from its nonce and its status."""

from __future__ import annotations

from enum import StrEnum

from solders.hash import Hash

from ide.chain.chain import TransactionStatus


class Verdict(StrEnum):
    LANDED = "landed"
    """Final, and it did what it says."""
    FAILED = "failed"
    """Final without any effect but its fee, and it can never land again: its nonce has moved."""
    WAITING = "waiting"
    """It may still land. The same bytes may be sent again, no others may be signed."""
    UNKNOWN = "unknown"
    """Its nonce has moved, but the chain's node knows no status: it landed, did or failed."""


def verdict(signed_nonce: Hash, nonce_now: Hash, status: TransactionStatus | None) -> Verdict:
    """Both as of finalized blocks, the status asked for first."""
    if status is None:
        return Verdict.WAITING if nonce_now == signed_nonce else Verdict.UNKNOWN
    if not status.finalized:
        return Verdict.WAITING
    if status.error is None:
        return Verdict.LANDED
    return Verdict.WAITING if nonce_now == signed_nonce else Verdict.FAILED
