"""The metrics of spool, ledger and customers. Pure."""

from __future__ import annotations

from gateway.telemetry.definition import OverWorkers, gauge

BACKLOG = gauge(
    "tollgate_spool_backlog_rows",
    "Rows in the spool that are not in the ledger yet",
    outlives_worker=True,
)
ROWS_MAX = gauge(
    "tollgate_spool_rows_max",
    "The backlog at which new requests get 429, so that the ledger is never further behind",
    unit="rows",
)
LAG = gauge(
    "tollgate_ledger_lag_seconds",
    "Age of the oldest spool row that is not in the ledger yet",
    over_workers=OverWorkers.MAX,
    outlives_worker=True,
)
POSTING = gauge(
    "tollgate_posting",
    "1 while the ledger takes what the spool holds; 0 means that a person must look",
    over_workers=OverWorkers.MIN,
)
RECORDING = gauge(
    "tollgate_recording",
    "1 while charges can be made durable; 0 means that nothing is served",
    over_workers=OverWorkers.MIN,
)
SHARING_AWAY = gauge(
    "tollgate_redis_away",
    "1 while Redis does not answer and requests are served on what is leased",
    over_workers=OverWorkers.MAX,
)
LEDGER_UP = gauge(
    "tollgate_ledger_up",
    "1 if the ledger answered when it was asked last, every few seconds",
    over_workers=OverWorkers.MIN,
)
LEDGER_ROWS = gauge("tollgate_ledger_rows", "The ledger's last row", over_workers=OverWorkers.MAX)
BALANCE_USD = gauge(
    "tollgate_ledger_balance_usd",
    "What the network's own accounts hold: fee_vault, treasury; what sources gave is below zero",
    "account",
    over_workers=OverWorkers.MAX,
)
BALANCE_IO = gauge(
    "tollgate_ledger_balance_io",
    "The supply of IO by where it is: unemitted, reward_vault, circulating, treasury, burned, "
    "retired",
    "account",
    unit="IO",
    over_workers=OverWorkers.MAX,
)
LOW_ACCOUNTS = gauge(
    "tollgate_accounts_low",
    "Customers with less available than they are to be warned at",
    unit="accounts",
    over_workers=OverWorkers.MAX,
)
CAPS = gauge(
    "tollgate_spend_caps",
    "Keys with a spend cap, by how much of it is charged in the cycle at hand: under_half, half, "
    "nine_tenths, full",
    "use",
    unit="keys",
    over_workers=OverWorkers.MAX,
)
CREDIT_LINES = gauge(
    "tollgate_credit_lines",
    "Accounts with a credit line, by how much of it is drawn: under_half, half, nine_tenths, full",
    "use",
    unit="accounts",
    over_workers=OverWorkers.MAX,
)
QUOTA_USE = gauge(
    "tollgate_quota_use_ratio",
    "The part of a daily quota that the account with the most of it has used today",
    "quota",
    over_workers=OverWorkers.MAX,
)

BOOK_METRICS = (
    BACKLOG,
    ROWS_MAX,
    LAG,
    POSTING,
    RECORDING,
    SHARING_AWAY,
    LEDGER_UP,
    LEDGER_ROWS,
    BALANCE_USD,
    BALANCE_IO,
    LOW_ACCOUNTS,
    CAPS,
    CREDIT_LINES,
    QUOTA_USE,
)
