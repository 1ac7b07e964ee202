"""A ledger that stands between the gateway and the real one, and knows every answer beforehand."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from metering.accounts import USD_EXTERNAL, USD_FEE_VAULT, USD_SHORTFALL, customer
from metering.ledger import Balance, LedgerError
from metering.sqlite_ledger import SqliteLedger
from metering.transfer import Group, PostResult

from .model import Truth

CLI = "cli"


class Auditor:
    """The part of `Ledger` that a poster uses, and the check of the whole."""

    def __init__(self, ledger: SqliteLedger, truth: Truth, accounts: Sequence[str]) -> None:
        self.truth = truth
        self.replies: Counter[str] = Counter()
        self.told: deque[dict[str, tuple[int, int]]] = deque()
        """Balances read for the budget, and the last row in each; in the order of reading."""
        self._ledger = ledger
        self._accounts = accounts

    def post(
        self, writer: str, groups: Sequence[Group], watermark: int | None = None
    ) -> list[PostResult]:
        truth = self.truth
        assert watermark is not None
        assert truth.booked < watermark <= len(truth.rows), "booked what is not durable"
        truth.post_doubt = watermark
        results = self._ledger.post(writer, groups, watermark)
        assert set(results) == {PostResult.OK}, f"rows are booked twice or refused: {results}"
        truth.posted(watermark)
        self.replies["post"] += len(groups)
        return results

    def watermark(self, writer: str) -> int:
        found = self._ledger.watermark(writer)
        assert found == self.truth.booked, f"watermark {found}, not {self.truth.booked}"
        return found

    def balances(self, accounts: Iterable[str]) -> dict[str, Balance]:
        found = self._ledger.balances(list(accounts))
        books = self.truth.books
        for account in self._accounts:
            if (balance := found.get(customer(account))) is not None:
                self._same(customer(account), balance.available, books.available(account))
                self._same(customer(account), balance.posted, books.posted(account))
        self.told.append(
            {each: (books.available(each), self.truth.booked) for each in self._accounts}
        )
        self.replies["balance"] += len(found)
        return found

    def last_seq(self) -> int:
        found = self._ledger.last_seq()
        self._same("the last row", found, self.truth.books.transfers)
        return found

    def data_version(self) -> int:
        return self._ledger.data_version()

    def _same(self, what: str, found: object, expected: object) -> None:
        assert found == expected, f"{what}: the ledger has {found}, it should have {expected}"

    def audit(self) -> None:
        """The whole ledger, line by line, and its own audit. Raises LedgerError."""
        found = self._ledger.verify()
        if not found.ok and found.problem and "disk I/O" in found.problem:
            raise LedgerError(found.problem)
        assert found.ok, found.problem
        books = self.truth.books
        self._same("transfers", found.transfers, books.transfers)
        charges = [
            (
                each.charge_id,
                each.account,
                each.outcome,
                each.completion_tokens,
                each.cost_nano_usd,
                each.charged_nano_usd,
            )
            for each in self._ledger.charges()
        ]
        self._same("charges", charges, books.charges)
        lines = {line.account: line.balance for line in self._ledger.trial_balance()}
        for account in self._accounts:
            line = lines.pop(customer(account), Balance())
            self._same(account, line.posted, books.posted(account))
            self._same(account, line.debits_pending, books.held[account])
        held = books.held.total() + books.shortfall_held
        vault = lines.pop(USD_FEE_VAULT, Balance())
        self._same("the vault", (vault.posted, vault.credits_pending), (books.vault, held))
        short = lines.pop(USD_SHORTFALL, Balance())
        self._same(
            "the shortfall",
            (short.debits_posted, short.debits_pending),
            (books.shortfall, books.shortfall_held),
        )
        outside = lines.pop(USD_EXTERNAL, Balance())
        paid_in = books.paid_in.total()
        self._same("outside", outside.posted, books.withdrawn - paid_in)
        assert not lines, f"accounts from nowhere: {lines}"
        self.replies["audit"] += 1
