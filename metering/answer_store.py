"""Answers to requests with an Idempotency-Key, in the ledger's database: each is made once, charged
once, and given again for a day to who asks the same with the same key.

    claim      there is          answer of `claim`
    first      nothing           CLAIMED: make it, `keep` it and charge it; or `release` the claim
    again      a claim           RUNNING
    again      an answer         KEPT, with it; TOO_LARGE if it was
    other body either            OTHER_BODY
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from metering.database import Database

KEPT_NS = 24 * 3600 * 1_000_000_000
RUNNING_NS = 3600 * 1_000_000_000
"""A claim that nobody resolved for so long is void: its gateway is lost for good."""

ANSWERS_MAX = 10_000
ANSWER_BYTES_MAX = 1024 * 1024
"""Of one answer, as it is kept: compressed."""
ACCOUNT_BYTES_MAX = 256 * 1024 * 1024


class ClaimState(StrEnum):
    CLAIMED = "claimed"
    RUNNING = "running"
    KEPT = "kept"
    TOO_LARGE = "too_large"
    OTHER_BODY = "other_body"
    FULL = "full"
    """The account keeps as much as it may."""


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    request_id: str
    """Of the request that it was made for, and charged to."""
    content_type: str
    body: bytes


class Claim(msgspec.Struct, frozen=True):
    state: ClaimState
    answer: KeptAnswer | None = None
    """Of a claim that is KEPT."""


class AnswerStore:
    """Thread-safe. Methods raise LedgerError when the database cannot answer. `writer` names the
    gateway process that has a claim.
    """

    def __init__(
        self,
        database: Database,
        *,
        answers_max: int = ANSWERS_MAX,
        account_bytes_max: int = ACCOUNT_BYTES_MAX,
    ) -> None:
        """The bounds are of one account."""
        self._database = database
        self._answers_max = answers_max
        self._account_bytes_max = account_bytes_max

    def claim(self, account: str, key: str, fingerprint: bytes, writer: str, now_ns: int) -> Claim:
        with self._database.transaction() as session:
            session.query(
                "DELETE FROM kept_answer WHERE account = ? AND"
                " (claimed_ns < ? OR (running = 1 AND claimed_ns < ?))",
                account,
                now_ns - KEPT_NS,
                now_ns - RUNNING_NS,
            )
            rows = session.query(
                "SELECT fingerprint, running, request_id, content_type, answer FROM kept_answer"
                " WHERE account = ? AND idempotency_key = ?",
                account,
                key,
            )
            if rows:
                return _found(*rows[0], asked=fingerprint)
            ((count, kept_bytes),) = session.query(
                "SELECT count(*), coalesce(sum(length(answer)), 0) FROM kept_answer"
                " WHERE account = ?",
                account,
            )
            if count >= self._answers_max or kept_bytes >= self._account_bytes_max:
                return Claim(ClaimState.FULL)
            session.query(
                "INSERT INTO kept_answer"
                " (account, idempotency_key, fingerprint, writer, claimed_ns, running)"
                " VALUES (?, ?, ?, ?, ?, 1)",
                account,
                key,
                fingerprint,
                writer,
                now_ns,
            )
        return Claim(ClaimState.CLAIMED)

    def keep(self, account: str, key: str, answer: KeptAnswer) -> None:
        """One that is too large is noted as that, so that it is not made and charged again."""
        body = answer.body if len(answer.body) <= ANSWER_BYTES_MAX else None
        self._database.query(
            "UPDATE kept_answer SET running = 0, request_id = ?, content_type = ?, answer = ?"
            " WHERE account = ? AND idempotency_key = ?",
            answer.request_id,
            answer.content_type,
            body,
            account,
            key,
        )

    def release(self, account: str, key: str) -> None:
        """Nothing was kept: the next one with this key is the first. What is kept stays."""
        self._database.query(
            "DELETE FROM kept_answer WHERE account = ? AND idempotency_key = ? AND running = 1",
            account,
            key,
        )

    def withdraw(self, account: str, key: str) -> None:
        """What was kept could not be charged: the next one with this key is the first."""
        self._database.query(
            "DELETE FROM kept_answer WHERE account = ? AND idempotency_key = ?", account, key
        )

    def release_all(self, writer: str) -> None:
        """What this writer had under way in an earlier life."""
        self._database.query("DELETE FROM kept_answer WHERE writer = ? AND running = 1", writer)

    def forget(self, now_ns: int) -> None:
        """What is older than a day, of all accounts."""
        self._database.query("DELETE FROM kept_answer WHERE claimed_ns < ?", now_ns - KEPT_NS)


def _found(
    fingerprint: bytes,
    running: int,
    request_id: str | None,
    content_type: str | None,
    body: bytes | None,
    *,
    asked: bytes,
) -> Claim:
    if bytes(fingerprint) != asked:
        return Claim(ClaimState.OTHER_BODY)
    if running:
        return Claim(ClaimState.RUNNING)
    if body is None:
        return Claim(ClaimState.TOO_LARGE)
    kept = KeptAnswer(
        request_id=request_id or "", content_type=content_type or "", body=bytes(body)
    )
    return Claim(ClaimState.KEPT, kept)
