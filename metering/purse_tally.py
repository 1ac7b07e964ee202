"""What the ledger's charges leave of each purse: summed once, then kept up with row by row.

The ledger's `charge` rows are the truth. A restart, a flushed Redis and another gateway's charges
are all the same to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from metering.database import Session
from metering.purse import FREE, Purse, PurseKind

PAGE_ROWS = 10_000

_TAKEN = """
    SELECT CAST(
        (SELECT coalesce(sum({amount}), 0) FROM usage_hour
         WHERE account = {account} AND hour_ns >= ? AND hour_ns < ? AND {drawn})
        + (SELECT coalesce(sum({amount}), 0) FROM charge
           WHERE {drawn} AND created_ns >= ? AND created_ns < ?
           AND seq > (SELECT upto_seq FROM usage_summed) AND seq <= ?)
        - (SELECT coalesce(sum({amount}), 0) FROM charge
           WHERE {drawn} AND created_ns >= ? AND created_ns < ?
           AND seq > ? AND seq <= (SELECT upto_seq FROM usage_summed))
    AS BIGINT)
"""
"""A purse begins and ends with an hour. The sums by the hour may be behind the row at hand or ahead
of it: what is between is added, or taken off.
"""
_CAP_TAKEN = _TAKEN.format(
    amount="charged_nano_usd",
    account="(SELECT account FROM api_key WHERE key_id = ?)",
    drawn="key_id IN (SELECT key_id FROM api_key WHERE key_id = ? OR parent_key_id = ?)",
)
_TOKENS = "prompt_tokens + completion_tokens"
_OF_ACCOUNT = "account || '' = ? AND model IN ({models})"
"""`|| ''` keeps a database from its index of accounts: of all charges of the day few are new."""

_NEW = """
    SELECT seq, key_id, account, model, price_version, created_ns, charged_nano_usd,
        prompt_tokens + completion_tokens
    FROM charge WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
"""
_PARENT = "SELECT parent_key_id FROM api_key WHERE key_id = ?"


class PurseTally:
    """A `Tally`, for one thread. `purse_of` knows the purses in use by name."""

    def __init__(self, session: Session, purse_of: Callable[[str], Purse | None]) -> None:
        self._session = session
        self._purse_of = purse_of
        self._taken: dict[str, int] = {}
        self._by_owner: dict[tuple[str, str | None], list[Purse]] = {}
        """Those that are followed: caps by key, the others by account and model."""
        self._parents: dict[str, str | None] = {}
        self._seq = 0

    def left(self, names: Iterable[str], seq: int) -> dict[str, int]:
        self._follow(seq)
        found: dict[str, int] = {}
        for name in names:
            purse = self._purse_of(name)
            if purse is None:
                continue
            taken = self._taken.get(name)
            if taken is None:
                taken = self._begin(purse)
            found[name] = purse.limit - taken
        return found

    def _follow(self, seq: int) -> None:
        """Add what was booked since, up to this row."""
        if not self._taken:
            self._seq = seq
        while self._seq < seq:
            rows = self._session.query(_NEW, self._seq, seq, PAGE_ROWS)
            families = {key_id: self._family(key_id) for key_id in {row[1] for row in rows}}
            for _, key_id, account, model, version, created_ns, charged, tokens in rows:
                for owner in families[key_id]:
                    for purse in self._by_owner.get((owner, None), ()):
                        self._add(purse, created_ns, charged)
                for purse in self._by_owner.get((account, model), ()):
                    if purse.kind is PurseKind.QUOTA or version == FREE.version:
                        self._add(purse, created_ns, tokens)
            self._seq = rows[-1][0] if len(rows) == PAGE_ROWS else seq

    def _add(self, purse: Purse, created_ns: int, amount: int) -> None:
        if purse.at(created_ns):
            self._taken[purse.name] += amount

    def _begin(self, purse: Purse) -> int:
        """Sum what was taken from it up to the row at hand, and follow it from here."""
        capped = purse.kind is PurseKind.CAP
        drawn = (purse.owner, purse.owner) if capped else (purse.owner, *purse.models)
        within = (purse.from_ns, purse.until_ns)
        rows = self._session.query(
            _CAP_TAKEN if capped else _tokens_taken(purse),
            *(purse.owner, *within, *drawn),
            *(*drawn, *within, self._seq),
            *(*drawn, *within, self._seq),
        )
        taken: int = rows[0][0]
        self._taken[purse.name] = taken
        for model in purse.models or (None,):
            followed = self._by_owner.setdefault((purse.owner, model), [])
            for over in [known for known in followed if self._purse_of(known.name) is None]:
                followed.remove(over)
                self._taken.pop(over.name, None)
            followed.append(purse)
        return taken

    def _family(self, key_id: str) -> list[str]:
        """The key, and the one that made it: a sub-key makes none."""
        parent = self._parent(key_id)
        return [key_id] if parent is None else [key_id, parent]

    def _parent(self, key_id: str) -> str | None:
        if key_id not in self._parents:
            rows = self._session.query(_PARENT, key_id)
            self._parents[key_id] = rows[0][0] if rows else None
        return self._parents[key_id]


def _tokens_taken(purse: Purse) -> str:
    drawn = _OF_ACCOUNT.format(models=", ".join("?" * len(purse.models)))
    if purse.kind is PurseKind.FREE:
        drawn += f" AND price_version = '{FREE.version}'"
    return _TAKEN.format(amount=_TOKENS, account="?", drawn=drawn)
