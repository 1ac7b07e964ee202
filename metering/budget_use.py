"""How much of each budget is used, from the books: spend caps, daily quotas, credit lines.

Holds count as not used. Whole hours come from their sums (`usage_hours.py`), what those do not have
yet from the charges, in one statement, so that nothing is counted twice.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

import msgspec

from metering.accounts import credit_line, customer
from metering.credit_line import drawn_nano_usd, line_nano_usd
from metering.cycle import Cycle, cycle_start_ns
from metering.database import Database
from metering.ledger import Balance
from metering.purse import FOREVER_NS, Quota


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """In nano-USD, or in tokens."""

    used: int
    limit: int


_USED = """
    SELECT {group}, CAST(sum(amount) AS BIGINT) AS amount FROM (
        SELECT {group}, {amount} AS amount FROM usage_hour
        WHERE account IN ({accounts}) AND hour_ns >= ? {only}
        UNION ALL
        SELECT {group}, {amount} FROM charge
        WHERE seq > (SELECT upto_seq FROM usage_summed) AND created_ns >= ? {only}
    ) AS used GROUP BY {group}
"""
_CAPPED = (
    "SELECT k.key_id, k.spend_cap_nano_usd, coalesce(k.spend_cycle, '') FROM api_key k"
    " LEFT JOIN api_key p ON p.key_id = k.parent_key_id WHERE k.spend_cap_nano_usd IS NOT NULL"
    " AND k.revoked_ns IS NULL"
    f" AND coalesce(k.expires_ns, {FOREVER_NS}) > ? AND coalesce(p.expires_ns, {FOREVER_NS}) > ?"
)
_PARENTS = "SELECT key_id, parent_key_id FROM api_key WHERE parent_key_id IS NOT NULL"
_SPENT = _USED.format(
    group="key_id",
    amount="charged_nano_usd",
    accounts="SELECT account FROM api_key WHERE spend_cap_nano_usd IS NOT NULL"
    " AND revoked_ns IS NULL AND coalesce(spend_cycle, '') = ?",
    only="",
)
_LENDER, _CUSTOMER = credit_line("x")[:-1], customer("x")[:-1]
_BORROWERS = (
    "SELECT a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted, "
    "l.debits_pending, l.debits_posted, l.credits_pending, l.credits_posted FROM account l "
    f"JOIN account a ON a.id = '{_CUSTOMER}' || substr(l.id, {len(_LENDER) + 1})"
    f" WHERE l.id > '{_LENDER}' AND l.id < '{_LENDER[:-1]};'"  # what follows the colon
)


class BudgetUse:
    """Thread-safe. Raises LedgerError when the database cannot answer."""

    def __init__(self, database: Database, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock_ns = clock_ns

    def caps(self) -> list[Use]:
        """Of each key with a spend cap that may still be used: what it and its sub-keys were
        charged in the cycle at hand.
        """
        now_ns = self._clock_ns()
        capped = self._database.query(_CAPPED, now_ns, now_ns)
        parents = {sub: parent for sub, parent in self._database.query(_PARENTS)} if capped else {}
        spent = {
            cycle: self._spent(cycle, now_ns, parents) for cycle in {each[2] for each in capped}
        }
        return [Use(used=spent[cycle][key_id], limit=cap) for key_id, cap, cycle in capped]

    def _spent(self, cycle: str, now_ns: int, parents: dict[str, str]) -> dict[str, int]:
        from_ns = cycle_start_ns(Cycle(cycle), now_ns) if cycle else 0
        spent: dict[str, int] = defaultdict(int)
        for key_id, nano_usd in self._database.query(_SPENT, cycle, from_ns, from_ns):
            spent[key_id] += nano_usd
            if key_id in parents:
                spent[parents[key_id]] += nano_usd
        return spent

    def most_of(self, quota: Quota) -> Use:
        """What the account that used the most of it has used on the UTC day at hand."""
        from_ns = cycle_start_ns(Cycle.DAILY, self._clock_ns())
        exempt = sorted(quota.exempt)
        only = f"AND model IN ({_places(quota.models)})"
        if exempt:
            only += f" AND account NOT IN ({_places(exempt)})"
        used = _USED.format(
            group="account",
            amount="prompt_tokens + completion_tokens",
            accounts="SELECT account FROM api_key",
            only=only,
        )
        values = (from_ns, *quota.models, *exempt)
        rows = self._database.query(
            f"SELECT coalesce(max(amount), 0) FROM ({used}) AS by_account", *values, *values
        )
        return Use(used=rows[0][0], limit=quota.tokens_per_day)

    def credit_lines(self) -> list[Use]:
        """What is drawn of each."""
        found = []
        for row in self._database.query(_BORROWERS):
            line = line_nano_usd(Balance(*row[4:]))
            if line:
                found.append(Use(used=drawn_nano_usd(line, Balance(*row[:4])), limit=line))
        return found


def _places(values: tuple[str, ...] | list[str]) -> str:
    return ", ".join("?" * len(values))
