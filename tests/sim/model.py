"""What the books must say, worked out a second time: from the rows that are durable, in the batches
in which they were posted. Plain sums, and nothing of `metering` but its records.

What is in doubt after a death is settled by one question each, whose answer must be one of two.
"""

from __future__ import annotations

from collections import Counter

from metering.charge import ChargeOutcome, ChargeProgress, CloseCharge, OpenCharge, Row
from metering.usage import UsageSource

CUSTOMER = "customer"
SHORTFALL = "shortfall"


def cost_of(opened: OpenCharge, close: CloseCharge) -> int:
    """Nano-USD."""
    usage, price = close.usage, opened.price
    if usage is None:
        return 0
    uncached = usage.prompt_tokens - usage.cached_tokens
    return (
        uncached * price.prompt_nano_usd
        + usage.cached_tokens * price.cached_prompt_nano_usd
        + usage.completion_tokens * price.completion_nano_usd
    )


class Books:
    """Balances in nano-USD after the rows booked so far."""

    def __init__(self) -> None:
        self.paid_in: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.withdrawn = 0
        self.vault = 0
        self.shortfall = 0
        self.shortfall_held = 0
        self.transfers = 0
        self.charges: list[tuple[str, str, ChargeOutcome, int, int, int]] = []
        """Id, account, how it ended, completion tokens, cost and what the customer paid."""
        self._holds: dict[str, tuple[OpenCharge, str]] = {}

    def available(self, account: str) -> int:
        return self.posted(account) - self.held[account]

    def posted(self, account: str) -> int:
        return self.paid_in[account] - self.spent[account]

    def deposit(self, account: str, amount: int) -> None:
        self.paid_in[account] += amount
        self.transfers += 1

    def withdraw(self, account: str, amount: int) -> None:
        self.spent[account] += amount
        self.withdrawn += amount
        self.transfers += 1

    def book(self, rows: list[Row]) -> None:
        """One batch: a charge whose two ends are both in it is one payment and no hold."""
        closing = {row.charge_id for row in rows if isinstance(row, CloseCharge)}
        opening: dict[str, OpenCharge] = {}
        for row in rows:
            if isinstance(row, OpenCharge):
                opening[row.charge_id] = row
                if row.charge_id not in closing:
                    self._hold(row)
            elif isinstance(row, CloseCharge):
                if row.charge_id in opening:
                    self._pay_whole(opening[row.charge_id], row)
                else:
                    self._pay_held(row)

    def _hold(self, opened: OpenCharge) -> None:
        bearer = CUSTOMER if self.available(opened.account) >= opened.hold_nano_usd else SHORTFALL
        self._holds[opened.charge_id] = opened, bearer
        self._move_hold(opened, bearer, opened.hold_nano_usd)
        self.transfers += 1

    def _move_hold(self, opened: OpenCharge, bearer: str, amount: int) -> None:
        if bearer is CUSTOMER:
            self.held[opened.account] += amount
        else:
            self.shortfall_held += amount

    def _pay_held(self, close: CloseCharge) -> None:
        opened, bearer = self._holds.pop(close.charge_id)
        self._move_hold(opened, bearer, -opened.hold_nano_usd)
        self._pay(opened, close, bearer)

    def _pay_whole(self, opened: OpenCharge, close: CloseCharge) -> None:
        due = min(cost_of(opened, close), opened.hold_nano_usd)
        self._pay(opened, close, CUSTOMER if self.available(opened.account) >= due else SHORTFALL)

    def _pay(self, opened: OpenCharge, close: CloseCharge, bearer: str) -> None:
        cost = cost_of(opened, close)
        paid = min(cost, opened.hold_nano_usd) if bearer is CUSTOMER else 0
        self.spent[opened.account] += paid
        self.shortfall += cost - paid
        self.vault += cost
        self.transfers += 1 + (cost > opened.hold_nano_usd)
        tokens = close.usage.completion_tokens if close.usage else 0
        self.charges.append((close.charge_id, opened.account, close.outcome, tokens, cost, paid))


class Truth:
    """What the auditor knows of one world: rows that are durable, and how many are booked."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.booked = 0
        self.books = Books()
        self.told_seq = 0
        """Up to here somebody relied on the rows: they were told that they are durable."""
        self.row_doubt: list[Row] = []
        """In a commit that did not return."""
        self.post_doubt: int | None = None
        """The watermark of a post that did not return."""

    def posted(self, upto: int) -> None:
        self.books.book(self.rows[self.booked : upto])
        self.booked = upto
        self.post_doubt = None

    def settle_rows(self, last_seq: int) -> bool:
        """A restart found so many rows. Says whether what was in doubt is among them."""
        assert last_seq >= self.told_seq, f"row {self.told_seq} was told as durable and is lost"
        kept, doubt = len(self.rows), self.row_doubt
        assert last_seq in (kept, kept + len(doubt)), f"{last_seq} rows, not {kept} + {len(doubt)}"
        landed = last_seq > kept
        self.rows += doubt if landed else []
        self.row_doubt = []
        return landed

    def settle_post(self, watermark: int) -> bool:
        """A restart found the ledger here. Says whether the post in doubt is booked."""
        possible = {self.booked, self.post_doubt or self.booked}
        assert watermark in possible, f"the ledger stands at {watermark}, not at one of {possible}"
        landed = watermark > self.booked
        if landed:
            self.posted(watermark)
        self.post_doubt = None
        return landed

    def crash_closes(self, now_ns: int) -> list[Row]:
        """What a restart must write of its own: an end for all that is open."""
        opened: dict[str, OpenCharge] = {}
        progress: dict[str, ChargeProgress] = {}
        for row in self.rows:
            if isinstance(row, OpenCharge):
                opened[row.charge_id] = row
            elif isinstance(row, ChargeProgress):
                progress[row.charge_id] = row
            else:
                del opened[row.charge_id]
        return [_crash_close(each, progress.get(each), now_ns) for each in opened]


def _crash_close(charge_id: str, progress: ChargeProgress | None, now_ns: int) -> CloseCharge:
    return CloseCharge(
        charge_id=charge_id,
        outcome=ChargeOutcome.GATEWAY_CRASH,
        node_id=progress.node_id if progress else None,
        supplier_id=progress.supplier_id if progress else None,
        usage=progress.usage if progress else None,
        usage_source=UsageSource.COUNTED if progress else None,
        closed_ns=now_ns,
        ttft_ns=None,
    )
