"""Sends transactions that are written down, and asks until each has ended. Edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature

from ide.chain.account_data import read_nonce
from ide.chain.chain import Chain, ChainAwayError, ChainError, TransactionStatus
from ide.chain.payment import Attempt, TransactionState
from ide.chain.payment_store import PaymentStore
from ide.chain.plan import ChainTerms
from ide.chain.verdict import Verdict, verdict

_POLLS_A_SEND = 15
"""What has not landed is sent again after so many questions: nodes drop transactions."""


class Courier:
    """Raises ChainError; what it was about may be finished again."""

    def __init__(
        self, chain: Chain, payments: PaymentStore, terms: ChainTerms, clock_ns: Callable[[], int]
    ) -> None:
        self._chain = chain
        self._store = payments
        self._terms = terms
        self._clock_ns = clock_ns

    def finish(self, attempts: Sequence[Attempt]) -> None:
        """Return once all have landed. Raises ChainError if one failed, or has not ended in time.

        Each is looked for before it is sent: this may be a run after a crash.
        """
        waiting = {attempt: Verdict.WAITING for attempt in attempts}
        failures: list[str] = []
        away: ChainAwayError | None = None
        for poll in range(self._terms.polls_max + 1):
            try:
                waiting = self._judge(list(waiting), failures)
                if not waiting:
                    break
                if poll % _POLLS_A_SEND == 0:
                    self._send(waiting)
                away = None
            except ChainAwayError as error:
                away = error
            self._chain.pause()
        if failures:
            raise ChainError(
                f"{len(failures)} of the transactions sent failed on chain: {'; '.join(failures)}."
                " What they were to pay is owed as before: look why, and run again"
            )
        if waiting:
            raise away or _late(waiting)

    def _judge(self, attempts: Sequence[Attempt], failures: list[str]) -> dict[Attempt, Verdict]:
        """Write down what has ended; the others are returned."""
        statuses = self._chain.statuses([Signature.from_string(a.signature) for a in attempts])
        addresses = [Pubkey.from_string(attempt.nonce_account) for attempt in attempts]
        nonces = self._chain.accounts(addresses)
        waiting: dict[Attempt, Verdict] = {}
        for attempt, status, address, account in zip(
            attempts, statuses, addresses, nonces, strict=True
        ):
            now = read_nonce(address, self._terms.authority, account)
            judged = verdict(Hash.from_string(attempt.nonce), now, status)
            if status is None or judged is Verdict.WAITING:
                waiting[attempt] = judged
                continue
            self._end(attempt, judged, status)
            if judged is Verdict.FAILED:
                failures.append(f"{attempt.signature} (epoch {attempt.epoch}): {status.error}")
        return waiting

    def _end(self, attempt: Attempt, judged: Verdict, status: TransactionStatus) -> None:
        landed = judged is Verdict.LANDED
        self._store.end(
            attempt.signature,
            TransactionState.FINALIZED if landed else TransactionState.FAILED,
            slot=status.slot,
            error=status.error,
            now_ns=self._clock_ns(),
        )

    def _send(self, waiting: dict[Attempt, Verdict]) -> None:
        for attempt, judged in waiting.items():
            if judged is Verdict.WAITING:
                self._chain.send(attempt.transaction)


def _late(waiting: dict[Attempt, Verdict]) -> ChainError:
    unknown = [attempt for attempt, judged in waiting.items() if judged is Verdict.UNKNOWN]
    if unknown:
        return ChainError(
            f"the nonce of transaction {unknown[0].signature} (epoch {unknown[0].epoch}) has moved,"
            " but this chain's node does not know what became of it. Name one that keeps the whole"
            " history as url of [solana] and run again; nothing else is paid until then"
        )
    return ChainError(
        f"{len(waiting)} transactions are sent but not final yet, the first is"
        f" {next(iter(waiting)).signature}. Run again: the same ones are sent, none is paid twice"
    )
