"""Usage summed by the hour, so that a question over months need not read all charges of them.

The sums are brought up to date now and then, in statements that the database runs by itself.
Whoever asks adds the few charges since: booking one costs no more for it, the answer is exact.
"""

from __future__ import annotations

from metering.database import Database
from metering.legs import REQUEST_SQL

HOUR_NS = 3_600_000_000_000

STEP_ROWS = 20_000
"""Rows of the books whose charges are summed in one transaction: others wait that long, which is
some ten milliseconds."""

ADDED = (
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cost_nano_usd",
    "charged_nano_usd",
)
"""What is summed of charges, beside their number."""

_GROUP = f"account, created_ns / {HOUR_NS} * {HOUR_NS}, key_id, model, price_version"
_ADD = (
    f"INSERT INTO usage_hour SELECT {_GROUP}, CAST(sum({REQUEST_SQL}) AS BIGINT), "
    + ", ".join(f"CAST(sum({column}) AS BIGINT)" for column in ADDED)
    + f" FROM charge WHERE seq > ? AND seq <= ? GROUP BY {_GROUP}"
    " ON CONFLICT (account, hour_ns, key_id, model, price_version) DO UPDATE SET "
    + ", ".join(
        f"{column} = usage_hour.{column} + excluded.{column}" for column in ("requests", *ADDED)
    )
)


def sum_up(database: Database) -> int:
    """Bring the sums up to date; returns how many rows of the books were new.

    Raises LedgerError.
    """
    done = 0
    while rows := _sum_some(database):
        done += rows
    return done


def _sum_some(database: Database) -> int:
    """Asked first without a lock: mostly there is nothing to do."""
    if not _new_rows(*database.query(_STAND)[0]):
        return 0
    with database.transaction() as db:
        upto_seq, last_seq = db.query(_STAND)[0]
        rows = min(STEP_ROWS, _new_rows(upto_seq, last_seq))
        db.query(_ADD, upto_seq, upto_seq + rows)
        db.query("UPDATE usage_summed SET upto_seq = ?", upto_seq + rows)
    return rows


_STAND = "SELECT upto_seq, (SELECT coalesce(max(seq), 0) FROM charge) FROM usage_summed"


def _new_rows(upto_seq: int, last_seq: int) -> int:
    return last_seq - upto_seq
